"""What the sandbox camera films: encoded pictures and sound, one access unit at a time."""

import math
from collections.abc import Iterator
from fractions import Fraction

import av

from sandbox.camera.pattern import draw_frame
from sandbox.camera.rtp import split_annex_b

_MICROSECONDS = 1_000_000
_TIME_BASE = Fraction(1, _MICROSECONDS)
_TONE_HERTZ = 440.0
_TONE_LEVEL = 4000  # of 32767: heard, not feared
_MU_BIAS = 0x84
_MU_SEGMENTS = 8


class Film:
    """Encodes pictures of given times, with a keyframe every `gop_seconds`."""

    def __init__(self, *, width: int, height: int, rate: int, gop_seconds: float) -> None:
        self._size = (width, height)
        encoder = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height = self._size
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = _TIME_BASE
        encoder.framerate = Fraction(rate)
        encoder.gop_size = max(1, round(gop_seconds * rate))
        encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
        self._encoder = encoder

    def shoot(self, at: int, elapsed: int) -> bytes:
        """The picture of the time `at`, in Annex B; `elapsed` is its place in the film. Both in microseconds."""
        frame = draw_frame(*self._size, at)
        frame.pts, frame.time_base = elapsed, _TIME_BASE
        return b"".join(bytes(packet) for packet in self._encoder.encode(frame))


def parameter_sets(film: Film) -> list[bytes]:
    """The SPS and PPS that `film` begins with. Takes a picture, so it must be asked of a film of its own."""
    return [unit for unit in split_annex_b(film.shoot(0, 0)) if unit[0] & 0x1F in {7, 8}]


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
