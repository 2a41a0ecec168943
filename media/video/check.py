"""Reads back what was written, all of it, before anybody relies on it: a muxer that succeeds has not yet been right."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import av

from media.errors import MediaError, Reason
from media.video.reading import SECOND, readable, time_base_of, to_us

# Matroska counts milliseconds; nothing counts more coarsely.
_ROUNDING_US: Final = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What a file must turn out to hold: when each frame is shown and where the last one ends, on the file's clock."""

    starts: Sequence[int]
    ends: int
    codec: str
    tag: str | None

    @classmethod
    def of(cls, frames: Sequence[tuple[int, int]], codec: str, tag: str | None) -> Self:
        """The frames of a file whose time zero is the start of the first."""
        zero = frames[0][0]
        return cls(starts=[start - zero for start, _ in frames], ends=frames[-1][1] - zero, codec=codec, tag=tag)


def check_video(path: Path, expected: Expected) -> None:
    """Raises MediaError DERIVATIVE_WRONG: another codec, other frames, other times, or a length off by a frame."""
    with readable(path), av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
        video = container.streams.video[0]
        tick = time_base_of(video)
        context = video.codec_context
        found = (context.codec.canonical_name, context.codec_tag if expected.tag else None)
        # What the file says of its own length is what players show. It is held against the frames that are there.
        length = to_us(video.duration, tick) if video.duration else container.duration or 0
        packets = [packet.pts for packet in container.demux(video) if packet.size]
    starts = sorted(to_us(pts, tick) for pts in packets if pts is not None)
    if found != (expected.codec, expected.tag):
        raise _wrong(path, f"it is {found} instead of {(expected.codec, expected.tag)}")
    if len(starts) != len(expected.starts):
        raise _wrong(path, f"it has {len(starts)} frames instead of {len(expected.starts)}")
    for start, wanted in zip(starts, sorted(expected.starts), strict=True):
        if abs(start - wanted) > _ROUNDING_US:
            raise _wrong(path, f"a frame is shown at {start / SECOND:.6f} s, not at {wanted / SECOND:.6f} s")
    frame = (starts[-1] - starts[0]) // max(1, len(starts) - 1)
    if abs(length - expected.ends) > _ROUNDING_US + max(frame, expected.ends - max(expected.starts)):
        raise _wrong(path, f"it lasts {length / SECOND:.3f} s, not {expected.ends / SECOND:.3f} s")
    _check_first_frame(path)


def _check_first_frame(path: Path) -> None:
    with readable(path), av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
        if next(container.decode(video=0), None) is None:
            raise _wrong(path, "no picture comes out of it")


def _wrong(path: Path, what: str) -> MediaError:
    return MediaError(Reason.DERIVATIVE_WRONG, f"{path.name} was written, but is not what it should be: {what}")
