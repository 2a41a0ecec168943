"""Paints strokes onto pictures: in their own planes, in place, touching only the pixels of the strokes.

1. A tile's strokes are drawn at full resolution in the tile's own pixels (overlay.py), again only where they change.
2. From that come, for each plane, the places of the touched samples, how much of each is kept, and what is added.
3. A sample of chroma that also colours a pixel outside the tile is never touched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from media.errors import MediaError, Reason
from media.video.placing import Rect
from media.video.strokes.colour import in_full_range, matrix_of
from media.video.strokes.overlay import Box, Ink, Overlay, Plane
from media.video.strokes.timeline import Cursor, StrokeTimeline

# By pixel format, how many pixels across and down share a sample of chroma.
_FORMATS: Final = {
    "yuv420p": (2, 2),
    "yuvj420p": (2, 2),
    "yuv422p": (2, 1),
    "yuvj422p": (2, 1),
    "yuv444p": (1, 1),
    "yuvj444p": (1, 1),
}
# Rows of pixels that are looked at together; a multiple of the rows that share chroma.
_BAND: Final = 16
# Samples are weighed in parts of 256; less than half of one is nothing.
_WHOLE: Final = 256
_NOTHING: Final = 0.5 / _WHOLE


@dataclass(slots=True)
class StrokePainter:
    """Paints what is drawn at the time of each picture. `offset_us`: the annotation clock at time zero of the file."""

    timeline: StrokeTimeline
    offset_us: int
    _cursor: Cursor = field(init=False)
    _reached: int = field(init=False)
    _tiles: dict[int, "_Tile"] = field(default_factory=dict, init=False)
    _painted: set[int] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._cursor = self.timeline.cursor()
        self._reached = -self.offset_us

    @property
    def painted(self) -> int:
        """How many strokes have been on a picture so far."""
        return len(self._painted)

    def paint(self, frame: VideoFrame, at_us: int, rects: Mapping[int, Rect]) -> None:
        """Paint a picture shown at this time of its file, in which the tiles lie there. Times should rise.

        Raises MediaError INTERNAL for a picture that is not planar YUV of eight bits; ValueError for a tile that does
        not lie within the picture.
        """
        if at_us < self._reached:
            self._cursor = self.timeline.cursor()
            self._tiles.clear()
        self._reached = at_us
        self._cursor.move_to(at_us + self.offset_us)
        tiles = [tile for tile, drawn in self._cursor.drawn.items() if drawn and tile in rects]
        if not tiles:
            return
        if frame.format.name not in _FORMATS:
            raise MediaError(
                Reason.INTERNAL, f"strokes cannot be painted on pictures of the format {frame.format.name}"
            )
        frame.make_writable()
        ink = Ink(matrix=matrix_of(frame), full=in_full_range(frame))
        for tile in tiles:
            self._tile(tile, rects[tile], ink).paint(frame, rects[tile])

    def _tile(self, number: int, rect: Rect, ink: Ink) -> "_Tile":
        tile = self._tiles.get(number)
        if tile is None or (tile.overlay.size, tile.overlay.ink) != ((rect.width, rect.height), ink):
            strokes = self.timeline.document.strokes
            tile = self._tiles[number] = _Tile(Overlay(strokes, (rect.width, rect.height), ink))
        if tile.changes != self._cursor.changes:
            tile.changes = self._cursor.changes
            tile.overlay.show(self._cursor.drawn[number])
            self._painted.update(self._cursor.drawn[number])
        return tile


@dataclass(frozen=True, kw_only=True, slots=True)
class _Touched:
    """Samples of one plane: `new = (old * kept + added) / 256`, rounded."""

    places: NDArray[np.intp]
    kept: NDArray[np.uint16]
    added: NDArray[np.uint16]

    def blend(self, plane: VideoPlane) -> None:
        samples = np.frombuffer(memoryview(plane), np.uint8)
        mixed = samples[self.places] * self.kept
        mixed += self.added
        mixed >>= 8
        samples[self.places] = mixed


@dataclass(slots=True)
class _Tile:
    """One tile in one place: what to touch, found again only in the bands of rows that changed."""

    overlay: Overlay
    changes: int = field(default=-1, init=False)
    _bands: dict[int, list[_Touched]] = field(default_factory=dict, init=False)
    _touched: Sequence[_Touched] = field(default=(), init=False)
    _kind: tuple[object, ...] | None = field(default=None, init=False)

    def paint(self, frame: VideoFrame, rect: Rect) -> None:
        if rect.x + rect.width > frame.width or rect.y + rect.height > frame.height:
            raise ValueError("a tile lies within the picture")
        lines = tuple(plane.line_size for plane in frame.planes)
        kind = (rect, frame.format.name, lines)
        changed = self.overlay.taken_changes()
        if self._kind != kind:
            self._bands, self._kind = {}, kind
            changed = [] if self.overlay.box is None else [self.overlay.box]
        if changed:
            rows = (range((rect.y + box[1]) // _BAND, -(-(rect.y + box[3]) // _BAND)) for box in changed)
            for band in {band for some in rows for band in some}:
                self._bands[band] = self._find(band, rect, _FORMATS[frame.format.name], lines)
            self._touched = _together(self._bands)
        for plane, touched in zip(frame.planes, self._touched, strict=False):
            touched.blend(plane)

    def _find(self, band: int, rect: Rect, shared: tuple[int, int], lines: Sequence[int]) -> list[_Touched]:
        box = self.overlay.box
        rows = max(0, band * _BAND - rect.y), min(rect.height, (band + 1) * _BAND - rect.y)
        if box is None:
            return []
        y, cb, cr = self.overlay.colours
        left, top, right, bottom = box[0], rows[0], box[2], rows[1]
        part = np.s_[top:bottom, left:right]
        luma = _touched(self.overlay.alpha[part], [y[part]], (rect.x + left, rect.y + top), lines[:1])
        across, down = shared
        left, top, right, bottom = _samples((left, top, right, bottom), rect, shared)
        part = np.s_[top * down - rect.y : bottom * down - rect.y, left * across - rect.x : right * across - rect.x]
        alpha, *colours = (_mean(plane[part], shared) for plane in (self.overlay.alpha, cb, cr))
        return luma + _touched(alpha, colours, (left, top), lines[1:])


def _together(bands: Mapping[int, Sequence[_Touched]]) -> list[_Touched]:
    return [
        _Touched(
            places=np.concatenate([touched.places for touched in plane]),
            kept=np.concatenate([touched.kept for touched in plane]),
            added=np.concatenate([touched.added for touched in plane]),
        )
        for plane in zip(*(touched for touched in bands.values() if touched), strict=True)
    ]


def _samples(box: Box, rect: Rect, shared: tuple[int, int]) -> Box:
    """The samples of chroma that a box of the tile's pixels touches, and that colour pixels of the tile alone."""
    across, down = shared
    return (
        max(-(-rect.x // across), (rect.x + box[0]) // across),
        max(-(-rect.y // down), (rect.y + box[1]) // down),
        min((rect.x + rect.width) // across, -(-(rect.x + box[2]) // across)),
        min((rect.y + rect.height) // down, -(-(rect.y + box[3]) // down)),
    )


def _mean(plane: Plane, shared: tuple[int, int]) -> Plane:
    across, down = shared
    total = sum((plane[row::down, column::across] for row in range(down) for column in range(across)), np.float32(0))
    return np.asarray(total / np.float32(across * down), np.float32)


def _touched(alpha: Plane, colours: Sequence[Plane], origin: tuple[int, int], lines: Sequence[int]) -> list[_Touched]:
    """For planes of one size: what is touched in each. `colours` are multiplied with alpha."""
    rows, columns = np.nonzero(alpha >= _NOTHING)
    weights = alpha[rows, columns]
    kept = np.rint((1 - weights) * _WHOLE).astype(np.uint16)
    found = []
    for colour, line in zip(colours, lines, strict=True):
        places = (rows + origin[1]) * line + columns + origin[0]
        # Of the rest of the 256 parts, so that no sum is above 255 * 256 + 128; half a part rounds.
        added = np.rint(colour[rows, columns] / weights * (_WHOLE - kept)) + _WHOLE // 2
        found.append(_Touched(places=places.astype(np.intp), kept=kept, added=added.astype(np.uint16)))
    return found
