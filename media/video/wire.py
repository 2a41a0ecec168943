"""The values of video work as JSON, for the pipe between a process and the child that looks at hostile bytes.

Reading is strict: the child may have been taken over by what it read.
"""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Plain JSON values."""
    match value:
        case Enum():
            return value.value
        case Path():
            return str(value)
        case tuple() | list():
            return [to_json(item) for item in value]
        case Mapping():
            return {str(key): to_json(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    return value


def from_json(kind: type[T], value: Any) -> T:
    """The value of this type. Raises ValueError for anything that `to_json` would not have written of it."""
    return cast(T, _read(kind, value))


def _read(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        inner = next(argument for argument in get_args(kind) if argument is not type(None))
        return None if value is None else _read(inner, value)
    if origin is tuple:
        return _read_tuple(get_args(kind), value)
    if origin is dict:
        key, item = get_args(kind)
        return {_read_name(key, name): _read(item, content) for name, content in _expected(dict, value).items()}
    if not isinstance(kind, type):
        raise TypeError(f"{kind} does not cross the pipe")
    return _read_class(kind, value)


def _read_name(kind: Any, name: str) -> Any:
    # JSON has no members but those named by strings.
    return _read(kind, int(name) if kind is int else name)


def _read_class(kind: type, value: Any) -> Any:
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        members = _expected(dict, value)
        if members.keys() != {field.name for field in fields(kind)}:
            raise ValueError(f"a {kind.__name__} has other members")
        return kind(**{name: _read(hints[name], member) for name, member in members.items()})
    if issubclass(kind, Enum):
        return kind(value)
    if kind is float and type(value) is int:
        return float(value)
    return Path(_expected(str, value)) if kind is Path else _expected(kind, value)


def _read_tuple(kinds: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    items = _expected(list, value)
    if kinds[-1] is Ellipsis:
        return tuple(_read(kinds[0], item) for item in items)
    return tuple(_read(kind, item) for kind, item in zip(kinds, items, strict=True))


def _expected(kind: type, value: Any) -> Any:
    if type(value) is not kind:  # not isinstance: True is no number here
        raise ValueError(f"{kind.__name__} expected, not {type(value).__name__}")
    return value
