"""What an egress records here: MP4 files (H.264, AAC) whose pictures tell when they were taken and of whom.

On top of each picture is the clock of `sandbox.camera.pattern`, below it a row of black and white cells with the
participant's number; tint and tone differ, too. A composite has one such picture in each tile.
"""

import functools
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np

from media.recordings.tiles import MOST_TILES, tile_layout
from media.video.placing import Rect
from sandbox.camera.pattern import draw_frame

_MICROSECONDS = 1_000_000
_NUMBER_BITS = 4
# White, black (so that a reader knows the levels), the number, and its complement as a check.
_CELLS = 2 + 2 * _NUMBER_BITS
_BLACK, _WHITE, _GREY = 16, 235, 128
# U and V of eight tints that no encoder confuses.
_TINTS = ((90, 128), (166, 128), (128, 90), (128, 166), (90, 90), (166, 166), (90, 166), (166, 90))
_AUDIO_RATE = 48_000
_AUDIO_SAMPLES = 1024  # of an AAC frame
_LOWEST_TONE, _TONE_STEP = 300, 110  # hertz
_LEVEL = 0.1

Plane = np.ndarray[Any, np.dtype[np.uint8]]


class UnreadableMarkerError(ValueError):
    """The picture carries no readable marker."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Filming:
    """How everything is filmed. `composite_*` is the size of the whole room's picture."""

    width: int = 320
    height: int = 180
    composite_width: int = 640
    composite_height: int = 360
    rate: int = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """Who is to be seen from when until when (µs since 1970), and in which tile."""

    number: int
    tile: int
    from_us: int
    to_us: int


@functools.lru_cache(maxsize=64)
def film_participant(filming: Filming, number: int, starts_at: int, duration_us: int, crf: int = 23) -> bytes:
    """A file of one participant: `duration_us` from `starts_at` (µs since 1970), at least one picture."""
    frames = (
        _picture(filming.width, filming.height, number, at) for at in _instants(filming.rate, starts_at, duration_us)
    )
    tones = [Shown(number=number, tile=0, from_us=starts_at, to_us=starts_at + duration_us)]
    return _mp4(filming, frames, (filming.width, filming.height), tones, (starts_at, duration_us), crf)


@functools.lru_cache(maxsize=64)
def film_room(  # noqa: PLR0913, PLR0917 - what was filmed, how, and when
    filming: Filming,
    shown: tuple[Shown, ...],
    starts_at: int,
    duration_us: int,
    crf: int = 23,
    given: frozenset[int] = frozenset(),
) -> bytes:
    """A file of the whole room: a tile for each one ever shown, black while they are not, and those given before."""
    size = (filming.composite_width, filming.composite_height)
    frames = (_composite(size, shown, at, given) for at in _instants(filming.rate, starts_at, duration_us))
    return _mp4(filming, frames, size, shown, (starts_at, duration_us), crf)


