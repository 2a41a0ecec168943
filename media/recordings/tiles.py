"""Where each participant stands in the composite picture: the geometry of `tiles.json` in pixels, and over time.

Everything that needs it reads the same file: the worker's composite, the strokes burned in, the page that LiveKit
films. The rules are those of docs/spec/tiles.md. Pure: no clock, no I/O but the file beside this one.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from typing import Any, Final

from media.video.placing import Placement, Rect

FORMAT: Final = "indelible-tiles/1"
# Encoders of 4:2:0 take pairs of pixels; a third of less is no picture.
SMALLEST_SIDE: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Join:
    """A tile that came into being at `at_us`, on whatever clock the caller has."""

    tile: int
    at_us: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Geometry:
    aspect: Fraction
    operator: int
    most_tiles: int
    layouts: Mapping[int, tuple[tuple[Fraction, Fraction, Fraction, Fraction], ...]]


def _read(document: Mapping[str, Any]) -> _Geometry:
    if document["format"] != FORMAT:
        raise ValueError(f"tiles.json is {document['format']}, not {FORMAT}")
    return _Geometry(
        aspect=Fraction(document["aspect"]),
        operator=document["operator"],
        most_tiles=document["most_tiles"],
        layouts={
            int(count): tuple(
                (Fraction(rect["x"]), Fraction(rect["y"]), Fraction(rect["width"]), Fraction(rect["height"]))
                for rect in rects
            )
            for count, rects in document["layouts"].items()
        },
    )


GEOMETRY: Final = _read(json.loads((files("media.recordings") / "tiles.json").read_bytes()))
OPERATOR_TILE: Final = GEOMETRY.operator
MOST_TILES: Final = GEOMETRY.most_tiles


def tile_layout(tiles: Collection[int], width: int, height: int) -> dict[int, Rect]:
    """Where the tiles stand in a picture of `width` x `height` pixels, by tile number.

    `tiles` are the numbers of everybody who has ever been in the recording so far, present or not, sharing a screen or
    not: that is all the geometry depends on. Raises ValueError for a number that no tile has, and for a picture that
    is odd or too small. All numbers that come out are even.
    """
    _check_size(width, height)
    numbers = sorted(set(tiles))
    if any(not 0 <= number < MOST_TILES for number in numbers):
        raise ValueError(f"the tiles of a recording are numbered 0 to {MOST_TILES - 1}")
    if not numbers:
        return {}
    stage = stage_in(width, height)
    return {
        number: Rect(
            x=stage.x + (left := _even(x, stage.width)),
            y=stage.y + (top := _even(y, stage.height)),
            width=_even(x + w, stage.width) - left,
            height=_even(y + h, stage.height) - top,
        )
        for number, (x, y, w, h) in zip(numbers, GEOMETRY.layouts[len(numbers)], strict=True)
    }


def placements(joins: Iterable[Join], *, width: int, height: int) -> tuple[Placement, ...]:
    """Where the tiles stand over time, on the clock of the joins; `from_us` rises. Before the first, nowhere.

    Only the first join of a tile counts: who comes back comes back to their place. Raises ValueError as `tile_layout`.
    """
    first: dict[int, int] = {}
    for join in joins:
        first[join.tile] = min(join.at_us, first.get(join.tile, join.at_us))
    return tuple(
        Placement(
            from_us=at, rects=tile_layout([tile for tile, joined in first.items() if joined <= at], width, height)
        )
        for at in sorted(set(first.values()))
    )


def free_tile(taken: Collection[int], *, operator: bool) -> int | None:
    """The tile of somebody who joins for the first time: the operator's own, or the lowest free one of the others.

    None when there is none left: the recording is full.
    """
    if operator:
        return None if OPERATOR_TILE in taken else OPERATOR_TILE
    return next((tile for tile in range(MOST_TILES) if tile != OPERATOR_TILE and tile not in taken), None)


def layout_word(tiles: Collection[int]) -> str:
    """The tiles that were given, as the page that LiveKit films is told them (`tiles-0-2`): it cannot know who left."""
    return "-".join(["tiles", *map(str, sorted(set(tiles)))])


def stage_in(width: int, height: int) -> Rect:
    """The largest part of the picture, in its middle, that has the shape of a tile (16:9, to a pair of pixels)."""
    aspect = GEOMETRY.aspect
    wide, high = (_even(aspect, height), height) if width > height * aspect else (width, _even(1 / aspect, width))
    return Rect(x=(width - wide) // 4 * 2, y=(height - high) // 4 * 2, width=wide, height=high)


def _check_size(width: int, height: int) -> None:
    if width % 2 or height % 2 or min(width, height) < SMALLEST_SIDE:
        raise ValueError(f"a picture of {width}x{height}: both sides must be even and {SMALLEST_SIDE} or more")


def _even(share: Fraction, length: int) -> int:
    """The even number nearest to a share of a length; the larger one of two that are as near. In integers only."""
    numerator, denominator = share.numerator * length, share.denominator
    return (numerator + denominator) // (2 * denominator) * 2
