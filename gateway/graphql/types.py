"""GraphQL types, made of what the gateway gives out and of the models of what it is asked: there is no second list.

A frozen dataclass becomes an object type of the same name with the same fields, its docstring the description. A
`Literal` becomes an enum named after its alias. The resolvers give the dataclasses themselves.
"""

import dataclasses
import inspect
import re
import types
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum, StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import strawberry
from pydantic import AwareDatetime, BaseModel
from strawberry.utils.str_converters import to_camel_case

from gateway import values
from gateway.graphql.scalars import CanonicalJson, DateTime, Json, Long
from gateway.rest.models import Strict
from gateway.values import Page
from gateway.webhooks import values as webhook_values

Node = TypeVar("Node")

# Modules whose aliases name the enums.
_NAMING = (values, webhook_values)
_QUOTED = re.compile("`[a-z0-9_]+`", re.ASCII)
_LONG = frozenset({"size", "event_count"})


@strawberry.type
class PageInfo:
    """Where in a list one is."""

    has_next_page: bool = strawberry.field(description="Whether there is more, after endCursor.")
    has_previous_page: bool = strawberry.field(description="Whether this began after a cursor.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first item here.")
    end_cursor: str | None = strawberry.field(description="What to send as `after` for the rest.")


@strawberry.type
class Edge(Generic[Node]):
    """One item of a list, and where it stands."""

    cursor: str = strawberry.field(description="What to send as `after` for what follows this item.")
    node: Node


@strawberry.type
class Connection(Generic[Node]):
    """Some of a list."""

    edges: list[Edge[Node]]
    page_info: PageInfo


class Types:
    """Every type of one schema, each made once."""

    def __init__(self) -> None:
        self._objects: dict[type, Any] = {}
        self._inputs: dict[type, Any] = {}
        self._enums: dict[str, Any] = {}
        self._aliases = {
            frozenset(get_args(alias)): name
            for module in _NAMING
            for name, alias in vars(module).items()
            if get_origin(alias) is Literal
        }

    def output(self, hint: Any, name: str, owner: str = "") -> Any:
        """The type of what a field called `name` holds; `owner` is the type the field is in."""
        kind = _plain(hint)
        optional = _optional(kind)
        if optional is not None:
            return self.output(optional, name, owner) | None
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Page:
            return Connection[self.output(arguments[0], name)]  # type: ignore[misc]  # it is a type, found at run time
        if origin is tuple:
            return list[self.output(arguments[0], name, owner)]  # type: ignore[misc]  # as above
        if origin is Literal:
            alias = self._aliases.get(frozenset(arguments), f"{owner}{name.capitalize()}")
            return self._enum(alias, arguments)
        if dataclasses.is_dataclass(kind):
            return self._object(kind)
        return CanonicalJson if kind is bytes else _scalar(kind, name)

    def input(self, hint: Any, name: str) -> Any:
        """The type of an argument."""
        kind = _plain(hint)
        optional = _optional(kind)
        if optional is not None:
            return self.input(optional, name) | None
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is list:
            return list[self.input(arguments[0], name)]  # type: ignore[misc]  # as above
        if origin is Literal:
            return self._narrower(frozenset(arguments))
        if inspect.isclass(kind) and issubclass(kind, Strict):
            return self._input(kind)
        if origin is dict or (inspect.isclass(kind) and issubclass(kind, BaseModel)):
            return Json
        return _scalar(kind, name)

    def _object(self, of: Any) -> Any:
        if of not in self._objects:
            hints = get_type_hints(of, include_extras=True)
            annotations = {name: self.output(hint, name, of.__name__) for name, hint in hints.items()}
            self._objects[of] = strawberry.type(_class(of.__name__, annotations), description=sentences(of))
        return self._objects[of]

    def _input(self, model: type[BaseModel]) -> Any:
        if model not in self._inputs:
            annotations, members = {}, {}
            for name, field in model.model_fields.items():
                kind = self.input(field.annotation, name)
                annotations[name] = kind if field.is_required() else kind | None
                default = dataclasses.MISSING if field.is_required() else strawberry.UNSET
                members[name] = strawberry.field(description=field.description, default=default)
            made = _class(f"{model.__name__.removesuffix('Body')}Input", annotations, members)
            self._inputs[model] = strawberry.input(made, description=sentences(model))
        return self._inputs[model]

    def _narrower(self, words: frozenset[str]) -> Any:
        """The enum that answers use for these words; it may know one more, which is then refused further on."""
        known = sorted((alias for alias in self._aliases if alias >= words), key=len)
        return self._enum(self._aliases[known[0]], known[0])

    def _enum(self, name: str, words: Iterable[str]) -> Any:
        if name not in self._enums:
            members = {word.upper(): word for word in sorted(words)}
            made: Any = Enum(name, members)  # type: ignore[misc]  # it is named at run time
            self._enums[name] = strawberry.enum(made, name=name)
        return self._enums[name]


def plain(value: Any) -> Any:
    """An argument as the models of requests take it; what was not given is left out."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list):
        return [plain(one) for one in value]
    if hasattr(value, "__strawberry_definition__"):
        return given({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    return value


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that were given."""
    return {name: plain(value) for name, value in arguments.items() if value is not strawberry.UNSET}


def _plain(hint: Any) -> Any:
    """A type without what pydantic is told about it."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _optional(kind: Any) -> Any:
    """The other half of a union with None."""
    if get_origin(kind) not in {Union, types.UnionType}:
        return None
    (other,) = (one for one in get_args(kind) if one is not type(None))
    return other


def _scalar(kind: Any, name: str) -> Any:
    if kind is UUID or (kind is str and name.endswith(("_id", "_ids"))):
        return strawberry.ID
    if kind in {datetime, AwareDatetime}:
        return DateTime
    if kind is int:
        return Long if name in _LONG or name.endswith("sequence") else int
    if inspect.isclass(kind) and issubclass(kind, StrEnum):
        return str
    if kind not in {str, bool, float}:
        raise TypeError(f"{name} is a {kind}, which has no type here")
    return kind


def _class(name: str, annotations: dict[str, Any], members: Mapping[str, Any] | None = None) -> type:
    namespace = {"__annotations__": annotations, **(members or {})}
    return types.new_class(name, (), {}, lambda made: made.update(namespace))


def sentences(of: Any) -> str:
    """A docstring, with the names of members as they are here."""
    return _QUOTED.sub(lambda name: to_camel_case(name[0]), inspect.cleandoc(of.__doc__ or ""))
