"""All strokes of one tile laid over each other, kept from picture to picture and changed only where they change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from media.video.strokes.colour import in_numbers_of
from media.video.strokes.document import Stroke
from media.video.strokes.shapes import Coverage, added_lines, bounds, draw, line_radius, shape_lines

T = TypeVar("T", bound=np.generic)
Box = tuple[int, int, int, int]  # left, top, right and bottom, both exclusive
Plane = NDArray[np.float32]

# Whatever it is told, a highlighter leaves visible what it marks.
_HIGHLIGHTER_OPACITY: Final = 0.5
# More places than these that change at once are looked at as one.
_MOST_APART: Final = 8
_GROWING: Final = frozenset({"pen", "highlighter"})


@dataclass(frozen=True, slots=True)
class Ink:
    """How colours become numbers in a picture."""

    matrix: tuple[float, float]
    full: bool


@dataclass(slots=True)
class _Drawn:
    points: int
    box: Box
    coverage: Coverage


@dataclass(slots=True)
class Overlay:
    """Strokes in the pixels of a tile: `alpha`, and Y', Cb and Cr times alpha, all at full resolution."""

    strokes: Sequence[Stroke]
    size: tuple[int, int]
    ink: Ink
    alpha: Plane = field(init=False)
    colours: tuple[Plane, Plane, Plane] = field(init=False)
    box: Box | None = field(default=None, init=False)  # around everything drawn; None when nothing is
    _changed: list[Box] = field(default_factory=list, init=False)
    _drawn: dict[int, _Drawn] = field(default_factory=dict, init=False)
    _boxes: NDArray[np.int32] = field(init=False)  # by stroke; an empty one where it is not drawn

    def __post_init__(self) -> None:
        self._boxes = np.zeros((len(self.strokes), 4), np.int32)
        shape = (self.size[1], self.size[0])
        self.alpha = np.zeros(shape, np.float32)
        self.colours = (np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    def show(self, wanted: Mapping[int, int]) -> None:
        """Have these strokes drawn, with so many of their points, and no others."""
        gone = self._drawn.keys() - wanted.keys()
        changed = [self._drawn.pop(number).box for number in gone]
        self._boxes[list(gone)] = 0
        for number, points in wanted.items():
            drawn = self._drawn.get(number)
            if drawn is None or drawn.points != points:
                changed.append(self._draw(number, points))
                self._boxes[number] = self._drawn[number].box
        if len(changed) > _MOST_APART:
            changed = [reduce(_joined, changed)]
        for dirty in changed:
            self._lay_again(dirty)
        self._changed += changed
        if changed:
            self.box = self._around()

    def taken_changes(self) -> list[Box]:
        """The rectangles in which something changed since this was asked last."""
        changed, self._changed = self._changed, []
        return changed

    def _around(self) -> Box | None:
        drawn = self._boxes[self._boxes[:, 2] > 0]
        if not len(drawn):
            return None
        (left, top), (right, bottom) = drawn[:, :2].min(axis=0).tolist(), drawn[:, 2:].max(axis=0).tolist()
        return left, top, right, bottom

    def _draw(self, number: int, points: int) -> Box:
        """Draw a stroke with so many points; returns where it changed."""
        stroke, before = self.strokes[number], self._drawn.get(number)
        radius = line_radius(stroke, self.size[1])
        grows = stroke.tool in _GROWING
        kept = before if grows and before is not None and before.points < points else None
        if grows:
            lines = added_lines(stroke, self.size, 0 if kept is None else kept.points, points)
        else:
            lines = shape_lines(stroke, self.size, points)
        changed = bounds(lines, radius, self.size)
        box = changed if kept is None else _joined(changed, kept.box)
        coverage = np.zeros((box[3] - box[1], box[2] - box[0]), np.uint8)
        if kept is not None:
            if box == kept.box:
                coverage = kept.coverage
            else:
                _part(coverage, box, kept.box)[:] = kept.coverage
        for line in lines:
            draw(coverage, (box[0], box[1]), line, radius)
        self._drawn[number] = _Drawn(points=points, box=box, coverage=coverage)
        return changed if before is None or kept is not None else _joined(changed, before.box)

    def _lay_again(self, dirty: Box) -> None:
        whole = (0, 0, *self.size)
        alpha = _part(self.alpha, whole, dirty)
        colours = [_part(plane, whole, dirty) for plane in self.colours]
        for plane in (alpha, *colours):
            plane[:] = 0
        left, top, right, bottom = self._boxes.T
        touching = (left < dirty[2]) & (dirty[0] < right) & (top < dirty[3]) & (dirty[1] < bottom)
        for number in np.nonzero(touching)[0].tolist():
            stroke, drawn = self.strokes[number], self._drawn[number]
            box = _common(drawn.box, dirty)
            opacity = min(stroke.opacity, _HIGHLIGHTER_OPACITY) if stroke.tool == "highlighter" else stroke.opacity
            covered = _part(drawn.coverage, drawn.box, box) * np.float32(opacity / 255)
            rest = 1 - covered
            for plane, level in zip(
                colours, in_numbers_of(stroke.colour, self.ink.matrix, full=self.ink.full), strict=True
            ):
                below = _part(plane, dirty, box)
                below[:] = below * rest + covered * np.float32(level)
            below = _part(alpha, dirty, box)
            below[:] = below * rest + covered


def _part(array: NDArray[T], of: Box, box: Box) -> NDArray[T]:
    """The view of a rectangle within an array that holds another one."""
    return array[box[1] - of[1] : box[3] - of[1], box[0] - of[0] : box[2] - of[0]]


def _joined(one: Box, other: Box) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _common(one: Box, other: Box) -> Box:
    return max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])
