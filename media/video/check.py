"""Reads back what was written, all of it, before anybody relies on it: a muxer that succeeds has not yet been right."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer

from media.errors import MediaError, Reason
from media.video.reading import SECOND, readable, time_base_of, to_us

# Matroska counts milliseconds; nothing counts more coarsely.
_ROUNDING_US: Final = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What a file must turn out to hold."""

    frames: Sequence[tuple[int, int]]  # start and end of each in wall time; the first is time zero of the file
    codec: str
    tag: str | None
    packets: int | None = None  # where some only help to decode others; by default one for each frame


def check_video(path: Path, expected: Expected) -> None:
    """Raises MediaError DERIVATIVE_WRONG: another codec, other frames, or a length that is off by a frame."""
    with readable(path), av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
        starts, ends = _times(container)
        video = container.streams.video[0]
        context = video.codec_context
        found = (context.codec.canonical_name, context.codec_tag if expected.tag else None)
        if found != (expected.codec, expected.tag):
            raise _wrong(path, f"it is {found} instead of {(expected.codec, expected.tag)}")
        count = len(expected.frames) if expected.packets is None else expected.packets
        if len(starts) != count:
            raise _wrong(path, f"it has {len(starts)} frames instead of {count}")
    wanted = max(end for _, end in expected.frames) - expected.frames[0][0]
    lasting = max(ends) - min(starts)
    frame = sorted(end - start for start, end in expected.frames)[len(expected.frames) // 2]
    if abs(lasting - wanted) > max(frame, _ROUNDING_US) or abs(min(starts)) > _ROUNDING_US:
        raise _wrong(
            path, f"it lasts {lasting / SECOND:.3f} s from {min(starts) / SECOND:.3f}, not {wanted / SECOND:.3f}"
        )
    _check_first_frame(path)


def _times(container: InputContainer) -> tuple[list[int], list[int]]:
    stamps = []
    for packet in container.demux(video=0):
        if packet.size and packet.pts is not None:
            tick = time_base_of(container.streams.video[0])
            stamps.append((to_us(packet.pts, tick), to_us(packet.pts + (packet.duration or 0), tick)))
    return [start for start, _ in stamps], [end for _, end in stamps]


def _check_first_frame(path: Path) -> None:
    with readable(path), av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
        if next(container.decode(video=0), None) is None:
            raise _wrong(path, "no picture comes out of it")


def _wrong(path: Path, what: str) -> MediaError:
    return MediaError(Reason.DERIVATIVE_WRONG, f"{path.name} was written, but is not what it should be: {what}")
