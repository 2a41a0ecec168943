"""The sound of the clip: AAC, copied where the source has it, encoded where it has something else."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, cast

import av
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from media.video.plan import Piece
from media.video.reading import SECOND, opened, to_ticks
from media.video.showing import Heard
from media.video.values import AudioTrack, Limits

# ISO/IEC 14496-3, table 1.18, without the escape value.
_AAC_RATES: Final = frozenset({96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350})
_USUAL_RATE: Final = 48_000
_STEREO: Final = 2
# Sound that is off its place by more is put there; less is the jitter of time stamps.
_JITTER_US: Final = SECOND // 10


def can_be_copied(pieces: Sequence[Piece]) -> bool:
    """Whether all files have AAC of one kind."""
    kinds = {(piece.scan.probe.audio, piece.scan.audio_extradata) for piece in pieces}
    audio = pieces[0].scan.probe.audio
    return len(kinds) == 1 and audio is not None and audio.codec == "aac"


def add_sound(  # noqa: PLR0913 - the sound, where to, and how
    container: OutputContainer,
    pieces: Sequence[Piece],
    limits: Limits,
    *,
    bit_rate: int,
    origin: int,
    early: bool = False,
) -> "CopiedSound | EncodedSound | None":
    """A track for the sound of the pieces in `container`; None when none of them has any. `origin` is time zero.

    Packets before it are copied if `early`: those with which AAC begins are not heard, but needed by the first that is.
    """
    audio = next((piece.scan.probe.audio for piece in pieces if piece.scan.probe.audio is not None), None)
    if audio is None:
        return None
    if can_be_copied(pieces):
        with opened(pieces[0].segment.path, limits) as source:
            template = cast(AudioStream, source.audio)
            copy = container.add_stream_from_template(template, opaque=True)
        copy.time_base = Fraction(1, audio.sample_rate)
        return CopiedSound(container=container, stream=copy, rate=audio.sample_rate, origin=origin, early=early)
    ends_at = pieces[-1].shown_to - origin
    return encoded_sound(container, audio, bit_rate=bit_rate, origin=origin, ends_us=ends_at)


def encoded_sound(
    container: OutputContainer, audio: AudioTrack, *, bit_rate: int, origin: int, ends_us: int
) -> "EncodedSound":
    """A track for sound that has to be encoded; what comes `ends_us` after `origin` is left out."""
    rate = audio.sample_rate if audio.sample_rate in _AAC_RATES else _USUAL_RATE
    stream = container.add_stream("aac", rate=rate, bit_rate=bit_rate)
    layout = "mono" if audio.channels == 1 else "stereo"
    stream.codec_context.layout = layout
    ends_at = to_ticks(ends_us, Fraction(1, rate))
    return EncodedSound(container=container, stream=stream, rate=rate, layout=layout, origin=origin, ends_at=ends_at)


@dataclass(slots=True)
class CopiedSound:
    """Packets of AAC, as they are."""

    container: OutputContainer
    stream: Stream
    rate: int
    origin: int
    early: bool
    _last: int | None = field(default=None, init=False)

    def hear(self, heard: Heard) -> None:
        """Take the next packet."""
        packet = heard.packet
        if heard.starts_at < self.origin and not self.early:
            return
        at = to_ticks(heard.starts_at - self.origin, Fraction(1, self.rate))
        if self._last is not None:
            at = max(at, self._last + 1)
        self._last = at
        packet.stream = self.stream
        packet.time_base = Fraction(1, self.rate)
        packet.pts = packet.dts = at
        packet.duration = to_ticks(heard.duration, Fraction(1, self.rate))
        self.container.mux(packet)

    def finish(self) -> None:
        """Nothing is kept back."""


@dataclass(slots=True)
class EncodedSound:
    """Anything that can be decoded, as AAC; more than two channels are mixed to two."""

    container: OutputContainer
    stream: AudioStream
    rate: int
    layout: str
    origin: int
    ends_at: int  # in samples
    lost: int = field(default=0, init=False)  # packets that could not be decoded
    _resampler: AudioResampler | None = field(default=None, init=False)
    _kind: tuple[str, str, int] | None = field(default=None, init=False)
    _fifo: AudioFifo = field(default_factory=AudioFifo, init=False)
    _position: int = field(default=0, init=False)  # in samples: where the next one read from the queue belongs
    _begun: bool = field(default=False, init=False)

    def hear(self, heard: Heard) -> None:
        """Decode and encode the next packet; damaged ones leave silence."""
        try:
            frames = cast("Packet[AudioStream]", heard.packet).decode()
        except MemoryError:
            raise
        except av.error.FFmpegError:
            self.lost += 1
            return
        for frame in frames:
            self._place(heard.starts_at - self.origin)
            frame.pts = None
            for resampled in self._resampler_for(frame).resample(frame):
                resampled.pts = None
                self._fifo.write(resampled)
        self._encode()

    def finish(self) -> None:
        """Write what is left."""
        self._encode(partial=True)
        self.container.mux(self.stream.encode(None))

    def _resampler_for(self, frame: AudioFrame) -> AudioResampler:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or kind != self._kind:
            self._resampler = AudioResampler(format="fltp", layout=self.layout, rate=self.rate)
            self._kind = kind
        return self._resampler

    def _place(self, at_us: int) -> None:
        at = to_ticks(at_us, Fraction(1, self.rate))
        queued = self._fifo.samples if self._fifo.samples_written else 0
        broken = abs(at - self._position - queued) * SECOND > _JITTER_US * self.rate and at >= self._position
        if broken or not self._begun:
            # Less than one packet of AAC is given up where the sound breaks off.
            self._fifo = AudioFifo()
            self._position = at
            self._begun = True

    def _encode(self, *, partial: bool = False) -> None:
        self.stream.codec_context.open(strict=False)
        size = self.stream.codec_context.frame_size
        while self._fifo.samples_written and (self._fifo.samples >= size or (partial and self._fifo.samples)):
            # Before the first picture and after the last one there is nothing to hear.
            wanted = min(size, -self._position if self._position < 0 else self.ends_at - self._position)
            frame = self._fifo.read(wanted, partial=partial) if wanted > 0 else None
            if frame is None:
                return
            frame.pts, frame.time_base = self._position, Fraction(1, self.rate)
            self._position += frame.samples
            if frame.pts >= 0:
                self.container.mux(self.stream.encode(frame))
