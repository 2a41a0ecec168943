"""The lines that a stroke consists of, in pixels of its tile, and how much of every pixel a line covers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, cos, hypot, pi, radians, sin
from typing import Final

import numpy as np
from numpy.typing import NDArray

from media.video.strokes.document import Stroke

# Coverage of a pixel in 255ths.
Coverage = NDArray[np.uint8]
Spot = tuple[float, float]

# A line is looked at in parts of about this length, because the rectangle around a long slanting one is mostly empty.
_PART_PIXELS: Final = 48
# A line whose length has a square below this is a dot.
_DOT: Final = 1e-6
# The heads of arrows: so many line widths long, at most this part of the arrow, open by this angle to either side.
_HEAD_WIDTHS: Final = 6
_HEAD_PART: Final = 0.5
_HEAD_DEGREES: Final = 28
# An ellipse is drawn as straight lines of about this length.
_CHORD_PIXELS: Final = 6
_FEWEST_CHORDS, _MOST_CHORDS = 16, 256


@dataclass(frozen=True, slots=True)
class Line:
    """From one spot to another, with round ends; a dot where both are the same."""

    begins: Spot
    ends: Spot


def line_radius(stroke: Stroke, height: int) -> float:
    """Half the width of its lines in a tile so many pixels high. No line is thinner than a pixel."""
    return max(1.0, stroke.width * height) / 2


def added_lines(stroke: Stroke, size: tuple[int, int], before: int, now: int) -> list[Line]:
    """What a line through all points gains when it grows from `before` points to `now`."""
    spots = _spots(stroke, size, max(0, before - 1), now)
    return [Line(*pair) for pair in pairwise(spots)] or [Line(spots[0], spots[0])]


def shape_lines(stroke: Stroke, size: tuple[int, int], now: int) -> list[Line]:
    """An arrow, a rectangle or an ellipse, spanned by the first and the last of its points so far."""
    (first,), (last,) = _spots(stroke, size, 0, 1), _spots(stroke, size, now - 1, now)
    if first == last:
        return [Line(first, last)]
    match stroke.tool:
        case "arrow":
            return _arrow(first, last, line_radius(stroke, size[1]))
        case "rectangle":
            return _closed([first, (last[0], first[1]), last, (first[0], last[1])])
    return _closed(_ellipse(first, last))


def draw(coverage: Coverage, origin: tuple[int, int], line: Line, radius: float) -> None:
    """Draw into an array whose first pixel is `origin`; what lies outside the array is left out."""
    for part in _parts(line):
        _draw_part(coverage, origin, part, radius)


def bounds(lines: Sequence[Line], radius: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The rectangle of pixels that lines can touch within the tile: left, top, right and bottom (both exclusive)."""
    xs = [spot[0] for line in lines for spot in (line.begins, line.ends)]
    ys = [spot[1] for line in lines for spot in (line.begins, line.ends)]
    reach = radius + 1
    return (
        max(0, int(min(xs) - reach)),
        max(0, int(min(ys) - reach)),
        min(size[0], ceil(max(xs) + reach)),
        min(size[1], ceil(max(ys) + reach)),
    )


def _draw_part(coverage: Coverage, origin: tuple[int, int], line: Line, radius: float) -> None:
    height, width = coverage.shape
    (x, y), (u, v) = line.begins, line.ends
    reach = radius + 1
    left, right = max(0, int(min(x, u) - reach) - origin[0]), min(width, ceil(max(x, u) + reach) - origin[0])
    top, bottom = max(0, int(min(y, v) - reach) - origin[1]), min(height, ceil(max(y, v) + reach) - origin[1])
    if left >= right or top >= bottom:
        return
    # From the first spot to the centre of each pixel.
    dx = np.arange(left, right, dtype=np.float32) + np.float32(origin[0] + 0.5 - x)
    dy = (np.arange(top, bottom, dtype=np.float32) + np.float32(origin[1] + 0.5 - y))[:, None]
    along_x, along_y = u - x, v - y
    square = along_x * along_x + along_y * along_y
    if square > _DOT:
        along = np.clip((dx * np.float32(along_x) + dy * np.float32(along_y)) / np.float32(square), 0, 1)
        distance = np.hypot(dx - along * np.float32(along_x), dy - along * np.float32(along_y))
    else:
        distance = np.hypot(dx, dy)
    covered = np.clip(np.float32(radius + 0.5) - distance, 0, 1) * np.float32(255) + np.float32(0.5)
    part = coverage[top:bottom, left:right]
    np.maximum(part, covered.astype(np.uint8), out=part)


def _parts(line: Line) -> Iterator[Line]:
    (x, y), (u, v) = line.begins, line.ends
    count = max(1, ceil(hypot(u - x, v - y) / _PART_PIXELS)) if x != u and y != v else 1
    spots = [(x + (u - x) * n / count, y + (v - y) * n / count) for n in range(count + 1)]
    return (Line(*pair) for pair in pairwise(spots))


def _spots(stroke: Stroke, size: tuple[int, int], start: int, stop: int) -> list[Spot]:
    return [(x * size[0], y * size[1]) for x, y, _ in stroke.points[start:stop]]


def _arrow(first: Spot, last: Spot, radius: float) -> list[Line]:
    back_x, back_y = first[0] - last[0], first[1] - last[1]
    length = hypot(back_x, back_y)
    scale = min(_HEAD_WIDTHS * 2 * radius, _HEAD_PART * length) / length
    lines = [Line(first, last)]
    for angle in (radians(_HEAD_DEGREES), -radians(_HEAD_DEGREES)):
        x = (back_x * cos(angle) - back_y * sin(angle)) * scale
        y = (back_x * sin(angle) + back_y * cos(angle)) * scale
        lines.append(Line(last, (last[0] + x, last[1] + y)))
    return lines


def _ellipse(first: Spot, last: Spot) -> list[Spot]:
    x, y = (first[0] + last[0]) / 2, (first[1] + last[1]) / 2
    wide, high = abs(last[0] - first[0]) / 2, abs(last[1] - first[1]) / 2
    count = max(_FEWEST_CHORDS, min(_MOST_CHORDS, round(2 * pi * max(wide, high) / _CHORD_PIXELS)))
    return [(x + wide * cos(2 * pi * n / count), y + high * sin(2 * pi * n / count)) for n in range(count)]


def _closed(corners: list[Spot]) -> list[Line]:
    return [Line(*pair) for pair in zip(corners, [*corners[1:], corners[0]], strict=True)]
