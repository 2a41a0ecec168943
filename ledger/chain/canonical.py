"""Canonical JSON (docs/spec/chain.md, section 2): RFC 8785, restricted to I-JSON objects.

Two ways lead to the same bytes:

- Fast: what a caller sends is usually canonical already. If parsing and sorted serialising by `orjson` gives back the
  very bytes that came in, no name was given twice (the second would be missing) and nothing was escaped or spaced
  differently. `orjson` agrees with RFC 8785 on objects, strings, booleans, null and integers within +-(2^53-1), as long
  as no name lies outside the Basic Multilingual Plane (RFC 8785 sorts by UTF-16 code units); whatever holds
  anything else goes the slow way. Tests compare the two on random values.
- Slow: a strict parse that keeps the place of every fault, then `rfc8785`, the reference.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import rfc8785

# Canonical size of one payload: small enough that a thousand of them still fit in memory many times over.
MAX_PAYLOAD_BYTES = 256 * 1024
# Size as sent: room for white space and for \uXXXX escapes, which are up to six times their canonical form.
MAX_RAW_BYTES = 1024 * 1024
# The outermost object is level 1.
MAX_DEPTH = 32
# Beyond this, integers are not exact in every JSON reader (I-JSON, RFC 7493 section 2.2).
MAX_INTEGER = 2**53 - 1
# From here on ECMAScript writes doubles with an exponent; below, with digits only.
_EXPONENT_FROM = 1e21
# "-" and 16 digits: anything longer is beyond MAX_INTEGER and need not be converted, which would be slow.
_MAX_INTEGER_CHARACTERS = 17
# Names that stand for sealed members (docs/spec/chain.md, section 6).
RESERVED_NAMES = frozenset({"_sd", "_sd_alg", "..."})

# As RFC 8785 sorts below the surrogates; integers beyond +-MAX_INTEGER are an error.
_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_PLAIN_TYPES = frozenset({str, bool, int, type(None)})
_BEYOND_BMP = re.compile(rb"[\xf0-\xf4]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Deeper than any payload may be, so that the check can name the member, and far from what the parser cannot bear.
_PARSER_DEPTH = 200
# Strings are skipped whole: brackets in them nest nothing.
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


class CanonicalError(ValueError):
    """A payload that cannot be on a chain. `pointer` is the RFC 6901 path of the member at fault; "" is the whole."""

    def __init__(self, pointer: str, problem: str) -> None:
        super().__init__(problem)
        self.pointer = pointer
        self.problem = problem


def canonicalise(raw: bytes) -> bytes:
    """The canonical form of a payload as a caller sent it. Raises CanonicalError."""
    if _is_canonical(raw):
        return raw
    return serialise(parse(raw))


def parse(raw: bytes) -> dict[str, Any]:
    """The object that `raw` denotes, once every rule of the format holds for it. Raises CanonicalError."""
    if len(raw) > MAX_RAW_BYTES:
        raise CanonicalError("", f"the payload is {len(raw)} bytes; at most {MAX_RAW_BYTES} are read")
    if _is_bottomless(raw):
        raise CanonicalError("", f"the payload has more than {MAX_DEPTH} levels")
    try:
        value = _decode(raw.decode())
    except UnicodeDecodeError as error:
        raise CanonicalError("", f"the payload is not UTF-8: byte {error.start} is wrong") from None
    except json.JSONDecodeError as error:
        raise CanonicalError("", f"the payload is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise CanonicalError("", f"the payload has more than {MAX_DEPTH} levels") from None
    if not isinstance(value, dict | _Fault):
        raise CanonicalError("", "the payload is not a JSON object")
    _check(value, "", 1)
    return value  # type: ignore[return-value]  # a _Fault did not pass the check


def serialise(value: dict[str, Any]) -> bytes:
    """The canonical bytes of an object as `parse` returns it. Raises CanonicalError when they are too many."""
    canonical = rfc8785.dumps(value)
    if len(canonical) > MAX_PAYLOAD_BYTES:
        raise CanonicalError(
            "", f"the payload is {len(canonical)} bytes in canonical form; at most {MAX_PAYLOAD_BYTES}"
        )
    return canonical


def _is_canonical(raw: bytes) -> bool:
    """Whether `raw` is canonical, judged the fast way; False may also mean "look closer"."""
    if (
        len(raw) > MAX_PAYLOAD_BYTES
        or b"\\u0000" in raw
        or b'"_sd' in raw
        or b'"..."' in raw
        or not (raw.isascii() or _BEYOND_BMP.search(raw) is None)
    ):
        return False
    try:
        value = orjson.loads(raw)
        return type(value) is dict and _is_plain(value.values(), 1) and orjson.dumps(value, option=_CANONICAL) == raw
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return False


def _is_plain(values: Iterable[Any], depth: int) -> bool:
    """Whether everything inside is of a kind that both serialisers write alike, and not too deep."""
    types = set(map(type, values))
    if types <= _PLAIN_TYPES:
        return True
    if float in types or depth >= MAX_DEPTH:
        return False
    for value in values:
        if (type(value) is dict and not _is_plain(value.values(), depth + 1)) or (
            type(value) is list and not _is_plain(value, depth + 1)
        ):
            return False
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fault:
    """Stands in the parsed tree for what must not be there, so that the check finds it with its path."""

    name: str | None = None
    problem: str


def _is_bottomless(raw: bytes) -> bool:
    """Whether `raw` nests so deeply that the parser itself could fail.

    Python's recursion limit would stop it too, but a library in the same process may have lifted that limit.
    """
    if raw.count(b"[") + raw.count(b"{") <= _PARSER_DEPTH:
        return False
    depth = 0
    for token in _STRUCTURE.finditer(raw):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
        if depth > _PARSER_DEPTH:
            return True
    return False


def _decode(text: str) -> Any:
    return json.loads(
        text,
        object_pairs_hook=_object,
        parse_int=_integer,
        parse_float=_double,
        parse_constant=lambda name: _Fault(problem=f"{name} is not a number in JSON"),
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Fault:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen = set()
    for name, _ in pairs:
        if name in seen:
            return _Fault(name=name, problem="the name is given twice in one object")
        seen.add(name)
    return members


def _integer(text: str) -> int | _Fault:
    if len(text) <= _MAX_INTEGER_CHARACTERS and abs(number := int(text)) <= MAX_INTEGER:
        return number
    return _Fault(problem="the integer is beyond +-(2^53-1)")


def _double(text: str) -> int | float | _Fault:
    number = float(text)
    if not abs(number) < float("inf"):
        return _Fault(problem="the number is too large for a double")
    if not number.is_integer():
        return number
    if abs(number) <= MAX_INTEGER:
        return int(number)  # ECMAScript writes 1.0 and 1e0 as 1, and -0.0 as 0
    if abs(number) < _EXPONENT_FROM:
        return _Fault(problem="the number is a whole one beyond +-(2^53-1)")
    return number


def _check(value: Any, pointer: str, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value, pointer)
    elif isinstance(value, _Fault):
        raise CanonicalError(pointer if value.name is None else _member(pointer, value.name), value.problem)
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise CanonicalError(pointer, f"there are more than {MAX_DEPTH} levels")
        for path, inner in _members(value, pointer):
            _check(inner, path, depth + 1)


def _members(value: dict[str, Any] | list[Any], pointer: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        yield from ((f"{pointer}/{index}", item) for index, item in enumerate(value))
        return
    for name, item in value.items():
        path = _member(pointer, name)
        _check_text(name, path)
        if name in RESERVED_NAMES:
            raise CanonicalError(path, "the name is reserved for sealed members")
        yield path, item


def _check_text(text: str, pointer: str) -> None:
    if "\0" in text:
        raise CanonicalError(pointer, "U+0000 is not allowed")
    if _SURROGATE.search(text):
        raise CanonicalError(pointer, "a lone surrogate is not a character")


def _member(pointer: str, name: str) -> str:
    # A name may be long or hold what cannot be printed; the path is for people and logs.
    printable = name.encode("utf-8", "backslashreplace").decode().replace("\0", "\\u0000")
    return f"{pointer}/{printable[:64].replace('~', '~0').replace('/', '~1')}"
