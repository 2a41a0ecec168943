"""Timestamps of a live stream that can be written into a file: none missing, none falling, no leaps.

libav learns only after some packets in which order pictures are shown; until then it gives them no decoding times, and
the very first picture no time at all. So the beginning of a connection is held back until it can be told.

Cameras restart their timestamps, set their clocks and send pictures again. What a file needs is that decoding times
rise and that its media time runs as real time does; how the camera counts is of no interest beyond that.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, Protocol, TypeVar

# More than a stalled connection or a low frame rate explains is a leap of the camera's, not of time.
LEAP_US = 5_000_000
BACK_US = 1_000_000
# Twice what a decoder of H.264 or H.265 may have to reorder.
MAX_HELD = 32

_MICROSECONDS = 1_000_000


class Stamped(Protocol):
    """What of a packet matters here; None is a time that libav does not know."""

    pts: int | None
    dts: int | None


P = TypeVar("P", bound=Stamped)


class Beginning(Generic[P]):
    """The first packets of the video of a connection, in the units of its timeline."""

    def __init__(self, timeline: "Timeline") -> None:
        self._step = timeline.step
        self._held: list[P] = []
        self._known = False

    def add(self, packet: P) -> list[P]:
        """The packets that are known by now, in order: none for a while, then all that were held, then each alone."""
        if self._known:
            return [packet]
        self._held.append(packet)
        if packet.dts is None and len(self._held) < MAX_HELD:
            return []
        self._known = True
        held, self._held = self._held, []
        self._fill(held)
        return held

    def _fill(self, held: list[P]) -> None:
        told = [packet.pts for packet in held if packet.pts is not None]
        if held[0].pts is None:
            # The stream's time begins with its first picture, wherever libav says nothing else.
            held[0].pts = 0 if not told or min(told) > 0 else min(told) - self._step
        following = held[-1].dts
        for packet in reversed(held[:-1]):
            if following is not None and packet.pts is not None:
                packet.dts = following = min(following - self._step, packet.pts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """A packet's place, in the units of its stream."""

    pts: int
    dts: int


class Timeline:
    """One stream of one connection. `frame_us` is about how long a packet lasts."""

    def __init__(self, time_base: Fraction, *, frame_us: int) -> None:
        self._time_base = time_base
        self.step = max(1, self.units(frame_us))
        self._shift = 0
        self._last: int | None = None
        self._last_arrival = 0

    def microseconds(self, units: int) -> int:
        """So many units of the stream, rounded down, so that the way back never leads past them."""
        return math.floor(units * self._time_base * _MICROSECONDS)

    def units(self, microseconds: int) -> int:
        """The other way round."""
        return math.floor(microseconds / self._time_base / _MICROSECONDS)

    def place(self, pts: int | None, dts: int | None, arrived_at: int) -> Times:
        """Where the next packet stands, whatever it says of itself. `arrived_at` in microseconds."""
        decoded = dts if dts is not None else pts if pts is not None else self._expected - self._shift
        shown = pts if pts is not None else decoded
        if self._last is not None:
            leap = self.microseconds(decoded + self._shift - self._last)
            if not -BACK_US <= leap <= LEAP_US + max(0, arrived_at - self._last_arrival):
                self._shift = self._expected - decoded
        placed = decoded + self._shift
        if self._last is not None:
            placed = max(placed, self._last + 1)
        self._last, self._last_arrival = placed, arrived_at
        return Times(pts=max(shown + self._shift, placed), dts=placed)

    @property
    def _expected(self) -> int:
        return 0 if self._last is None else self._last + self.step
