"""Annotation documents for tests, and a look at the colours of decoded pictures."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from media.video.strokes.document import AnnotationDocument, parse_annotations
from media.video.strokes.timeline import StrokeTimeline

RED = "#e01030"
BLUE = "#1040e0"
STARTED_AT = "2026-03-01T12:00:00.000000Z"


def stroke(points: Sequence[Sequence[float]], **changes: Any) -> dict[str, Any]:
    """A wide pen stroke in tile 1."""
    usual = {"id": "s", "tile": 1, "author": "ann", "tool": "pen", "colour": RED, "opacity": 1, "width": 0.1}
    return {**usual, "points": [list(point) for point in points], **changes}


def erase(at: int, *strokes: str) -> dict[str, Any]:
    return {"action": "erase", "at": at, "author": "ann", "strokes": list(strokes)}


def clear(at: int, tile: int | None = None) -> dict[str, Any]:
    return {"action": "clear", "at": at, "author": "ann", "tile": tile}


def document(strokes: Sequence[dict[str, Any]], actions: Sequence[dict[str, Any]] = (), **changes: Any) -> bytes:
    whole = {
        "format": "indelible-annotations/1",
        "started_at": STARTED_AT,
        "strokes": list(strokes),
        "actions": list(actions),
    }
    return json.dumps({**whole, **changes}).encode()


def parsed(strokes: Sequence[dict[str, Any]], actions: Sequence[dict[str, Any]] = ()) -> AnnotationDocument:
    return parse_annotations(document(strokes, actions))


def timeline(strokes: Sequence[dict[str, Any]], actions: Sequence[dict[str, Any]] = ()) -> StrokeTimeline:
    return StrokeTimeline(parsed(strokes, actions))


def blank(size: tuple[int, int], pixel_format: str = "yuv420p", *, matrix: int = 1, full: bool = False) -> VideoFrame:
    """A picture of noise, so that any change of it shows."""
    frame = VideoFrame(*size, pixel_format)
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    noise = np.random.default_rng(7)
    for plane in frame.planes:
        plane.update(noise.integers(60, 190, plane.buffer_size, np.uint8).tobytes())
    return frame


def planes(frame: VideoFrame) -> list[NDArray[np.uint8]]:
    """The samples of every plane, by row, without what fills the lines up."""
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width].copy()
        for plane in frame.planes
    ]


def looks(frame: VideoFrame, colour: str, x: int, y: int) -> bool:
    """Whether a pixel has this colour, but for what encoding costs."""
    return bool(np.max(np.abs(rgb(frame)[y, x] - wanted(colour))) < 40)


def rgb(frame: VideoFrame) -> NDArray[np.int16]:
    return frame.to_ndarray(format="rgb24").astype(np.int16)


def wanted(colour: str) -> NDArray[np.int16]:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)], np.int16)
