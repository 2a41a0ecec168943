"""Where tiles lie in a picture, and how that changes: when somebody joins, everybody moves."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Rect:
    """A rectangle of pixels; `x` and `y` are its upper left one."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        """Raise ValueError for a rectangle without a pixel, or one that begins outside the picture."""
        if min(self.x, self.y) < 0 or min(self.width, self.height) < 1:
            raise ValueError("a rectangle has a pixel, and begins inside the picture")


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where the tiles lie from this moment of the file's own timeline on (microseconds), by their number."""

    from_us: int
    rects: dict[int, Rect]


def rects_at(placements: Sequence[Placement], at_us: int) -> Mapping[int, Rect]:
    """Where the tiles lie at a moment: as the last placement says that begins at or before it; nowhere before."""
    index = bisect_right(placements, at_us, key=lambda placement: placement.from_us)
    return placements[index - 1].rects if index else {}
