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
# Sound is cut at the edges of its packets; AAC has one in 21 ms.
_SOUND_ROUNDING_US: Final = 50_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What a file that was encoded must turn out to hold. Microseconds on the clock of the file."""

    starts: Sequence[int]  # of the frames
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
    found = _read(path)
    if (found.codec, found.tag) != (expected.codec, expected.tag or found.tag):
        raise _wrong(path, f"it is {found.codec} ({found.tag}) instead of {expected.codec} ({expected.tag})")
    _check_starts(path, found, expected.starts)
    if _is_off(found, expected.ends):
        raise _wrong(path, f"it lasts {found.length / SECOND:.3f} s, not {expected.ends / SECOND:.3f} s")
    _check_first_frame(path)


def check_copy(path: Path, starts: Sequence[int], ends: int) -> str | None:
    """Raises MediaError DERIVATIVE_WRONG: other frames or other times. Returns what else is to be known about it.

    Damaged packets are copied as they are: whether they can be decoded, and whether their times add up, is the affair
    of the source.
    """
    found = _read(path)
    _check_starts(path, found, starts)
    if not _is_off(found, ends):
        return None
    return f"the file says it lasts {found.length / SECOND:.3f} s; its last frame ends at {ends / SECOND:.3f} s"


def check_sound(path: Path, packets: int, ends: int) -> None:
    """Raises MediaError DERIVATIVE_WRONG: the first audio track has other packets, or ends at another time."""
    with readable(path), av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
        audio = container.streams.audio[0]
        tick = time_base_of(audio)
        found = [packet for packet in container.demux(audio) if packet.size]
        if len(found) != packets:
            raise _wrong(path, f"it has {len(found)} packets of sound instead of {packets}")
        last = to_us(max((packet.pts or 0) + (packet.duration or 0) for packet in found), tick)
    if abs(last - ends) > _SOUND_ROUNDING_US:
        raise _wrong(path, f"its sound ends at {last / SECOND:.3f} s, not at {ends / SECOND:.3f} s")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    codec: str
    tag: str
    starts: list[int]
    length: int  # what players show; the file says it of itself


def _read(path: Path) -> _Found:
    with readable(path), av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
        video = container.streams.video[0]
        tick = time_base_of(video)
        length = to_us(video.duration, tick) if video.duration else container.duration or 0
        codec, tag = video.codec_context.codec.canonical_name, video.codec_context.codec_tag
        packets = [packet.pts for packet in container.demux(video) if packet.size]
    starts = sorted(to_us(pts, tick) for pts in packets if pts is not None)
    return _Found(codec=codec, tag=tag, starts=starts, length=length)


def _check_starts(path: Path, found: _Found, expected: Sequence[int]) -> None:
    if len(found.starts) != len(expected):
        raise _wrong(path, f"it has {len(found.starts)} frames instead of {len(expected)}")
    for start, wanted in zip(found.starts, sorted(expected), strict=True):
        if abs(start - wanted) > _ROUNDING_US:
            raise _wrong(path, f"a frame is shown at {start / SECOND:.6f} s, not at {wanted / SECOND:.6f} s")


def _is_off(found: _Found, ends: int) -> bool:
    usual = (found.starts[-1] - found.starts[0]) // max(1, len(found.starts) - 1)
    # A track is as long as what is in it; before its first frame nothing may be shown for a while.
    return abs(found.starts[0] + found.length - ends) > _ROUNDING_US + max(usual, ends - found.starts[-1])


def _check_first_frame(path: Path) -> None:
    with readable(path), av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
        if next(container.decode(video=0), None) is None:
            raise _wrong(path, "no picture comes out of it")


def _wrong(path: Path, what: str) -> MediaError:
    return MediaError(Reason.DERIVATIVE_WRONG, f"{path.name} was written, but is not what it should be: {what}")
