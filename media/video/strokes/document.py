"""Annotations as a client hands them over: `indelible-annotations/1` (docs/spec/annotations.md).

Whoever sends a document may be hostile. What is accepted here can be drawn in bounded time and memory.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from media.errors import MediaError, Reason

FORMAT: Final = "indelible-annotations/1"
# Two hours of drawing by seven people are less.
MOST_BYTES: Final = 4 << 20
MOST_STROKES: Final = 10_000
MOST_POINTS: Final = 5_000
MOST_POINTS_IN_ALL: Final = 200_000
MOST_ACTIONS: Final = 10_000
MOST_TILE: Final = 255
# A week: no session lasts longer.
MOST_MILLISECONDS: Final = 7 * 24 * 3600 * 1000
# A tenth of the tile is covered by one line of this width.
MOST_WIDTH: Final = 0.1
# How often everything drawn may cover its tile. A line of usual width covers a hundredth of it.
MOST_COVERED: Final = 1_000.0
# So wide counts any line, or many thin ones would be drawn for nothing.
_LEAST_WIDTH: Final = 0.002

_TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$"
# Microseconds between any two of their times are integers that an event may hold (RFC 7493).
_FIRST_YEAR, _LAST_YEAR = "1970", "2199"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _utc(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(_TIME, value):
        raise _refused("started_at", "it must be UTC like 2026-03-01T12:00:00.000000Z")
    if not _FIRST_YEAR <= value[:4] <= _LAST_YEAR:
        raise _refused("started_at", f"it must be of the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return value


Coordinate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Milliseconds = Annotated[int, Field(ge=0, le=MOST_MILLISECONDS)]
Point = tuple[Coordinate, Coordinate, Milliseconds]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
TileNumber = Annotated[int, Field(ge=0, le=MOST_TILE)]
Tool = Literal["pen", "highlighter", "arrow", "rectangle", "ellipse"]
_SHAPES: Final = frozenset({"arrow", "rectangle", "ellipse"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Stroke(_Strict):
    """One line or shape. The coordinates of its points are parts of the width and the height of the tile's picture."""

    id: Name = Field(description="Names the stroke in this document.")
    tile: TileNumber = Field(description="The tile it was drawn in.")
    author: Name = Field(description="The identity of whoever drew it.")
    tool: Tool = Field(
        description="pen and highlighter go through all points; the others span the first and the last one so far."
    )
    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = Field(description="sRGB: #rrggbb.")
    opacity: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(description="1 hides what is below.")
    width: Annotated[float, Field(gt=0, le=MOST_WIDTH, allow_inf_nan=False)] = Field(
        description="Of the line, as a part of the height of the tile's picture."
    )
    points: Annotated[tuple[Point, ...], Field(min_length=1, max_length=MOST_POINTS)] = Field(
        description="[x, y, milliseconds after started_at], the times never falling."
    )

    @property
    def begins_ms(self) -> int:
        """When its first point was drawn."""
        return self.points[0][2]


class Erase(_Strict):
    """Takes strokes away."""

    action: Literal["erase"]
    at: Milliseconds = Field(description="Milliseconds after started_at.")
    author: Name = Field(description="The identity of whoever erased them.")
    strokes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MOST_STROKES)] = Field(
        description="The ids of strokes begun at that time or before."
    )


class Clear(_Strict):
    """Takes every stroke of a tile away, or of all tiles, that was begun at that time or before."""

    action: Literal["clear"]
    at: Milliseconds = Field(description="Milliseconds after started_at.")
    author: Name = Field(description="The identity of whoever cleared it.")
    tile: TileNumber | None = Field(description="The tile; null for all of them.")


Action = Annotated[Erase | Clear, Field(discriminator="action")]


class AnnotationDocument(_Strict):
    """What was drawn over a session, and when. Times count from `started_at`."""

    model_config = ConfigDict(title=FORMAT)

    format: Literal["indelible-annotations/1"]
    started_at: Annotated[
        AwareDatetime, Field(strict=False, json_schema_extra={"pattern": _TIME}), BeforeValidator(_utc)
    ] = Field(description="Zero of the annotation clock: UTC with up to six fractional digits and Z.")
    strokes: Annotated[tuple[Stroke, ...], Field(max_length=MOST_STROKES)] = Field(
        description="In the order in which they were begun; where two overlap, the later one is on top."
    )
    actions: Annotated[tuple[Action, ...], Field(max_length=MOST_ACTIONS)] = Field(
        description="In the order of their times."
    )

    @property
    def started_at_us(self) -> int:
        """Zero of the annotation clock in microseconds since 1970 (UTC)."""
        return (self.started_at - _EPOCH) // timedelta(microseconds=1)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        begins: dict[str, int] = {}
        for index, stroke in enumerate(self.strokes):
            if stroke.id in begins:
                raise _refused(f"strokes.{index}.id", "another stroke has it too")
            begins[stroke.id] = stroke.begins_ms
        _check_order([stroke.begins_ms for stroke in self.strokes], "strokes.{}.points.0.2")
        for index, stroke in enumerate(self.strokes):
            _check_order([at for _, _, at in stroke.points], f"strokes.{index}.points.{{}}.2")
        _check_order([action.at for action in self.actions], "actions.{}.at")
        _check_erased(self.actions, begins)
        _check_amount(self.strokes)
        return self


