"""The geometry of recordings: published data, and what must hold of it for every number of people and every size."""

import json
from importlib.resources import files
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.recordings.tiles import (
    MOST_TILES,
    OPERATOR_TILE,
    Join,
    free_tile,
    placements,
    stage_in,
    tile_layout,
)
from media.video.placing import Placement, Rect, rects_at

tile_numbers = st.sets(st.integers(0, MOST_TILES - 1), min_size=1)
sides = st.integers(32, 2200).map(lambda half: 2 * half)
joining = st.lists(st.builds(Join, tile=st.integers(0, MOST_TILES - 1), at_us=st.integers(0, 10**12)), max_size=20)


def overlap(one: Rect, other: Rect) -> bool:
    apart = (
        one.x + one.width <= other.x
        or other.x + other.width <= one.x
        or one.y + one.height <= other.y
        or other.y + other.height <= one.y
    )
    return not apart


@given(tile_numbers, sides, sides)
def test_tiles_lie_inside_the_picture_on_even_pixels_and_never_overlap(
    tiles: set[int], width: int, height: int
) -> None:
    layout = tile_layout(tiles, width, height)
    assert layout.keys() == tiles
    for rect in layout.values():
        assert all(number % 2 == 0 for number in (rect.x, rect.y, rect.width, rect.height))
        assert 0 <= rect.x < rect.x + rect.width <= width
        assert 0 <= rect.y < rect.y + rect.height <= height
    assert not any(overlap(one, other) for one, other in combinations(layout.values(), 2))


@given(tile_numbers, sides, sides)
def test_tiles_read_from_left_to_right_and_down_in_the_order_of_their_numbers(
    tiles: set[int], width: int, height: int
) -> None:
    layout = tile_layout(tiles, width, height)
    places = [(layout[tile].y, layout[tile].x) for tile in sorted(tiles)]
    assert places == sorted(places)


@given(tile_numbers, sides, sides)
def test_every_tile_has_the_shape_of_the_published_aspect_to_a_pair_of_pixels(
    tiles: set[int], width: int, height: int
) -> None:
    for rect in tile_layout(tiles, width, height).values():
        assert abs(rect.width - rect.height * 16 / 9) <= 2 + 2 * 16 / 9


@given(tile_numbers, sides, sides)
def test_tiles_of_one_picture_differ_by_no_more_than_a_pair_of_pixels(tiles: set[int], width: int, height: int) -> None:
    layout = list(tile_layout(tiles, width, height).values())
    for one, other in pairwise(layout):
        assert abs(one.width - other.width) <= 2
        assert abs(one.height - other.height) <= 2


@given(joining)
def test_nothing_moves_unless_somebody_new_joins(joins: list[Join]) -> None:
    placed = placements(joins, width=1280, height=720)
    first = {join.tile: min(other.at_us for other in joins if other.tile == join.tile) for join in joins}
    assert [placement.from_us for placement in placed] == sorted(set(first.values()))
    for before, after in pairwise(placed):
        assert before.rects.keys() < after.rects.keys()
    for placement in placed:
        assert placement.rects.keys() == {tile for tile, at in first.items() if at <= placement.from_us}
        assert placement.rects == tile_layout(placement.rects.keys(), 1280, 720)


@given(joining, joining)
def test_who_comes_back_comes_back_to_their_place(joins: list[Join], later: list[Join]) -> None:
    known = {join.tile for join in joins}
    end = max((join.at_us for join in joins), default=0)
    again = [Join(tile=join.tile, at_us=end + join.at_us) for join in later if join.tile in known]
    assert placements([*joins, *again], width=640, height=360) == placements(joins, width=640, height=360)


def test_of_two_the_operator_stands_on_the_left_and_the_field_on_the_right() -> None:
    layout = tile_layout([1, OPERATOR_TILE], 1280, 720)
    assert layout == {
        OPERATOR_TILE: Rect(x=0, y=180, width=640, height=360),
        1: Rect(x=640, y=180, width=640, height=360),
    }


def test_one_alone_has_the_whole_picture_whoever_it_is() -> None:
    for tile in range(MOST_TILES):
        assert tile_layout([tile], 1280, 720) == {tile: Rect(x=0, y=0, width=1280, height=720)}