def read_marker(frame: av.VideoFrame) -> int:
    """Whose picture it is, by their number. Raises UnreadableMarkerError."""
    luma = frame.to_ndarray(format="gray")
    height, width = luma.shape
    row = luma[height // 8 + height // 16]
    levels = [int(row[(2 * cell + 1) * width // (2 * _CELLS)]) for cell in range(_CELLS)]
    white, black = levels[:2]
    if white - black < (_WHITE - _BLACK) // 2:
        raise UnreadableMarkerError("the picture carries no marker")
    bits = [2 * level > white + black for level in levels[2:]]
    number, check = (_number(bits[place : place + _NUMBER_BITS]) for place in (0, _NUMBER_BITS))
    if number ^ check != (1 << _NUMBER_BITS) - 1:
        raise UnreadableMarkerError("the marker of the picture is blurred")
    return number


def cut_tile(frame: av.VideoFrame, rect: Rect) -> av.VideoFrame:
    """One tile of a composite as a picture, for `read_marker` and `read_clock`."""
    luma = frame.to_ndarray(format="gray")
    part = cast(Plane, np.ascontiguousarray(luma[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]))
    return av.VideoFrame.from_ndarray(part, format="gray")


def _instants(rate: int, starts_at: int, duration_us: int) -> Iterator[int]:
    for number in range(max(1, duration_us * rate // _MICROSECONDS)):
        yield starts_at + number * _MICROSECONDS // rate


def _picture(width: int, height: int, number: int, at: int) -> Plane:
    """The picture of one participant as the planes of yuv420p, one below the other."""
    picture = cast(Plane, draw_frame(width, height, at).to_ndarray())
    picture[height // 8 : height // 4, :width] = _marker_row(width, number)
    chroma = picture[height:].reshape(2, -1)
    chroma[0], chroma[1] = _TINTS[number % len(_TINTS)]
    return picture


def _composite(size: tuple[int, int], shown: tuple[Shown, ...], at: int, given: frozenset[int]) -> Plane:
    width, height = size
    picture = np.full((height * 3 // 2, width), _GREY, dtype=np.uint8)
    picture[:height] = _BLACK
    seen = {one.tile for one in shown if one.from_us <= at}
    layout = tile_layout(seen | given, width, height)
    for one in shown:
        if one.from_us <= at < one.to_us:
            _paste(picture, size, layout[one.tile], one.number, at)
    return picture


def _paste(picture: Plane, size: tuple[int, int], rect: Rect, number: int, at: int) -> None:
    width, height = size
    tile = _picture(rect.width, rect.height, number, at)
    picture[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] = tile[: rect.height]
    whole = picture[height:].reshape(2, height // 2, width // 2)
    small = tile[rect.height :].reshape(2, rect.height // 2, rect.width // 2)
    top, left = rect.y // 2, rect.x // 2
    whole[:, top : top + rect.height // 2, left : left + rect.width // 2] = small


@functools.lru_cache(maxsize=256)
def _marker_row(width: int, number: int) -> Plane:
    bits = [number >> place & 1 for place in reversed(range(_NUMBER_BITS))]
    cells = np.array([1, 0, *bits, *(1 - bit for bit in bits)], dtype=np.uint8)
    row = cells[np.arange(width) * _CELLS // width]
    return np.where(row == 1, np.uint8(_WHITE), np.uint8(_BLACK))


def _number(bits: list[bool]) -> int:
    return functools.reduce(lambda number, bit: number << 1 | bit, bits, 0)


def _mp4(  # noqa: PLR0913, PLR0917 - what a file consists of
    filming: Filming,
    frames: Iterator[Plane],
    size: tuple[int, int],
    tones: tuple[Shown, ...] | list[Shown],
    window: tuple[int, int],
    crf: int,
) -> bytes:
    written = io.BytesIO()
    with av.open(written, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=filming.rate)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.codec_context.gop_size = filming.rate
        video.options = {"preset": "ultrafast", "crf": str(crf), "threads": "1"}
        audio = container.add_stream("aac", rate=_AUDIO_RATE)
        audio.layout = "mono"
        for number, planes in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, filming.rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for sound in _sound(tones, *window):
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return written.getvalue()


def _sound(tones: tuple[Shown, ...] | list[Shown], starts_at: int, duration_us: int) -> Iterator[av.AudioFrame]:
    """The tones of those who are there, mixed."""
    for first in range(0, max(1, duration_us * _AUDIO_RATE // _MICROSECONDS), _AUDIO_SAMPLES):
        samples = np.arange(first, first + _AUDIO_SAMPLES)
        at = starts_at + samples * _MICROSECONDS // _AUDIO_RATE
        mixed = np.zeros(_AUDIO_SAMPLES, dtype=np.float32)
        for one in tones:
            there = (one.from_us <= at) & (at < one.to_us)
            wave = np.sin(2 * np.pi * tone_of(one.number) * samples / _AUDIO_RATE)
            mixed += (there * wave * _LEVEL).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(mixed.reshape(1, -1), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = _AUDIO_RATE, first, Fraction(1, _AUDIO_RATE)
        yield frame


def tone_of(number: int) -> int:
    """The tone of a participant, in hertz."""
    return _LOWEST_TONE + _TONE_STEP * number


def tiles_in(layout: str) -> frozenset[int]:
    """The tiles that a page is told were given before it was opened (`tiles-0-2`); none of any other layout."""
    word, *numbers = layout.split("-")
    return frozenset(int(one) for one in numbers if one.isdecimal()) if word == "tiles" else frozenset()


def tile_of(attributes: Mapping[str, str], number: int) -> int:
    """The tile that a participant's attributes name, or their number's when they name none."""
    text = attributes.get("indelible.tile", "")
    return int(text) if text.isdecimal() and int(text) < MOST_TILES else number % MOST_TILES
