"""Canonical JSON against the reference implementation of RFC 8785, and against hostile texts."""

import json
import math
import struct
from contextlib import suppress
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.canonical import MAX_INTEGER, NotCanonicalError, canonical_bytes, parse_canonical

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | DOUBLES | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5))


def digits_only_beyond_integers(value: Any) -> bool:
    if isinstance(value, float):
        return MAX_INTEGER < abs(value) < 1e21
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return any(digits_only_beyond_integers(member) for member in members)


@settings(max_examples=500, deadline=None)
@given(VALUES)
def test_what_the_reference_writes_is_accepted_and_written_alike(value: Any) -> None:
    reference = rfc8785.dumps(value)
    assert canonical_bytes(value) == reference
    if not digits_only_beyond_integers(value):
        parse_canonical(reference)


@settings(max_examples=500, deadline=None)
@given(st.binary(min_size=8, max_size=8))
def test_every_double_is_written_as_the_reference_writes_it(raw: bytes) -> None:
    (value,) = struct.unpack(">d", raw)
    if math.isfinite(value):
        assert canonical_bytes(value) == rfc8785.dumps(value)


@settings(max_examples=300, deadline=None)
@given(VALUES, st.data())
def test_a_text_with_one_byte_changed_is_refused_or_the_canonical_form_of_what_it_says(
    value: Any, data: st.DataObject
) -> None:
    raw = bytearray(rfc8785.dumps(value))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = parse_canonical(bytes(raw))
    except NotCanonicalError:
        return
    assert rfc8785.dumps(parsed) == bytes(raw)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_parsed_or_refused_and_nothing_else(raw: bytes) -> None:
    with suppress(NotCanonicalError):
        assert canonical_bytes(parse_canonical(raw)) == raw


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 100_000,
        "0." + "1" * 100_000,
        "1e" + "9" * 100_000,
        "-" * 1000,
        '"' + "\\u0000" * 1000,
    ],
    ids=["arrays", "objects", "digits", "fraction", "exponent", "signs", "escapes"],
)
def test_a_text_made_to_exhaust_a_parser_is_refused(text: str) -> None:
    with pytest.raises(NotCanonicalError):
        parse_canonical(text.encode())


def test_pretty_printed_json_is_refused() -> None:
    with pytest.raises(NotCanonicalError, match="differs from its canonical form from byte 1 on"):
        parse_canonical(json.dumps({"a": 1}, indent=1).encode())
