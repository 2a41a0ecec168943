"""What the sandbox camera films: encoded pictures and sound, one access unit at a time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
from av.video.codeccontext import VideoCodecContext

from sandbox.camera.pattern import draw_frame
from sandbox.camera.rtp import H264, H265, is_parameter_set, split_annex_b

_MICROSECONDS = 1_000_000
_TIME_BASE = Fraction(1, _MICROSECONDS)
_LONGEST_DELAY = 100  # pictures that an encoder wants to see before it gives the first
_ENCODERS = {H264: "libx264", H265: "libx265"}
_OPTIONS = {
    H264: {},
    H265: {"x265-params": "log-level=none:repeat-headers=1:pools=1:frame-threads=1"},
}
_TONE_HERTZ = 440.0
_TONE_LEVEL = 4000  # of 32767: heard, not feared
_MU_BIAS = 0x84
_MU_SEGMENTS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Shot:
    """One encoded picture in Annex B, and its place in the film in microseconds. They come in decoding order."""

    data: bytes
    elapsed: int


class Film:
    """Encodes pictures of given times, with a keyframe every `gop_seconds`; `b_frames` between others, at most."""

    def __init__(  # noqa: PLR0913 - what an encoder is told
        self, *, width: int, height: int, rate: int, gop_seconds: float, codec: str = H264, b_frames: int = 0
    ) -> None:
        self._size = (width, height)
        self._codec = codec
        encoder = cast(VideoCodecContext, av.CodecContext.create(_ENCODERS[codec], "w"))
        encoder.width, encoder.height = self._size
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = _TIME_BASE
        encoder.framerate = Fraction(rate)
        encoder.gop_size = max(1, round(gop_seconds * rate))
        encoder.max_b_frames = b_frames
        encoder.options = {"preset": "ultrafast", **_OPTIONS[codec], **({} if b_frames else {"tune": "zerolatency"})}
        self._encoder = encoder

    def shoot(self, at: int, elapsed: int) -> list[Shot]:
        """Film the time `at`; what the encoder gives for it or for earlier ones. Both in microseconds."""
        frame = draw_frame(*self._size, at)
        frame.pts, frame.time_base = elapsed, _TIME_BASE
        return [Shot(data=bytes(packet), elapsed=int(packet.pts or 0)) for packet in self._encoder.encode(frame)]

    def parameter_sets(self) -> list[bytes]:
        """What a decoder needs first. Takes pictures, so it must be asked of a film of its own."""
        shots = next(filter(None, (self.shoot(0, number) for number in range(_LONGEST_DELAY))))
        return [unit for unit in split_annex_b(shots[0].data) if is_parameter_set(self._codec, unit)]


def tone(samples: int, first: int) -> bytes:
    """A steady tone in G.711 mu-law at 8 kHz: `samples` of it, from the sample number `first`."""
    return bytes(_mu_law(n) for n in _sine(samples, first))


def _sine(samples: int, first: int) -> Iterator[int]:
    for number in range(first, first + samples):
        yield round(_TONE_LEVEL * math.sin(2 * math.pi * _TONE_HERTZ * number / 8000))


def _mu_law(sample: int) -> int:
    """One sample of 16 bits, as ITU-T G.711 folds it into 8."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), 32635) + _MU_BIAS
    segment = max(0, magnitude.bit_length() - _MU_SEGMENTS)
    return ~(sign | segment << 4 | magnitude >> segment + 3 & 0x0F) & 0xFF
