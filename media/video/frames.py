"""Puts decoded pictures into the shape an encoder wants: size, pixel format and range; upright where players differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, cast

from av.filter import Graph
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from media.video.placing import Rect

# Eight bits at full range. libav keeps the names of old JPEG formats for it.
FULL_RANGE: Final = "yuvj420p"
_EIGHT_BITS: Final = 8
_MATRIX: Final = 9


@dataclass(slots=True)
class Shaper:
    """Changes size, pixel format, range and matrix; keeps what it prepared for the next picture."""

    _reformatter: VideoReformatter = field(default_factory=VideoReformatter, init=False)

    def shaped(
        self,
        frame: VideoFrame,
        size: tuple[int, int],
        pixel_format: str,
        *,
        full_range: bool | None = None,
        matrix: Colorspace | None = None,
    ) -> VideoFrame:
        """The picture in another size or pixel format, and in another range and matrix where those are given."""
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        wanted = full if full_range is None else full_range
        if frame.format.is_rgb:
            full, wanted = True, bool(full_range)
            matrix = matrix or Colorspace.ITU709
        if ((frame.width, frame.height), frame.format.name, wanted, None) == (size, pixel_format, full, matrix):
            return frame
        return self._reformatter.reformat(
            frame,
            width=size[0],
            height=size[1],
            format=pixel_format,
            interpolation="BICUBIC",
            dst_colorspace=matrix,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG if wanted else ColorRange.MPEG,
            threads=1,
        )


@dataclass(slots=True)
class Canvas:
    """Fits pictures into one size and pixel format: larger ones are made smaller, the rest is black."""

    width: int
    height: int
    pixel_format: str
    _shaper: Shaper = field(default_factory=Shaper, init=False)
    _graphs: dict[tuple[int, int], Graph] = field(default_factory=dict, init=False)

    def fit(self, frame: VideoFrame) -> VideoFrame:
        """The picture in the canvas's shape; the picture itself when it already has it."""
        width, height = self._size_of(frame)
        fitted = self._shaper.shaped(frame, (width, height), self.pixel_format)
        if (width, height) == (self.width, self.height):
            return fitted
        if (width, height) not in self._graphs:
            place = self.place(frame)
            pad = f"{self.width}:{self.height}:{place.x}:{place.y}"
            self._graphs[width, height] = _graph(fitted, [("pad", pad)])
        graph = self._graphs[width, height]
        graph.vpush(fitted)
        return graph.vpull()

    def place(self, frame: VideoFrame) -> Rect:
        """Where the picture lies in the canvas."""
        width, height = self._size_of(frame)
        return Rect(x=(self.width - width) // 2, y=(self.height - height) // 2, width=width, height=height)

    def _size_of(self, frame: VideoFrame) -> tuple[int, int]:
        if 0 <= self.width - frame.width <= 1 and 0 <= self.height - frame.height <= 1:
            return frame.width, frame.height
        return contained(frame.width, frame.height, self.width, self.height)


def encodable_format(frame: VideoFrame, *, eight_bits: bool = False) -> str:
    """4:2:0, which every player shows, with the range of the source, and its depth unless `eight_bits` are wanted."""
    if not eight_bits and any(component.bits > _EIGHT_BITS for component in frame.format.components):
        return "yuv420p10le"
    return FULL_RANGE if frame.format.name.startswith("yuvj") else "yuv420p"


def contained(
    width: int, height: int, box_width: int, box_height: int, aspect: Fraction = Fraction(1)
) -> tuple[int, int]:
    """The largest even size within the box that keeps the shape of the picture; `aspect` is that of a pixel."""
    shown = width * aspect
    scale = min(Fraction(box_width) / shown, Fraction(box_height, height))
    return max(2, round(shown * scale) // 2 * 2), max(2, round(height * scale) // 2 * 2)


def display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """How a player turns or mirrors the picture: nine 16.16 numbers of ISO/IEC 14496-12, 6.2.2; None for not at all."""
    side_data = cast(Mapping[Type, SideData], frame.side_data)  # its declared type knows motion vectors only
    data = side_data.get(Type.DISPLAYMATRIX) if len(side_data) else None
    if data is None:
        return None
    numbers = memoryview(bytes(data)).cast("i").tolist()
    return tuple(numbers) if len(numbers) == _MATRIX else None


@dataclass(slots=True)
class Upright:
    """Turns pictures as a player would, for files whose players do not."""

    _graph: Graph | None = field(default=None, init=False)
    _shape: tuple[object, ...] | None = field(default=None, init=False)

    def turned(self, frame: VideoFrame, aspect: Fraction, matrix: Sequence[int] | None) -> tuple[VideoFrame, Fraction]:
        """The picture upright, and the shape of its pixels."""
        filters = [] if matrix is None else _turning(matrix, frame.rotation)
        if not filters:
            return frame, aspect
        shape = (frame.width, frame.height, frame.format.name, tuple(filters))
        if self._graph is None or self._shape != shape:
            self._graph, self._shape = _graph(frame, filters), shape
        self._graph.vpush(frame)
        turned = self._graph.vpull()
        return turned, 1 / aspect if (turned.width, turned.height) != (frame.width, frame.height) else aspect


def _turning(matrix: Sequence[int], rotation: int) -> list[tuple[str, str]]:
    # As ffmpeg turns pictures by itself (fftools/ffmpeg_filter.c). Players know quarter turns and mirrors only.
    match -rotation % 360:
        case 90:
            return [("transpose", "cclock_flip" if matrix[3] > 0 else "clock")]
        case 270:
            return [("transpose", "clock_flip" if matrix[3] < 0 else "cclock")]
        case 180:
            flips = ("hflip", matrix[0] < 0), ("vflip", matrix[4] < 0)
        case _:
            flips = ("hflip", False), ("vflip", matrix[4] < 0)
    return [(name, "") for name, wanted in flips if wanted]


def _graph(frame: VideoFrame, filters: Sequence[tuple[str, str]]) -> Graph:
    graph = Graph()
    graph.threads = 1
    nodes = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000))]
    nodes += [graph.add(name, arguments or None) for name, arguments in filters]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
