"""The picture that a composite is made of: planes of 4:2:0 in BT.709 and limited range, and pictures put into them.

Nothing goes through RGB. The planes are kept from picture to picture; only a tile whose picture changed is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from media.video.frames import Shaper, Upright, contained
from media.video.placing import Rect

Plane = NDArray[np.uint8]

# As media/recordings/tiles.json publishes it.
BACKGROUND: Final = (16, 128, 128)
_PIXEL_FORMAT: Final = "yuv420p"
# AVColorSpace, of the pixels' matrix.
_UNSPECIFIED, _BT709 = 2, 1
# Where a picture does not say its matrix: from this width, or above so many lines, players take it for BT.709
# (as media/video/strokes/colour.py).
_HIGH_WIDTH, _STANDARD_LINES = 1280, 576
# Bars of so many pixels are rounding, not another shape.
_NO_BARS: Final = 2


@dataclass(slots=True)
class Stage:
    """The planes. Rectangles must be even and lie inside."""

    width: int
    height: int
    _planes: tuple[Plane, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with background everywhere."""
        sizes = ((self.height, self.width), (self.height // 2, self.width // 2), (self.height // 2, self.width // 2))
        self._planes = tuple(np.full(size, level, np.uint8) for size, level in zip(sizes, BACKGROUND, strict=True))

    def clear(self, rect: Rect) -> None:
        """Put background there."""
        for part, level in zip(self._parts(rect), BACKGROUND, strict=True):
            part[:] = level

    def clear_all(self) -> None:
        """Put background everywhere."""
        for plane, level in zip(self._planes, BACKGROUND, strict=True):
            plane[:] = level

    def put(self, picture: VideoFrame, rect: Rect) -> None:
        """Put a picture of the rectangle's size there, as `Fitter` makes them."""
        for part, source in zip(self._parts(rect), planes_of(picture), strict=True):
            part[:] = source

    def picture(self) -> VideoFrame:
        """A copy of what stands in the planes, which says how its colours are to be read."""
        frame = VideoFrame(self.width, self.height, _PIXEL_FORMAT)
        for target, plane in zip(planes_of(frame), self._planes, strict=True):
            target[:] = plane
        frame.color_range, frame.colorspace = ColorRange.MPEG, _BT709
        frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return frame

    def _parts(self, rect: Rect) -> list[Plane]:
        x, y, width, height = rect.x, rect.y, rect.width, rect.height
        full = self._planes[0][y : y + height, x : x + width]
        half = slice(y // 2, (y + height) // 2), slice(x // 2, (x + width) // 2)
        return [full, self._planes[1][half], self._planes[2][half]]


@dataclass(slots=True)
class Fitter:
    """Makes the pictures of one file fit their tile; keeps what it prepared for the next one."""

    _shaper: Shaper = field(default_factory=Shaper, init=False)
    _upright: Upright = field(default_factory=Upright, init=False)

    def fitted(
        self, frame: VideoFrame, aspect: Fraction, matrix: Sequence[int] | None, tile: Rect
    ) -> tuple[VideoFrame, Rect]:
        """The picture upright, whole and as large as the tile allows, in the stage's colours; and where it stands."""
        turned, aspect = self._upright.turned(frame, aspect, matrix)
        width, height = contained(turned.width, turned.height, tile.width, tile.height, aspect)
        if tile.width - width <= _NO_BARS and tile.height - height <= _NO_BARS:
            width, height = tile.width, tile.height
        is_high = turned.width >= _HIGH_WIDTH or turned.height > _STANDARD_LINES
        if turned.colorspace == _UNSPECIFIED and is_high:
            turned.colorspace = _BT709
        size = width, height
        picture = self._shaper.shaped(turned, size, _PIXEL_FORMAT, full_range=False, matrix=Colorspace.ITU709)
        return picture, Rect(
            x=tile.x + (tile.width - width) // 4 * 2,
            y=tile.y + (tile.height - height) // 4 * 2,
            width=width,
            height=height,
        )


def planes_of(frame: VideoFrame) -> list[Plane]:
    """The pixels of each plane of a picture, without what libav adds to its lines; writable."""
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in frame.planes
    ]
