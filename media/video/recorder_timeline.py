"""Timestamps of a live stream that can be written into a file: none missing, none falling, no leaps.

Cameras restart their timestamps, set their clocks and send pictures again. What a file needs is that decoding times
rise and that its media time runs as real time does; how the camera counts is of no interest beyond that.
"""

from dataclasses import dataclass
from fractions import Fraction

# More than a stalled connection or a low frame rate explains is a leap of the camera's, not of time.
LEAP_US = 5_000_000
BACK_US = 1_000_000

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """A packet's place, in the units of its stream."""

    pts: int
    dts: int


class Timeline:
    """One stream of one connection. `frame_us` is about how long a packet lasts."""

    def __init__(self, time_base: Fraction, *, frame_us: int) -> None:
        self._time_base = time_base
        self._step = max(1, self.units(frame_us))
        self._shift = 0
        self._last: int | None = None
        self._last_arrival = 0

    def microseconds(self, units: int) -> int:
        """So many units of the stream."""
        return int(units * self._time_base * _MICROSECONDS)

    def units(self, microseconds: int) -> int:
        """The other way round."""
        return int(microseconds / self._time_base / _MICROSECONDS)

    def place(self, pts: int | None, dts: int | None, arrived_at: int) -> Times:
        """Where the next packet stands, whatever it says of itself. `arrived_at` in microseconds."""
        # libav leaves out the times of a stream's very first picture, and of those it cannot order yet.
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
        return 0 if self._last is None else self._last + self._step
