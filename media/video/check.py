"""Reads back what was written, all of it, before anybody relies on it: a muxer that succeeds has not yet been right."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av

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
    clock_us: int = 0  # by how much the wall clock may run apart from that of the camera, which a copy keeps


def check_video(path: Path, expected: Expected) -> None:
    """Raises MediaError DERIVATIVE_WRONG: another codec, other frames, other times, or a length off by a frame."""
    with readable(path), av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
        video = container.streams.video[0]
        tick = time_base_of(video)
        context = video.codec_context
        found = (context.codec.canonical_name, context.codec_tag if expected.tag else None)
        # What the file says of its own length is what players show. It is held against the frames that are there.
        length = container.duration or 0
        starts = sorted(
            to_us(packet.pts, tick) for packet in container.demux(video) if packet.size and packet.pts is not None
        )
    if found != (expected.codec, expected.tag):
        raise _wrong(path, f"it is {found} instead of {(expected.codec, expected.tag)}")
    if len(starts) != len(expected.frames):
        raise _wrong(path, f"it has {len(starts)} frames instead of {len(expected.frames)}")
    slack = _ROUNDING_US + expected.clock_us
    zero = expected.frames[0][0]
    for start, (wanted, _) in zip(starts, sorted(expected.frames), strict=True):
        if abs(start - (wanted - zero)) > slack:
            raise _wrong(path, f"a frame is shown at {start / SECOND:.6f} s, not at {(wanted - zero) / SECOND:.6f} s")
    lasting = max(end for _, end in expected.frames) - zero
    if abs(length - lasting) > slack + _usual_length(expected.frames):
        raise _wrong(path, f"it lasts {length / SECOND:.3f} s, not {lasting / SECOND:.3f} s")
    _check_first_frame(path)


def _usual_length(frames: Sequence[tuple[int, int]]) -> int:
    return sorted(end - start for start, end in frames)[len(frames) // 2]


def _check_first_frame(path: Path) -> None:
    with readable(path), av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
        if next(container.decode(video=0), None) is None:
            raise _wrong(path, "no picture comes out of it")


def _wrong(path: Path, what: str) -> MediaError:
    return MediaError(Reason.DERIVATIVE_WRONG, f"{path.name} was written, but is not what it should be: {what}")