def parse_annotations(data: bytes) -> AnnotationDocument:
    """Read a document. Raises MediaError: TOO_LARGE, or INVALID_ARGUMENT with the `field` that is wrong (a path)."""
    if len(data) > MOST_BYTES:
        raise MediaError(Reason.TOO_LARGE, f"annotations are at most {MOST_BYTES} bytes")
    _check_json(data)
    try:
        return AnnotationDocument.model_validate_json(data)
    except ValidationError as error:
        path, message = _first(error.errors(include_url=False, include_input=False))
        raise _invalid(path, message) from error


def annotation_schema() -> dict[str, Any]:
    """The published JSON Schema (2020-12). It cannot say what compares members with each other; the page does."""
    schema = TypeAdapter(AnnotationDocument).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def annotation_offset(document: AnnotationDocument, file_started_at: int) -> int:
    """What the annotation clock shows at time zero of a file that started at this UTC time."""
    return file_started_at - document.started_at_us


def _check_json(data: bytes) -> None:
    """What pydantic's reader passes over: members named twice, and numbers that JSON does not know."""
    try:
        json.loads(data.decode(), object_pairs_hook=_members, parse_constant=_no_number)
    except _TwiceError as error:
        raise _invalid("", str(error)) from error
    except RecursionError as error:
        raise _invalid("", "it is nested too deeply") from error
    except ValueError as error:
        raise _invalid("", "it is not JSON in UTF-8") from error


class _TwiceError(ValueError):
    pass


def _members(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _TwiceError("an object has two members of one name")


def _no_number(_: str) -> None:
    raise ValueError("JSON knows no such number")


def _check_order(times: list[int], path: str) -> None:
    for index, (before, after) in enumerate(pairwise(times), start=1):
        if after < before:
            raise _refused(path.format(index), "it is earlier than the one before it")


def _check_erased(actions: tuple[Erase | Clear, ...], begins: dict[str, int]) -> None:
    named = 0
    for index, action in enumerate(actions):
        if isinstance(action, Clear):
            continue
        named += len(action.strokes)
        if named > MOST_POINTS_IN_ALL:
            raise _refused(f"actions.{index}.strokes", f"more than {MOST_POINTS_IN_ALL} strokes are named to be erased")
        for number, stroke_id in enumerate(action.strokes):
            path = f"actions.{index}.strokes.{number}"
            if stroke_id not in begins:
                raise _refused(path, "there is no such stroke")
            if begins[stroke_id] > action.at:
                raise _refused(path, "the stroke was begun after it was erased")


def _check_amount(strokes: tuple[Stroke, ...]) -> None:
    if sum(len(stroke.points) for stroke in strokes) > MOST_POINTS_IN_ALL:
        raise _refused("strokes", f"together they have more than {MOST_POINTS_IN_ALL} points")
    if sum(_covered(stroke) for stroke in strokes) > MOST_COVERED:
        raise _refused("strokes", f"together they cover their tiles more than {MOST_COVERED:.0f} times")


def _covered(stroke: Stroke) -> float:
    """How much there is to draw, in tiles: lines as they grow, and the rectangle around them."""
    width = max(stroke.width, _LEAST_WIDTH)
    xs, ys = [x for x, _, _ in stroke.points], [y for _, y, _ in stroke.points]
    around = (max(xs) - min(xs) + width) * (max(ys) - min(ys) + width)
    if stroke.tool in _SHAPES:
        # Every point draws the whole of it again.
        return around + 2 * width * sum(abs(x - xs[0]) + abs(y - ys[0]) + width for x, y in zip(xs, ys, strict=True))
    steps = sum(abs(x - u) + abs(y - v) for (u, v, _), (x, y, _) in pairwise(stroke.points))
    return around + width * (steps + width * len(xs))


def _first(errors: list[ErrorDetails]) -> tuple[str, str]:
    error = errors[0]
    if error["type"] == "annotations":
        return error["ctx"]["path"], error["ctx"]["why"]
    # The name of the action stands in pydantic's path beside its place; readers look for members only.
    parts = [str(part) for part in error["loc"]]
    if len(parts) > 2 and parts[0] == "actions":  # noqa: PLR2004 - actions, its place, its kind
        del parts[2]
    return ".".join(parts), error["msg"]


def _refused(path: str, why: str) -> PydanticCustomError:
    return PydanticCustomError("annotations", "{why}", {"path": path, "why": why})


def _invalid(path: str, message: str) -> MediaError:
    where = f"annotations, {path}" if path else "annotations"
    return MediaError(Reason.INVALID_ARGUMENT, f"{where}: {message}", {"field": path or "annotations"})
