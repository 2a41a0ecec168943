"""`indelible clip`: preserve from a file at hand, and ask a running evidence service.

Exit codes: 0 done; 1 refused, or a check found something wrong; 2 wrong usage or settings; 3 not reachable.
"""

import asyncio
import getpass
import os
import re
from pathlib import Path
from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from ledger.cli.main import UNUSABLE, Failure
from ledger.cli.output import as_json, print_fields
from media.clips.preserve_file import FileWish, clock_words, preserve_file
from media.clips.window import WindowLengths
from media.commands.evidence import failure_of
from media.commands.keeping import KEEPING_COMMANDS
from media.commands.reading import READING_COMMANDS
from media.errors import MediaError
from media.video.values import Progress

_OFFSET = re.compile(
    r"(?:(?:(?P<hours>[0-9]{1,3}):)?(?P<minutes>[0-5]?[0-9]):)?(?P<seconds>[0-9]{1,6})(?P<rest>\.[0-9]{1,6})?"
)
_MICROSECONDS = 1_000_000


class Moment(click.ParamType[int]):
    """A time: RFC 3339, in microseconds since 1970."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or say how to write it."""
        read = read_time(value)
        if read is None:
            self.fail(f"{value!r} is not a time such as 2026-11-22T10:00:00Z", param, ctx)
        return read


@click.group()
def clip() -> None:
    """Preserve what a camera saw, and look after it.

    `preserve` works alone, on a file. The other commands call the evidence service: INDELIBLE_EVIDENCE names it
    (127.0.0.1:50052 unless set), INDELIBLE_TOKEN or INDELIBLE_TOKEN_FILE holds your token, INDELIBLE_EVIDENCE_CA the
    certificate authority of a service on another machine.

    Exit codes: 0 done; 1 refused, or a check found something wrong; 2 wrong usage or settings; 3 not reachable.
    """


for _command in (*READING_COMMANDS, *KEEPING_COMMANDS):
    clip.add_command(_command)


@clip.command("preserve")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--at",
    required=True,
    metavar="TIME",
    help="When it happened: a time (2026-11-22T10:00:00Z), or how far into the file (12.5, or 00:01:30).",
)
@click.option("--camera", required=True, help="Which camera: a-z, 0-9, '-' and '_'.")
@click.option("--incident", required=True, help="Your name for what happened: a-z, 0-9, '-' and '_'.")
@click.option("--organisation", default="local", show_default=True, help="Whose clip it is.")
@click.option("--before", type=click.IntRange(0, 3600), help="Seconds before it.  [default: 30]")
@click.option("--after", type=click.IntRange(0, 3600), help="Seconds after it.  [default: 60]")
@click.option("--started-at", type=Moment(), help="When the file's first frame was, if the file does not tell.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("evidence"),
    show_default=True,
    help="The directory that the clip's own directory is made in.",
)
@as_json
def preserve(  # noqa: PLR0913, PLR0917 - one argument for each option
    file: Path,
    at: str,
    camera: str,
    incident: str,
    organisation: str,
    before: int | None,
    after: int | None,
    started_at: int | None,
    out: Path,
    as_json: bool,  # noqa: FBT001 - click's calling style
) -> None:
    """Preserve a clip from a file, with no service: all artefacts and documents of a preserved clip, under --out."""
    event_at, offset = read_time(at), read_offset(at)
    if event_at is None and offset is None:
        raise click.UsageError(
            f"--at {at}: give a time with its zone (2026-11-22T10:00:00Z), or seconds or HH:MM:SS into the file"
        )
    wish = FileWish(
        file=file,
        organisation_id=organisation,
        camera_id=camera,
        incident_id=incident,
        event_at=event_at,
        event_offset=offset,
        lengths=WindowLengths(before_seconds=before, after_seconds=after),
        started_at=started_at,
        by=_user(),
    )
    console = Console(stderr=True)
    try:
        with console.status("Reading the file ...") as status:

            def report(progress: Progress) -> None:
                status.update(f"{progress.step}: {progress.done:.0%}")

            made = asyncio.run(preserve_file(wish, out, report))
    except MediaError as error:
        raise failure_of(error) from error
    except OSError as error:
        raise Failure(f"{error.filename or out} cannot be used: {error.strerror}", UNUSABLE) from error
    metadata = made.metadata
    fields = {
        "directory": str(made.directory),
        "clip_id": metadata["clip_id"],
        "asked": metadata["window"]["asked"],
        "actual": metadata["window"]["actual"],
        "gaps": metadata["window"]["gaps"],
        "clock": {**metadata["clock"], "words": clock_words(made.clock)},
        "artefacts": [
            {"name": name, "size": digest.size, "sha256": digest.sha256} for name, digest in made.digests.items()
        ],
        "notes": [f"{one['name']}: {note}" for one in metadata["artefacts"] for note in one["notes"]],
    }
    if as_json:
        print_fields(fields, as_json=True)
        return
    print_fields(
        {
            "directory": str(made.directory),
            "shows": f"{fields['actual']['from']} to {fields['actual']['to']}",
            "asked": f"{fields['asked']['from']} to {fields['asked']['to']}",
            "gaps": [f"{gap['from']} to {gap['to']}: {gap['why'].replace('_', ' ')}" for gap in fields["gaps"]],
            "clock": fields["clock"]["words"],
            "files": [f"{one['sha256']}  {one['name']} ({one['size']} bytes)" for one in fields["artefacts"]],
            "notes": fields["notes"],
        },
        as_json=False,
    )


def _user() -> str:
    """Who runs this; a number where the system has no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def read_time(text: str) -> int | None:
    """Microseconds since 1970 of an RFC 3339 time; None for anything else."""
    stamp = Timestamp()
    try:
        if "T" not in text.upper():
            return None
        stamp.FromJsonString(text.upper())
    except ValueError:
        return None
    return stamp.ToMicroseconds()


def read_offset(text: str) -> int | None:
    """Microseconds into a file, from seconds or HH:MM:SS; None for anything else."""
    found = _OFFSET.fullmatch(text)
    if found is None:
        return None
    whole = int(found["hours"] or 0) * 3600 + int(found["minutes"] or 0) * 60 + int(found["seconds"])
    return whole * _MICROSECONDS + round(float(found["rest"] or 0) * _MICROSECONDS)
