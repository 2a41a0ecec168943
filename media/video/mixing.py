"""The sound of a composite: what every file has, put where it belongs, added up, and never louder than full scale.

Files are read as the mix goes on, so a long recording takes no more memory than a short one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from numpy.typing import NDArray

from media.errors import MediaError, Reason
from media.video.reading import SECOND, opened_sound, time_base_of, timed_sound, to_us
from media.video.values import Limits

Samples = NDArray[np.float32]

CHANNELS: Final = 2
_LAYOUT: Final = "stereo"
# Sound off its place by more is put there; less is the jitter of time stamps. An echo within 25 ms is not heard as one.
_JITTER_US: Final = 20_000
# Up to here sound is left as it is; louder than this it approaches full scale and never reaches it.
_KNEE: Final = 0.8
# Far beyond full scale, and far from what a sum of seven cannot hold.
_LOUDEST: Final = 1e3
_FOR_EVER: Final = 1 << 62


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Samples, shaped (channels, samples), and where the first of them belongs."""

    position: int
    samples: Samples


@dataclass(kw_only=True, slots=True)
class Voice:
    """The sound of one file. `zero_at` is where the file's time zero stands in the mix, in microseconds."""

    path: Path
    zero_us: int  # time zero on the file's own clock
    zero_at: int
    rate: int
    limits: Limits
    _chunks: Iterator[Chunk] | None = field(default=None, init=False)
    _held: Chunk | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)

    def add_to(self, mix: Samples, position: int) -> None:
        """Add what sounds from this position on, for as long as `mix` is. Positions must rise.

        Raises MediaError for trouble with memory; where the file cannot be read on, its sound ends.
        """
        if self._ended or (position + mix.shape[1]) * SECOND <= self.zero_at * self.rate:
            return
        try:
            self._add(mix, position)
        except MediaError as error:
            if error.reason == Reason.TOO_LARGE:
                raise
            self._ended = True

    def _add(self, mix: Samples, position: int) -> None:
        if self._chunks is None:
            self._chunks = self._read()
        end = position + mix.shape[1]
        while (chunk := self._held or next(self._chunks, None)) is not None:
            self._held = chunk
            if chunk.position >= end:
                return
            stop = chunk.position + chunk.samples.shape[1]
            first, last = max(position, chunk.position), min(end, stop)
            if first < last:
                mix[:, first - position : last - position] += chunk.samples[
                    :, first - chunk.position : last - chunk.position
                ]
            if stop > end:
                return
            self._held = None
        self._ended = True

    def _read(self) -> Iterator[Chunk]:
        with opened_sound(self.path, self.limits) as source:
            run = _Run(rate=self.rate)
            for timed in timed_sound(source):
                for frame in _decoded(cast("Packet[AudioStream]", timed.packet)):
                    stamp = timed.packet.pts
                    at = timed.pts
                    if stamp is not None and frame.pts is not None:
                        # The decoder leaves out what the encoder had put before the first sample.
                        at += to_us(frame.pts, time_base_of(source.audio)) - to_us(stamp, time_base_of(source.audio))
                    yield from run.of(frame, at - self.zero_us + self.zero_at)
            yield from run.rest()


@dataclass(slots=True)
class _Run:
    """Sound without a break, brought to the rate of the mix."""

    rate: int
    _resampler: AudioResampler | None = field(default=None, init=False)
    _kind: tuple[str, str, int] | None = field(default=None, init=False)
    _expected_us: int = field(default=0, init=False)
    _read: int = field(default=0, init=False)  # samples of the file since the run began
    _begun_us: int = field(default=0, init=False)
    _position: int = field(default=0, init=False)  # of the next sample, in the mix
    _free: int = field(default=-_FOR_EVER, init=False)  # nothing has been put from here on

    def of(self, frame: AudioFrame, at_us: int) -> Iterator[Chunk]:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        expected = self._begun_us + self._read * SECOND // max(1, frame.sample_rate)
        if self._resampler is None or kind != self._kind or abs(at_us - expected) > _JITTER_US:
            yield from self.rest()
            self._resampler = AudioResampler(format="fltp", layout=_LAYOUT, rate=self.rate)
            self._kind, self._begun_us, self._read = kind, at_us, 0
            self._position = round(Fraction(at_us * self.rate, SECOND))
        self._read += frame.samples
        frame.pts = None
        yield from self._placed(self._resampler.resample(frame))

    def rest(self) -> Iterator[Chunk]:
        """What the resampler kept back."""
        if self._resampler is not None:
            yield from self._placed(self._resampler.resample(None))

    def _placed(self, frames: Sequence[AudioFrame]) -> Iterator[Chunk]:
        for frame in frames:
            begins, self._position = self._position, self._position + frame.samples
            # What would sound at the same time as what came before is left out: one file speaks with one voice.
            skip = max(0, self._free - begins)
            if skip < frame.samples:
                yield Chunk(position=begins + skip, samples=_floats(frame)[:, skip:])
            self._free = max(self._free, self._position)


def _floats(frame: AudioFrame) -> Samples:
    samples: NDArray[Any] = frame.to_ndarray()
    # Files of floating-point samples may hold what is no number, which would take the others' sound with it.
    numbers = np.nan_to_num(samples.astype(np.float32, copy=False), nan=0, posinf=_LOUDEST, neginf=-_LOUDEST)
    return np.clip(numbers, -_LOUDEST, _LOUDEST)


def _decoded(packet: "Packet[AudioStream]") -> list[AudioFrame]:
    try:
        return packet.decode()
    except MemoryError:
        raise
    except av.error.FFmpegError:
        # Damaged sound is silence for as long as it lasts.
        return []


@dataclass(kw_only=True, slots=True)
class MixWriter:
    """The sound track of a composite."""

    container: OutputContainer
    voices: Sequence[Voice]
    rate: int
    bit_rate: int
    _stream: AudioStream = field(init=False)
    _position: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Add the track; before the first picture is written."""
        self._stream = self.container.add_stream("aac", rate=self.rate, bit_rate=self.bit_rate)
        self._stream.codec_context.layout = _LAYOUT
        self._stream.codec_context.open(strict=False)

    def write_until(self, at_us: int, *, last: bool = False) -> None:
        """Mix and encode what sounds before this moment of the composite: whole packets, and the rest at the end."""
        end = round(Fraction(at_us * self.rate, SECOND))
        size = self._stream.codec_context.frame_size
        while self._position + size <= end or (last and self._position < end):
            mix = np.zeros((CHANNELS, min(size, end - self._position)), np.float32)
            for voice in self.voices:
                voice.add_to(mix, self._position)
            self._encode(softened(mix))
        if last:
            self.container.mux(self._stream.encode(None))

    def _encode(self, mix: Samples) -> None:
        frame = AudioFrame.from_ndarray(mix, format="fltp", layout=_LAYOUT)
        frame.sample_rate, frame.time_base = self.rate, Fraction(1, self.rate)
        frame.pts = self._position
        self._position += frame.samples
        self.container.mux(self._stream.encode(frame))


def softened(mix: Samples) -> Samples:
    """The mix with its loudest parts bent towards full scale; the rest untouched."""
    loud = np.abs(mix) > _KNEE
    if loud.any():
        over = np.abs(mix[loud]) - _KNEE
        mix[loud] = np.sign(mix[loud]) * (_KNEE + (1 - _KNEE) * np.tanh(over / (1 - _KNEE)))
    return mix
