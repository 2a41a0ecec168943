"""Canonical JSON: RFC 8785 with the limits of `docs/spec/chain.md`, section 2.

A text is accepted only if it equals, byte for byte, the canonical form of what it says. Nothing is repaired.
"""

import json
import math
import re
from typing import Any, NoReturn

MAX_LEVELS = 32
"""Nesting of a payload. Deep enough for people, and far from what exhausts a parser's stack."""

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader understands alike (RFC 7493)."""

_NUMBER_CHARACTERS = 32
"""No canonical number is longer: 17 digits, sign, point, exponent. Stops quadratic parsing of digit strings."""

_MUST_ESCAPE = re.compile(r'["\\\x00-\x1f]')
_SHORT_ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


class NotCanonicalError(ValueError):
    """The bytes are not the canonical JSON of any value this format allows; the text says why."""


def parse_canonical(raw: bytes, *, max_levels: int = MAX_LEVELS) -> Any:
    """Return what `raw` says, or raise `NotCanonicalError`.

    Objects become dicts, arrays lists; `max_levels` counts the outermost object or array as 1.
    """
    value = parse_strict(raw)
    try:
        rewritten = canonical_bytes(value, max_levels=max_levels)
    except UnicodeEncodeError as error:
        raise NotCanonicalError("it contains a lone surrogate") from error
    if rewritten != raw:
        raise NotCanonicalError(f"it differs from its canonical form from byte {_first_difference(rewritten, raw)} on")
    return value


def parse_strict(raw: bytes) -> Any:
    """Return what the JSON text `raw` says without asking for canonical form; raise `NotCanonicalError`.

    Duplicate names, integers beyond 2^53-1, infinities and NaN are refused.
    """
    try:
        text = raw.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise NotCanonicalError(f"byte {error.start} is not UTF-8") from error
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique_members,
            parse_int=_bounded_integer,
            parse_float=_finite_double,
            parse_constant=_refuse_constant,
        )
    except NotCanonicalError:
        raise
    except RecursionError:
        raise NotCanonicalError("it is nested too deeply") from None
    except ValueError as error:
        raise NotCanonicalError(f"it is not JSON: {error}") from None


def canonical_bytes(value: Any, *, max_levels: int = MAX_LEVELS) -> bytes:
    """Return the RFC 8785 form of a parsed JSON value; raise `NotCanonicalError` for what the format does not allow."""
    pieces: list[str] = []
    _write(value, pieces, max_levels)
    return "".join(pieces).encode("utf-8", "strict")


def _write(value: Any, pieces: list[str], levels_left: int) -> None:
    if isinstance(value, str):
        pieces.append(_quoted(value))
    elif value is None or value is True or value is False:
        pieces.append({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, int):
        pieces.append(str(value))
    elif isinstance(value, float):
        pieces.append(_number(value))
    elif levels_left == 0:
        raise NotCanonicalError("it is nested too deeply")
    elif isinstance(value, list):
        _write_members(("[", "]"), [("", item) for item in value], pieces, levels_left - 1)
    else:
        ordered = sorted(value.items(), key=lambda member: _utf16_units(member[0]))
        _write_members(("{", "}"), [(_quoted(name) + ":", item) for name, item in ordered], pieces, levels_left - 1)


def _write_members(
    brackets: tuple[str, str], members: list[tuple[str, Any]], pieces: list[str], levels_left: int
) -> None:
    separator = brackets[0]
    for label, item in members:
        pieces.append(separator + label)
        _write(item, pieces, levels_left)
        separator = ","
    pieces.append(brackets[1] if members else "".join(brackets))


def _utf16_units(name: str) -> bytes:
    # RFC 8785, 3.2.3: names sort by UTF-16 code units; big-endian bytes compare in just that order.
    return name.encode("utf-16-be", "surrogatepass")


def _quoted(text: str) -> str:
    if "\x00" in text:
        raise NotCanonicalError("it contains the character U+0000")
    return '"' + _MUST_ESCAPE.sub(_escaped, text) + '"'


def _escaped(match: re.Match[str]) -> str:
    return _SHORT_ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04x}"


def _number(value: float) -> str:
    """ECMAScript's Number::toString, which RFC 8785 section 3.2.2.3 prescribes; `repr` has the same digits."""
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + int(exponent or 0)
    padded = whole + fraction
    digits = padded.lstrip("0")
    point -= len(padded) - len(digits)
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:  # noqa: PLR2004 - the bounds 21 and -6 are those of Number::toString
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:  # noqa: PLR2004 - as above
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:  # noqa: PLR2004 - as above
        return f"{sign}0.{'0' * -point}{digits}"
    rest = "." + digits[1:] if count > 1 else ""
    return f"{sign}{digits[0]}{rest}e{point - 1:+d}"


def _unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(members)
    if len(result) != len(members):
        raise NotCanonicalError("an object has the same name twice")
    return result


def _bounded_integer(text: str) -> int:
    value = int(text) if len(text) <= _NUMBER_CHARACTERS else MAX_INTEGER + 1
    if abs(value) > MAX_INTEGER:
        raise NotCanonicalError("an integer is beyond 2^53-1")
    return value


def _finite_double(text: str) -> float:
    value = float(text) if len(text) <= _NUMBER_CHARACTERS else math.inf
    if not math.isfinite(value):
        raise NotCanonicalError("a number is beyond the range of a double or has too many digits")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise NotCanonicalError(f"{name} is not JSON")


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))
