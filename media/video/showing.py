"""Plays a part of the footage: the pictures a viewer would see, when, and the sound between them."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import av
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from media.video.frames import display_matrix
from media.video.plan import FOR_EVER, Piece
from media.video.reading import SECOND, Opened, Timed, opened, packets_until_break
from media.video.values import Limits

MICROSECOND: Final = Fraction(1, SECOND)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One picture, from when until when it is shown (UTC), the shape of its pixels, and how a player turns it."""

    frame: VideoFrame
    starts_at: int
    ends_at: int
    aspect: Fraction
    matrix: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """A packet of audio and when it sounds (UTC). It can be decoded until the next item is taken."""

    packet: "Packet[Stream]"
    starts_at: int
    duration: int


@dataclass(slots=True)
class Player:
    """Plays pieces; counts the frames in the part asked for that no decoder could make a picture of.

    `damaged` counts those of which a part had to be made up: the decoder says so of what it conceals.
    """

    pieces: Sequence[Piece]
    limits: Limits
    audio: bool
    whole: bool = False  # all sound of the files, also before their first picture and after their last
    lost: int = field(default=0, init=False)
    damaged: int = field(default=0, init=False)

    def play(self, starts_at: int, ends_at: int) -> Iterator[Shown | Heard]:
        """Everything with `starts_at <= time < ends_at`, in the order of the files. Raises MediaError."""
        for piece in self.pieces:
            first = bisect_left(piece.scan.shown, max(starts_at, piece.shown_from), key=piece.segment.clock.utc_of)
            stop = bisect_left(piece.scan.shown, min(ends_at, piece.shown_to), key=piece.segment.clock.utc_of)
            if first < stop:
                with opened(piece.segment.path, self.limits) as source:
                    yield from self._play_piece(piece, source, piece.scan.shown[first:stop], ends_at)

    def _play_piece(self, piece: Piece, source: Opened, wanted: "array[int]", ends_at: int) -> Iterator[Shown | Heard]:
        source.video.codec_context.options = {"max_pixels": str(self.limits.pixels)}
        clock, zero_us = piece.segment.clock, piece.scan.zero_us
        sound_from, sound_to = clock.utc_of(wanted[0]), min(ends_at, piece.end_of(wanted[-1]))
        if self.whole:
            sound_from, sound_to = -FOR_EVER, FOR_EVER
        pictures = _Pictures(piece, source, wanted)
        for timed in packets_until_break(source):
            at = clock.utc_of(timed.pts - zero_us)
            if timed.is_video:
                yield from pictures.of(timed, ends_at)
                if pictures.ended and at > sound_to + SECOND:
                    break
            elif self.audio and sound_from < at + timed.duration and at < sound_to:
                yield Heard(packet=timed.packet, starts_at=at, duration=timed.duration)
        yield from pictures.of(None, ends_at)
        self.lost += max(0, len(wanted) - pictures.found)
        self.damaged += pictures.damaged


class _Pictures:
    """Decodes the packets of a piece from the keyframe before the wanted frames on, and picks these."""

    def __init__(self, piece: Piece, source: Opened, wanted: "array[int]") -> None:
        self.found = 0
        self.damaged = 0
        self.ended = False
        self._piece = piece
        self._source = source
        self._first, self._last = wanted[0], wanted[-1]
        self._skip = max((index for index in piece.scan.keys if piece.scan.pts[index] <= wanted[0]), default=0)
        self._position = wanted[0]
        aspect = source.video.sample_aspect_ratio or Fraction(1)
        self._aspect = aspect if aspect > 0 else Fraction(1)
        self._matrix: tuple[int, ...] | None = None

    def of(self, timed: Timed | None, ends_at: int) -> Iterator[Shown]:
        """The wanted pictures that this packet, or the end of the packets, brings."""
        if self.ended:
            return
        if timed is not None and self._skip > 0:
            self._skip -= 1
            return
        for frame in _decoded(self._source, timed, self._piece.scan.zero_us):
            # A decoder that loses a time stamp has not lost the order.
            self._position = frame.pts if frame.pts is not None else self._position + self._piece.scan.nominal_us
            self.ended = self.ended or self._position > self._last
            if self._first <= self._position <= self._last:
                if self.found == 0:
                    # Of one frame only: a frame that was asked for its side data lives until the next garbage
                    # collection, and a few hundred frames are a gigabyte.
                    self._matrix = display_matrix(frame)
                self.found += 1
                self.damaged += frame.is_corrupt
                yield Shown(
                    frame=frame,
                    starts_at=self._piece.segment.clock.utc_of(self._position),
                    ends_at=min(ends_at, self._piece.end_of(self._position)),
                    aspect=self._aspect,
                    matrix=self._matrix,
                )


def _decoded(source: Opened, timed: Timed | None, zero_us: int) -> list[VideoFrame]:
    packet: Packet[Stream] | None = None
    if timed is not None:
        packet = timed.packet
        packet.time_base = MICROSECOND
        packet.pts, packet.dts = timed.pts - zero_us, timed.dts - zero_us
    try:
        return source.video.codec_context.decode(packet)
    except MemoryError:
        raise
    except av.error.FFmpegError:
        # Damaged data: the frames around it are shown, the loss is counted.
        return []
