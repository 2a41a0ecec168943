"""Files of recordings made in a child process, because libav parses hostile bytes (child_process.py)."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from media.errors import MediaError, Reason
from media.video.child_process import done_apart, making, taken_over
from media.video.composite_values import DEFAULT_COMPOSITE, Composite, CompositeSettings, ParticipantFile
from media.video.placing import Placement
from media.video.recording_values import DEFAULT_ENCODING, Encoded, EncodingSettings, Placing, Separated
from media.video.values import DEFAULT_LIMITS, Limits, Report
from media.video.wire import to_json

# Encoding may take so many times the length: 1080p takes three on two quiet cores, and machines are not always quiet.
_TIMES_AS_LONG: Final = 40


def limits_for(seconds: float, limits: Limits = DEFAULT_LIMITS) -> Limits:
    """Limits for a recording so many seconds long."""
    wall = max(limits.wall_seconds, round(seconds * _TIMES_AS_LONG))
    return replace(limits, wall_seconds=wall, cpu_seconds=max(limits.cpu_seconds, wall * (os.cpu_count() or 1)))


async def burn_in_apart(  # noqa: PLR0913 - as burn_in
    source: Path,
    target: Path,
    *,
    annotations: bytes | None,
    placing: Placing,
    offset_us: int,
    may_copy: bool = False,
    settings: EncodingSettings = DEFAULT_ENCODING,
    limits: Limits = DEFAULT_LIMITS,
    progress: Report | None = None,
) -> Encoded:
    """As `burn_in`, in a child process, from the document itself. After a failure there is no `target`.

    Also raises MediaError: those of `parse_annotations`; CRASHED (metadata `signal` or `exit_code`), TOO_SLOW,
    TOO_LARGE (memory).
    """
    with making(target.parent) as folder:
        request = {
            "source": str(source),
            "target": str(folder / target.name),
            "annotations": _text(annotations),
            "placing": to_json(placing),
            "offset_us": offset_us,
            "may_copy": may_copy,
            "settings": to_json(settings),
        }
        encoded = await done_apart("burn_in", request, Encoded, limits=limits, progress=progress)
        return replace(encoded, path=taken_over(encoded.path, folder, target))


async def compose_apart(  # noqa: PLR0913 - as compose
    files: Sequence[ParticipantFile],
    target: Path,
    *,
    placing: Sequence[Placement],
    annotations: bytes | None,
    settings: CompositeSettings = DEFAULT_COMPOSITE,
    limits: Limits = DEFAULT_LIMITS,
    progress: Report | None = None,
) -> Composite:
    """As `compose`, in a child process, from the annotations' document. After a failure there is no `target`.

    Also raises MediaError as `burn_in_apart`.
    """
    with making(target.parent) as folder:
        request = {
            "files": to_json(tuple(files)),
            "target": str(folder / target.name),
            "placing": to_json(tuple(placing)),
            "annotations": _text(annotations),
            "settings": to_json(settings),
        }
        composite = await done_apart("compose", request, Composite, limits=limits, progress=progress)
        return replace(composite, path=taken_over(composite.path, folder, target))


async def separate_apart(source: Path, directory: Path, *, limits: Limits = DEFAULT_LIMITS) -> Separated:
    """As `separate`, in a child process. After a failure nothing is left in `directory`, which is made."""
    with making(directory) as folder:
        request = {"source": str(source), "directory": str(folder)}
        made = await done_apart("separate", request, Separated, limits=limits)
        video = replace(made.video, path=taken_over(made.video.path, folder, directory / "video.mp4"))
        if made.audio is None:
            return Separated(video=video, audio=None)
        path = taken_over(made.audio.path, folder, directory / "audio.m4a")
        return Separated(video=video, audio=replace(made.audio, path=path))


async def keep_sound_apart(
    source: Path, target: Path, *, settings: EncodingSettings = DEFAULT_ENCODING, limits: Limits = DEFAULT_LIMITS
) -> Encoded:
    """As `keep_sound`, in a child process. After a failure there is no `target`."""
    with making(target.parent) as folder:
        request = {"source": str(source), "target": str(folder / target.name), "settings": to_json(settings)}
        encoded = await done_apart("keep_sound", request, Encoded, limits=limits)
        return replace(encoded, path=taken_over(encoded.path, folder, target))


def _text(annotations: bytes | None) -> str | None:
    try:
        return None if annotations is None else annotations.decode()
    except UnicodeDecodeError as error:
        message = "annotations: it is not JSON in UTF-8"
        raise MediaError(Reason.INVALID_ARGUMENT, message, {"field": "annotations"}) from error
