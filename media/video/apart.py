"""Clips made and footage probed in a child process, because libav parses hostile bytes (child_process.py)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from media.errors import MediaError
from media.video.child_process import child, done_apart, making, nonsense, refusal, taken_over, value_of
from media.video.values import (
    DEFAULT_LIMITS,
    DEFAULT_SETTINGS,
    Artefacts,
    Derivative,
    Limits,
    Probe,
    Report,
    Segment,
    VideoSettings,
    Window,
)
from media.video.wire import to_json


async def write_artefacts_apart(  # noqa: PLR0913 - as write_artefacts
    segments: Sequence[Segment],
    window: Window,
    directory: Path,
    *,
    settings: VideoSettings = DEFAULT_SETTINGS,
    limits: Limits = DEFAULT_LIMITS,
    progress: Report | None = None,
) -> Artefacts:
    """As `write_artefacts`, in a child process. After a failure nothing is left in `directory`, which is made.

    Also raises MediaError: CRASHED (metadata `signal` or `exit_code`), TOO_SLOW, TOO_LARGE (memory).
    """
    with making(directory) as folder:
        request = {
            "segments": to_json(tuple(segments)),
            "window": to_json(window),
            "directory": str(folder),
            "settings": to_json(settings),
        }
        artefacts = await done_apart("write", request, Artefacts, limits=limits, progress=progress)
        return _taken_over(artefacts, folder, directory)


async def probe_apart(
    paths: Sequence[Path],
    *,
    limits: Limits = DEFAULT_LIMITS,
) -> list[Probe | MediaError]:
    """As `probe`, for each file in turn: what it holds, or why it is refused."""
    found: list[Probe | MediaError] = []
    while len(found) < len(paths):
        rest = paths[len(found) :]
        try:
            await _probe_with_one_child(rest, limits, found)
        except MediaError as error:
            # The file after the last answer did this; a new child goes on behind it.
            found.append(error)
    return found


async def _probe_with_one_child(paths: Sequence[Path], limits: Limits, found: list[Probe | MediaError]) -> None:
    request = {"task": "probe", "paths": [str(path) for path in paths], "limits": to_json(limits)}
    async with child(request, limits) as answers:
        for _ in paths:
            match await anext(answers, None):
                case {"done": probe}:
                    found.append(value_of(Probe, probe))
                case {"error": error}:
                    found.append(refusal(error))
                case _:
                    raise nonsense()


def _taken_over(artefacts: Artefacts, folder: Path, directory: Path) -> Artefacts:
    def taken(derivative: Derivative) -> Derivative:
        path = taken_over(Path(derivative.name), folder, directory / Path(derivative.name).name)
        return replace(derivative, name=path.name, path=path)

    return Artefacts(
        native=tuple(taken(derivative) for derivative in artefacts.native),
        clip=taken(artefacts.clip),
        thumbnail=taken(artefacts.thumbnail),
        preview=taken(artefacts.preview),
        gaps=artefacts.gaps,
    )
