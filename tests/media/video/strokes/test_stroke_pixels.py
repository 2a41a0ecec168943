"""Strokes on pictures before they are encoded: the right pixels, the right colours, and no others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from media.errors import MediaError, Reason
from media.video.placing import Placement, Rect, rects_at
from media.video.strokes.painter import StrokePainter
from tests.media.video.filming import Film, film
from tests.media.video.strokes.drawing import BLUE, RED, blank, clear, erase, planes, rgb, stroke, timeline, wanted

SIZE = (320, 180)
WHOLE = Rect(x=0, y=0, width=320, height=180)
MS = 1000
LINE = [[0.2, 0.5, 100], [0.5, 0.5, 200], [0.8, 0.5, 300]]
FORMATS = {"yuv420p": (2, 2), "yuv422p": (2, 1), "yuv444p": (1, 1)}


def painted(
    strokes: Sequence[dict[str, Any]], at_ms: int = 1000, rect: Rect = WHOLE, actions: Sequence[dict[str, Any]] = ()
) -> VideoFrame:
    frame = blank(SIZE)
    StrokePainter(timeline(strokes, actions), 0).paint(frame, at_ms * MS, {1: rect})
    return frame


def touched(frame: VideoFrame, before: VideoFrame | None = None) -> NDArray[np.bool_]:
    """The pixels of luma that changed."""
    return np.not_equal(planes(frame)[0], planes(before or blank(SIZE))[0])


def columns(frame: VideoFrame) -> tuple[int, int]:
    """The first and the last column that changed."""
    found = np.nonzero(touched(frame).any(axis=0))[0]
    return int(found[0]), int(found[-1])


@pytest.mark.parametrize("matrix", [1, 5, 6, 9, 2], ids=["BT.709", "BT.470", "BT.601", "BT.2020", "not told"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("pixel_format", [*FORMATS, "yuvj420p"])
@pytest.mark.parametrize("colour", [RED, "#ffffff", "#000000", "#00ff00"])
def test_a_colour_is_put_into_the_numbers_of_the_picture(
    *, matrix: int, full: bool, pixel_format: str, colour: str
) -> None:
    full = full or pixel_format == "yuvj420p"
    frame = blank(SIZE, pixel_format, matrix=matrix, full=full)
    StrokePainter(timeline([stroke(LINE, colour=colour)]), 0).paint(frame, 1000 * MS, {1: WHOLE})
    # libswscale with the matrix and the range named, not guessed; 320x180 is BT.601 where nothing is told.
    shown = frame.reformat(
        format="rgb24",
        src_colorspace=5 if matrix == 2 else matrix,
        src_color_range=2 if full else 1,
        dst_color_range=2,
        interpolation="POINT",
    ).to_ndarray()
    assert np.max(np.abs(shown[90, 100].astype(int) - wanted(colour))) <= 3


@pytest.mark.parametrize(
    ("size", "matrix"), [((1278, 576), 5), ((1280, 200), 1), ((720, 578), 1)], ids=["SD", "wide", "high"]
)
def test_a_picture_that_names_no_matrix_is_taken_for_what_players_take_it(size: tuple[int, int], matrix: int) -> None:
    told, untold = blank(size, matrix=matrix), blank(size, matrix=2)
    for frame in (told, untold):
        rect = Rect(x=0, y=0, width=size[0], height=size[1])
        StrokePainter(timeline([stroke(LINE)]), 0).paint(frame, 1000 * MS, {1: rect})
    assert all(np.array_equal(one, other) for one, other in zip(planes(told), planes(untold), strict=True))


def test_half_a_stroke_leaves_half_of_what_is_below() -> None:
    before, after = planes(blank(SIZE)), planes(painted([stroke(LINE, colour="#ffffff", opacity=0.5)]))
    expected = np.rint((before[0][90, 70:250].astype(float) + 235) / 2)
    assert np.max(np.abs(after[0][90, 70:250] - expected)) <= 1


def test_a_highlighter_never_hides_what_it_marks() -> None:
    marked, half = painted([stroke(LINE, tool="highlighter")]), painted([stroke(LINE, opacity=0.5)])
    assert all(np.array_equal(one, other) for one, other in zip(planes(marked), planes(half), strict=True))


def test_a_stroke_that_crosses_itself_covers_itself_once() -> None:
    there_and_back = [*LINE, [0.2, 0.5, 400]]
    once, twice = painted([stroke(LINE, opacity=0.4)]), painted([stroke(there_and_back, opacity=0.4)])
    assert all(np.array_equal(one, other) for one, other in zip(planes(once), planes(twice), strict=True))


def test_the_later_of_two_strokes_is_on_top() -> None:
    frame = painted([stroke(LINE), stroke([[0.5, 0.2, 150], [0.5, 0.8, 160]], id="t", colour=BLUE)])
    assert np.max(np.abs(rgb(frame)[90, 160] - wanted(BLUE))) <= 3
    assert np.max(np.abs(rgb(frame)[90, 100] - wanted(RED))) <= 3


def test_edges_are_smooth() -> None:
    levels = planes(painted([stroke([[0.1, 0.1, 0], [0.9, 0.8, 0]], colour="#ffffff", width=0.05)]))[0]
    before = planes(blank(SIZE))[0]
    changed = levels[levels != before]
    assert 0.05 < np.mean((changed > 60) & (changed < 230)) < 0.5


@pytest.mark.parametrize(
    ("tool", "on", "off"),
    [
        ("pen", (160, 90), (64, 126)),
        ("arrow", (160, 90), (64, 126)),
        ("rectangle", (64, 90), (160, 90)),
        ("ellipse", (160, 54), (64, 54)),
    ],
)
def test_each_tool_draws_its_shape(tool: str, on: tuple[int, int], off: tuple[int, int]) -> None:
    changed = touched(painted([stroke([[0.2, 0.3, 0], [0.8, 0.7, 10]], tool=tool, width=0.03)]))
    assert changed[on[1], on[0]]
    assert not changed[off[1], off[0]]


def test_the_head_of_an_arrow_is_at_its_latest_point() -> None:
    changed = touched(painted([stroke([[0.2, 0.5, 0], [0.8, 0.5, 10]], tool="arrow", width=0.05)]))
    heights = changed.sum(axis=0)
    assert heights[240] > heights[100] * 1.5
    assert heights[70] <= heights[100] + 1


@pytest.mark.parametrize(("at", "until"), [(99, None), (100, 0.2), (199, 0.2), (200, 0.5), (299, 0.5), (300, 0.8)])
def test_a_stroke_grows_with_the_times_of_its_points(at: int, until: float | None) -> None:
    frame = painted([stroke(LINE)], at)
    if until is None:
        assert not touched(frame).any()
    else:
        assert columns(frame)[1] == pytest.approx(until * 320 + 9, abs=2)


@pytest.mark.parametrize(("at", "on"), [(99_999, False), (100_000, True), (399_999, True), (400_000, False)])
def test_a_stroke_is_there_from_its_time_to_its_erasure_to_the_microsecond(*, at: int, on: bool) -> None:
    frame = blank(SIZE)
    StrokePainter(timeline([stroke([[0.5, 0.5, 100]])], [erase(400, "s")]), 0).paint(frame, at, {1: WHOLE})
    assert touched(frame).any() == on


@pytest.mark.parametrize("offset", [-5_000_000, -1, 0, 70_000, 5_000_000])
def test_the_offset_of_the_file_moves_every_stroke(offset: int) -> None:
    painter = StrokePainter(timeline([stroke([[0.5, 0.5, 6000]])]), offset)
    before, after = blank(SIZE), blank(SIZE)
    painter.paint(before, 6_000_000 - offset - 1, {1: WHOLE})
    painter.paint(after, 6_000_000 - offset, {1: WHOLE})
    assert not touched(before).any()
    assert touched(after).any()


def test_what_is_erased_or_cleared_while_it_grows_does_not_come_back() -> None:
    for action in (erase(150, "s"), clear(150, 1), clear(150)):
        assert not touched(painted([stroke(LINE)], 1000, actions=[action])).any()


def test_clearing_one_tile_leaves_the_others() -> None:
    strokes = [stroke(LINE), stroke(LINE, id="t", tile=2)]
    frame = blank(SIZE)
    left, right = Rect(x=0, y=0, width=160, height=180), Rect(x=160, y=0, width=160, height=180)
    StrokePainter(timeline(strokes, [clear(500, 1)]), 0).paint(frame, 1_000_000, {1: left, 2: right})
    assert columns(frame)[0] >= 160


def test_erasing_one_of_two_strokes_brings_back_what_was_below() -> None:
    both = [stroke(LINE), stroke([[0.5, 0.2, 350], [0.5, 0.8, 360]], id="t", colour=BLUE)]
    one, other = painted(both, actions=[erase(500, "t")]), painted([stroke(LINE)])
    assert all(np.array_equal(plane, same) for plane, same in zip(planes(one), planes(other), strict=True))


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize(
    "rect",
    [
        Rect(x=101, y=51, width=101, height=61),
        Rect(x=100, y=50, width=1, height=1),
        Rect(x=0, y=0, width=319, height=179),
    ],
)
def test_a_stroke_never_leaves_its_tile_at_odd_edges_either(rect: Rect, pixel_format: str) -> None:
    corners = [[0, 0, 0], [1, 1, 1], [1, 0, 2], [0, 1, 3], [0, 0, 4], [1, 0, 5], [1, 1, 6]]
    shapes = [stroke(corners, id=tool, tool=tool) for tool in ("pen", "rectangle", "ellipse", "arrow")]
    before, after = blank(SIZE, pixel_format), blank(SIZE, pixel_format)
    StrokePainter(timeline(shapes), 0).paint(after, 1_000_000, {1: rect})
    shared = [(1, 1), FORMATS[pixel_format], FORMATS[pixel_format]]
    for (across, down), old, new in zip(shared, planes(before), planes(after), strict=True):
        for y, x in np.argwhere(old != new):
            # Every pixel that this sample colours lies in the tile.
            assert rect.x <= x * across
            assert x * across + across <= rect.x + rect.width
            assert rect.y <= y * down
            assert y * down + down <= rect.y + rect.height


def test_a_tile_that_moves_takes_its_strokes_along() -> None:
    strokes = [stroke([[0.5, 0.5, 0]], width=0.1), stroke([[0.5, 0.5, 0]], id="t", tile=2, colour=BLUE)]
    alone = Placement(from_us=0, rects={1: WHOLE})
    halves = {1: Rect(x=0, y=45, width=160, height=90), 2: Rect(x=160, y=45, width=160, height=90)}
    placements = [alone, Placement(from_us=1_000_000, rects=halves)]
    painter = StrokePainter(timeline(strokes), 0)
    for at, red, blue in ((999_999, (160, 90), None), (1_000_000, (80, 90), (240, 90)), (999_999, (160, 90), None)):
        frame = blank(SIZE)
        painter.paint(frame, at, rects_at(placements, at))
        spots = [spot for spot in (red, blue) if spot is not None]
        assert {
            (int(x), int(y)) for y, x in np.argwhere(touched(frame)) if (x, y) in {(80, 90), (160, 90), (240, 90)}
        } == set(spots)
        assert np.max(np.abs(rgb(frame)[red[1], red[0]] - wanted(RED))) <= 3
    assert painter.painted == 2


def test_a_tile_that_is_not_in_the_picture_leaves_it_as_it_is() -> None:
    frame, before = blank(SIZE), blank(SIZE)
    painter = StrokePainter(timeline([stroke(LINE)]), 0)
    painter.paint(frame, 1_000_000, {2: WHOLE})
    painter.paint(frame, 1_000_000, {})
    assert all(np.array_equal(one, other) for one, other in zip(planes(frame), planes(before), strict=True))
    assert painter.painted == 0


def test_painting_does_not_reach_the_pictures_that_the_decoder_goes_on_from(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", Film(seconds=2, size=SIZE, keyframe_every=100))
    painter = StrokePainter(timeline([stroke(LINE)], [clear(1000)]), 0)
    with av.open(str(path)) as plain, av.open(str(path)) as painted_on:
        for as_it_is, frame in zip(plain.decode(video=0), painted_on.decode(video=0), strict=True):
            at = round((frame.time or 0) * 1_000_000)
            painter.paint(frame, at, {1: WHOLE})
            assert touched(frame, as_it_is).any() == (100_000 <= at < 1_000_000)


@pytest.mark.parametrize("pixel_format", ["nv12", "yuv420p10le", "rgb24", "gray"])
def test_a_picture_of_another_format_is_refused(pixel_format: str) -> None:
    with pytest.raises(MediaError) as refused:
        StrokePainter(timeline([stroke(LINE)]), 0).paint(VideoFrame(*SIZE, pixel_format), 1_000_000, {1: WHOLE})
    assert refused.value.reason == Reason.INTERNAL


def test_a_tile_beyond_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="within the picture"):
        painted([stroke(LINE)], rect=Rect(x=1, y=0, width=320, height=180))


TOOLS = st.sampled_from(["pen", "highlighter", "arrow", "rectangle", "ellipse"])
PART = st.floats(0, 1, width=16)


@st.composite
def drawings(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    strokes = []
    for number in range(draw(st.integers(1, 4))):
        times = sorted(draw(st.lists(st.integers(number * 10, 100), min_size=1, max_size=6)))
        points = [[draw(PART), draw(PART), at] for at in times]
        colour = draw(st.sampled_from([RED, BLUE]))
        opacity, width = draw(st.sampled_from([0.3, 1.0])), draw(st.sampled_from([0.001, 0.03, 0.1]))
        strokes.append(stroke(points, id=str(number), tool=draw(TOOLS), colour=colour, opacity=opacity, width=width))
    strokes.sort(key=lambda one: one["points"][0][2])
    actions = [clear(at) for at in draw(st.lists(st.integers(0, 100), max_size=1))]
    last = max(actions[0]["at"] if actions else 0, strokes[0]["points"][0][2])
    return strokes, [*actions, *([erase(last, strokes[0]["id"])] if draw(st.booleans()) else [])]


@settings(max_examples=60, deadline=None)
@given(drawings(), st.integers(1, 40), st.integers(0, 3))
def test_going_through_time_ends_like_looking_at_once(
    drawing: tuple[list[dict[str, Any]], list[dict[str, Any]]], step: int, shift: int
) -> None:
    """What is kept from picture to picture never differs from drawing everything anew."""
    rects = {1: Rect(x=16 + shift, y=8 + shift, width=83, height=61)}
    painter = StrokePainter(timeline(*drawing), 0)
    for at in range(0, 121, step):
        kept, anew = blank((128, 80)), blank((128, 80))
        painter.paint(kept, at * MS, rects)
        StrokePainter(timeline(*drawing), 0).paint(anew, at * MS, rects)
        assert all(np.array_equal(one, other) for one, other in zip(planes(kept), planes(anew), strict=True))
