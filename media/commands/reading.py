"""The commands of `indelible clip` that ask a running evidence service for clips, and read them."""

from pathlib import Path
from typing import Any

import click
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from indelible.evidence.v1 import evidence_pb2

from ledger.cli.main import UNUSABLE, Failure
from ledger.cli.output import as_json, print_fields, print_rows
from media.calling import EvidenceCaller
from media.commands.common import (
    Moment,
    call,
    clip_argument,
    clip_fields,
    print_checks,
    print_custody,
    time_text,
    with_service,
)
from media.service.convert import STATES

PAGE_SIZE = 1_000
_STATES = [state.lower() for state in STATES]


@click.command("request")
@click.option("--source", required=True, help="Which of your organisation's sources.")
@click.option("--incident", required=True, help="Your name for what happened.")
@click.option("--at", "event_at", type=Moment(), required=True, help="When it happened, e.g. 2026-11-22T10:00:00Z.")
@click.option("--before", type=click.IntRange(0, 3600), help="Seconds before it; else the source's default.")
@click.option("--after", type=click.IntRange(0, 3600), help="Seconds after it; else the source's default.")
@click.option("--session", default="", help="A session chain to note the clip on as well.")
@as_json
def request_clip(  # noqa: PLR0913, PLR0917 - one argument for each option
    source: str,
    incident: str,
    event_at: Timestamp,
    before: int | None,
    after: int | None,
    session: str,
    as_json: bool,  # noqa: FBT001 - click's calling style
) -> None:
    """Ask for a clip. The same source and incident give the same clip, however often it is asked for."""
    extraction = evidence_pb2.ClipExtractionRequest(
        source=source,
        incident=incident,
        event_at=event_at,
        before=None if before is None else Duration(seconds=before),
        after=None if after is None else Duration(seconds=after),
        session_chain_id=session,
    )
    answer = call("RequestExtraction", evidence_pb2.RequestExtractionRequest(extraction=extraction))
    print_fields(clip_fields(answer.clip) | {"created": answer.created}, as_json=as_json)


@click.command("list")
@click.option("--camera", default="", help="Only of this camera.")
@click.option("--incident", default="", help="Only of this incident.")
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="May be given more than once.")
@click.option("--from", "event_from", type=Moment(), help="Only incidents from then on.")
@click.option("--to", "event_to", type=Moment(), help="Only incidents before then.")
@click.option("--held/--not-held", default=None, help="Only with, or without, a standing hold.")
@as_json
def list_clips(  # noqa: PLR0913, PLR0917 - one argument for each option
    camera: str,
    incident: str,
    states: tuple[str, ...],
    event_from: Timestamp | None,
    event_to: Timestamp | None,
    held: bool | None,  # noqa: FBT001 - as below
    as_json: bool,  # noqa: FBT001 - click's calling style
) -> None:
    """List your organisation's clips, newest incident first."""
    request = evidence_pb2.ListClipsRequest(
        page_size=PAGE_SIZE,
        camera=camera,
        incident=incident,
        states=[evidence_pb2.ClipState.Value(f"CLIP_STATE_{state.upper()}") for state in states],
        event_from=event_from,
        event_to=event_to,
    )
    if held is not None:
        request.held = held

    async def read(service: EvidenceCaller) -> list[dict[str, Any]]:
        rows = []
        while True:
            page = await service.call("ListClips", request)
            rows += [clip_fields(clip) for clip in page.clips]
            if not page.next_page_token:
                return rows
            request.page_token = page.next_page_token

    names = ("clip_id", "camera", "incident", "state", "event_at", "held")
    print_rows(names, with_service(read), as_json=as_json, empty="There is no such clip.")


@click.command("get")
@clip_argument
@as_json
def get_clip(clip_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Show a clip."""
    answer = call("GetClip", evidence_pb2.GetClipRequest(clip_id=clip_id))
    fields = clip_fields(answer.clip)
    if not as_json:
        fields["artefacts"] = [f"{one['sha256']}  {one['name']} ({one['size']} bytes)" for one in fields["artefacts"]]
        fields["holds"] = [f"{one['hold_id']} by {one['placed_by']}: {one['reason']}" for one in fields["holds"]]
    print_fields(fields, as_json=as_json)


@click.command("custody")
@clip_argument
@as_json
def show_custody(clip_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Show who or what did what to a clip, up to now."""
    print_custody(evidence_pb2.GetCustodyRequest(clip_id=clip_id), as_json=as_json)


@click.command("link")
@clip_argument
@click.option("--artefact", default="clip.mp4", show_default=True, help="Which of the clip's files.")
@click.option("--seconds", type=click.IntRange(1, 3600), default=300, show_default=True, help="How long it works.")
@as_json
def create_link(clip_id: str, artefact: str, seconds: int, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Make an address that gives one file's bytes to whoever holds it. That is recorded as an access."""
    request = evidence_pb2.CreateDownloadLinkRequest(clip_id=clip_id, artefact=artefact, valid_seconds=seconds)
    answer = call("CreateDownloadLink", request)
    print_fields(
        {
            "url": answer.url,
            "expires_at": time_text(answer.expires_at),
            "sha256": answer.sha256.hex(),
            "size": answer.size,
        },
        as_json=as_json,
    )


@click.command("verify")
@clip_argument
@as_json
def verify_clip(clip_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Have every stored file read back now and compared with its digest. Exit code 1 when one differs."""
    answer = call("VerifyStoredClip", evidence_pb2.VerifyStoredClipRequest(clip_id=clip_id), long=True)
    print_checks("artefacts", answer, answer.artefacts, as_json=as_json)


@click.command("export")
@clip_argument
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The zip file to write.")
@click.option("--chain", default="", help="The session chain the clip is noted on; else the operations chain.")
@as_json
def export_clip(clip_id: str, out: Path, chain: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Write a bundle that verifies offline, with the clip's files in it. That is recorded as an access."""
    if out.exists():
        raise Failure(f"{out} exists; it is not overwritten", UNUSABLE)
    request = evidence_pb2.ExportClipRequest(clip_id=clip_id, chain_id=chain)

    async def write(service: EvidenceCaller) -> int:
        try:
            return await service.export(request, out)
        except OSError as error:
            raise Failure(f"{out} cannot be written: {error.strerror}", UNUSABLE) from error

    print_fields({"bundle": str(out), "bytes": with_service(write)}, as_json=as_json)


@click.command("restore")
@clip_argument
@as_json
def restore_clip(clip_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Ask for archived files to be brought back, or see how far that is. It takes hours."""
    answer = call("RestoreClip", evidence_pb2.RestoreClipRequest(clip_id=clip_id))
    rows = [
        {
            "name": one.name,
            "state": evidence_pb2.RestoreState.Name(one.state).removeprefix("RESTORE_STATE_").lower(),
            "ready_until": time_text(one.ready_until) if one.HasField("ready_until") else None,
        }
        for one in answer.artefacts
    ]
    print_rows(("name", "state", "ready_until"), rows, as_json=as_json, empty="This clip has no files.")


READING_COMMANDS = (
    request_clip,
    list_clips,
    get_clip,
    show_custody,
    create_link,
    restore_clip,
    verify_clip,
    export_clip,
)
