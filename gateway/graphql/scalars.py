"""Scalars beyond GraphQL's own."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from gateway.rest.limits import MAX_DEPTH

CanonicalJson = NewType("CanonicalJson", bytes)
DateTime = NewType("DateTime", str)
Json = NewType("Json", object)
Long = NewType("Long", int)

_MAX_LONG = 2**63 - 1


def _text(value: bytes) -> str:
    return value.decode("utf-8")


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def _string(value: Any) -> str:
    """What the string says is read further on, by the model of the request."""
    if not isinstance(value, str):
        raise GraphQLError("It must be a string.")
    return value


def _long(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MAX_LONG:
        raise GraphQLError("It must be a whole number of 64 bits.")
    return value


def _json(value: Any) -> Any:
    """A value that JSON can hold. A literal in the document never went through `read_json`, so it is checked here."""
    _check(value, MAX_DEPTH)
    return value


def _check(value: Any, levels: int) -> None:
    if levels == 0:
        raise GraphQLError(f"It is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, float) and not math.isfinite(value):
        raise GraphQLError("A number is too large.")
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for member in members:
        _check(member, levels - 1)


def _same(value: Any) -> Any:
    return value


SCALARS: Mapping[object, ScalarDefinition] = {
    CanonicalJson: strawberry.scalar(
        name="CanonicalJson",
        description="A JSON object as a string: exactly the text that was hashed. Nothing of it was written anew.",
        serialize=_text,
        parse_value=_string,
    ),
    DateTime: strawberry.scalar(
        name="DateTime",
        description="A moment (RFC 3339), as in 2026-03-01T12:00:10Z. Answers are in UTC.",
        serialize=_moment,
        parse_value=_string,
    ),
    Json: strawberry.scalar(name="JSON", description="Any JSON value.", serialize=_same, parse_value=_json),
    Long: strawberry.scalar(
        name="Long", description="A whole number of 64 bits, as a number.", serialize=_same, parse_value=_long
    ),
}