def test_who_joins_first_among_the_field_does_not_decide_where_they_stand() -> None:
    assert tile_layout([3, 1, 0], 1280, 720) == tile_layout([0, 1, 3], 1280, 720)


def test_a_picture_that_is_not_16_to_9_keeps_the_shape_of_its_tiles() -> None:
    assert stage_in(1024, 768) == Rect(x=0, y=96, width=1024, height=576)
    assert tile_layout([0, 1], 1024, 768) == {
        0: Rect(x=0, y=240, width=512, height=288),
        1: Rect(x=512, y=240, width=512, height=288),
    }
    assert stage_in(2000, 720) == Rect(x=360, y=0, width=1280, height=720)


def test_before_the_first_join_no_tile_stands_anywhere() -> None:
    placed = placements([Join(tile=0, at_us=100)], width=320, height=180)
    assert rects_at(placed, 99) == {}
    assert rects_at(placed, 100) == {0: Rect(x=0, y=0, width=320, height=180)}
    assert placements([], width=320, height=180) == ()


def test_two_who_join_at_one_moment_make_one_change() -> None:
    placed = placements([Join(tile=1, at_us=7), Join(tile=0, at_us=7)], width=320, height=180)
    assert placed == (Placement(from_us=7, rects=tile_layout([0, 1], 320, 180)),)


def test_the_field_takes_the_lowest_free_tile_and_never_the_operators() -> None:
    assert free_tile([], operator=False) == 1
    assert free_tile([0, 1, 3], operator=False) == 2
    assert free_tile([1], operator=True) == OPERATOR_TILE


def test_an_eighth_participant_finds_no_tile() -> None:
    assert free_tile(range(MOST_TILES), operator=False) is None
    assert free_tile([OPERATOR_TILE], operator=True) is None
    # Without an operator there is room for six others; the operator's own place stays free.
    assert free_tile(range(1, MOST_TILES), operator=False) is None


@pytest.mark.parametrize("tiles", [[MOST_TILES], [-1], list(range(MOST_TILES + 1))])
def test_a_tile_that_cannot_be_is_refused(tiles: list[int]) -> None:
    with pytest.raises(ValueError, match="numbered 0 to 6"):
        tile_layout(tiles, 1280, 720)


@pytest.mark.parametrize("size", [(1279, 720), (1280, 719), (62, 720), (0, 0), (-1280, -720)])
def test_a_picture_that_is_odd_or_tiny_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="both sides must be even"):
        tile_layout([0], *size)


def published(name: str) -> Any:
    return json.loads((files("media.recordings") / name).read_text())


def test_the_published_geometry_keeps_to_its_schema_and_the_schema_is_closed() -> None:
    jsonschema: Any = pytest.importorskip("jsonschema", reason="the schema is checked with jsonschema")
    schema, tiles = published("schemas/tiles-1.json"), published("tiles.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    check.validate(tiles)
    for member in tiles:
        with pytest.raises(jsonschema.ValidationError):
            check.validate({name: value for name, value in tiles.items() if name != member})
    with pytest.raises(jsonschema.ValidationError):
        check.validate(tiles | {"gap": "0"})


def test_a_layout_is_published_for_every_number_of_tiles() -> None:
    layouts = published("tiles.json")["layouts"]
    assert {count: len(rects) for count, rects in layouts.items()} == {str(n): n for n in range(1, MOST_TILES + 1)}


def test_the_specification_gives_the_rectangles_that_come_out() -> None:
    page = (Path(__file__).parents[3] / "docs" / "spec" / "tiles.md").read_text()
    for count in range(1, MOST_TILES + 1):
        rects = tile_layout(range(count), 1280, 720).values()
        row = "; ".join(f"{rect.x} {rect.y} {rect.width} {rect.height}" for rect in rects)
        assert f"\n| {count} | {row} |\n" in page


def test_a_shared_screen_takes_the_place_of_the_camera_and_is_shown_whole() -> None:
    assert published("tiles.json")["shows"] == [
        {"source": "screen_share", "fit": "contain"},
        {"source": "camera", "fit": "contain"},
    ]
