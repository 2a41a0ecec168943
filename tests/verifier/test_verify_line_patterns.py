"""The quick proof of canonical form accepts nothing that the full one refuses, and loses nothing it accepts."""

import json
import re
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.event import MalformedEventError, parse_line
from verifier.line_patterns import MAX_SCALARS, Columns, LinePatterns, payload_shape

FRAME = (
    b'{"hash":"' + b"a" * 64 + b'","kind":"door.opened","occurred_at":"2026-01-02T03:04:05.000006Z","payload":%b,'
    b'"prev_hash":"' + b"0" * 64 + b'","sequence":%d}\n'
)
PAYLOAD: dict[str, Any] = {
    "a": "x",
    "list": [1, "two", None],
    "nested": {"empty": {}, "points": [[0.5, 1], [2, 3.25]], "é": True},
    "number": 12,
}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15) | TEXT


def line(payload: bytes, sequence: int = 1) -> bytes:
    return FRAME % (payload, sequence)


def by_full_parse(data: bytes) -> tuple[list[tuple[Any, ...]], bool]:
    rows: list[tuple[Any, ...]] = []
    for text in data.split(b"\n")[:-1]:
        try:
            event = parse_line(text)
        except MalformedEventError:
            return rows, False
        rows.append((event.hash, event.kind, event.occurred_at, event.payload, event.prev_hash, event.sequence))
    return rows, True


def by_patterns(patterns: LinePatterns, data: bytes) -> tuple[list[tuple[Any, ...]], bool]:
    columns, error = patterns.read(data)
    if not all(re.fullmatch(b"[0-9a-f]{64}", one) for one in columns.hashes + columns.prev_hashes):
        # Left to the comparison with the recomputed hashes; what differs there is parsed in full.
        return by_full_parse(data)
    return rows_of(columns), error is None


def rows_of(columns: Columns) -> list[tuple[Any, ...]]:
    return [
        (one.decode(), kind.decode(), moment, payload, prev.decode(), int(sequence))
        for one, kind, moment, payload, prev, sequence in zip(*columns, strict=True)
    ]


def trained() -> LinePatterns:
    patterns = LinePatterns()
    assert by_patterns(patterns, line(rfc8785.dumps(PAYLOAD)))[1]
    return patterns


@settings(max_examples=400, deadline=None)
@given(st.lists(SCALARS, min_size=1, max_size=6))
def test_other_values_in_a_known_shape_read_as_the_full_parse_reads_them(values: list[Any]) -> None:
    payload = PAYLOAD | {"a": values[0], "list": values, "number": values[-1], "nested": {"points": [values, values]}}
    data = line(rfc8785.dumps(PAYLOAD)) + line(rfc8785.dumps(payload), 2) + line(rfc8785.dumps({"a": values[0]}), 3)
    assert by_patterns(trained(), data) == by_full_parse(data)


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_a_mutated_line_is_read_exactly_as_the_full_parse_reads_it(data: st.DataObject) -> None:
    raw = bytearray(line(rfc8785.dumps(PAYLOAD)))
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(raw) - 2))
        end = data.draw(st.integers(at, min(at + 3, len(raw) - 2)))
        raw[at:end] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"\\", b",", b"00", b"1e5", b"-", b".5"])
        )
    mutated = line(rfc8785.dumps(PAYLOAD)) + bytes(raw)
    assert by_patterns(trained(), mutated) == by_full_parse(mutated)


NOT_CANONICAL = [
    *(
        "-0",
        "00",
        "01",
        "1.0",
        "1.50",
        "0.0",
        "-0.0",
        "0.0000001",
        "1e5",
        "1E+21",
        "9007199254740992",
        ".5",
        "5.",
        "+1",
    ),
    *("0.12345678901234567", "12345678.1234567890", "123456789012345678", "NaN", "tru", "nulll", "'x'", "{}}", "[1,]"),
    *('"\\/"', '"\\u0041"', '"\\u0000"', '"\\ud800"', '"\\u000a"', '"\\u001F"', '"a"b"', '"a\\"'),
]


@pytest.mark.parametrize("value", [*NOT_CANONICAL, "[1, 2]", '"\x01"', '"\t"'])
def test_a_value_that_is_not_canonical_is_refused_in_a_known_shape(value: str) -> None:
    known = rfc8785.dumps({"v": 1})
    patterns = LinePatterns()
    assert by_patterns(patterns, line(known))[1]
    rows, good = by_patterns(patterns, line(known) + line(b'{"v":' + value.encode() + b"}", 2))
    assert not good
    assert len(rows) == 1


@pytest.mark.parametrize(
    "value", ["0", "-1", "0.5", "-0.000001", "1e+21", "5e-324", "9007199254740991", '"\\u001f\\n\\""']
)
def test_an_unusual_canonical_value_is_accepted_in_a_known_shape(value: str) -> None:
    patterns = LinePatterns()
    data = line(b'{"v":1}') + line(b'{"v":' + value.encode() + b"}", 2)
    assert by_patterns(patterns, data) == by_full_parse(data)
    assert by_full_parse(data)[1]


def test_a_raw_line_feed_in_a_string_is_refused_in_a_known_shape() -> None:
    data = line(b'{"v":"a"}') + line(b'{"v":"one\nother"}', 2) + line(b'{"v":"b"}', 3)
    assert by_patterns(LinePatterns(), data) == by_full_parse(data)
    assert len(by_full_parse(data)[0]) == 1


@pytest.mark.parametrize("raw", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"])
def test_a_string_that_is_not_utf8_is_refused_in_a_known_shape(raw: bytes) -> None:
    patterns = trained()
    payload = rfc8785.dumps(PAYLOAD).replace(b'"x"', b'"' + raw + b'"')
    assert by_patterns(patterns, line(rfc8785.dumps(PAYLOAD)) + line(payload, 2))[0][1:] == []


def test_nesting_beyond_the_limit_is_refused_although_the_arrays_are_of_a_known_form() -> None:
    deepest = json.loads("[" * 31 + "]" * 31)
    patterns = LinePatterns()
    assert by_patterns(patterns, line(rfc8785.dumps({"v": deepest})))[1]
    assert not by_patterns(patterns, line(b'{"v":' + b"[" * 32 + b"]" * 32 + b"}"))[1]


def test_a_chain_that_never_repeats_a_shape_is_still_read_in_full() -> None:
    data = b"".join(line(rfc8785.dumps({f"name{n}": n, "x": [{"y": n}] * (n % 20)}), n + 1) for n in range(600))
    patterns = LinePatterns()
    assert by_patterns(patterns, data) == by_full_parse(data)
    assert len(by_full_parse(data)[0]) == 600


def test_a_shape_with_more_places_than_allowed_is_not_remembered() -> None:
    assert payload_shape({f"n{number}": 0 for number in range(MAX_SCALARS)}) is None


@pytest.mark.parametrize("size", [1, 2, 50_000])
def test_matching_a_hostile_string_takes_linear_time(size: int) -> None:
    payload = rfc8785.dumps(PAYLOAD | {"a": '\\"' * size})
    data = line(rfc8785.dumps(PAYLOAD)) + line(payload, 2) + line(payload[:-1] + b"!", 3)
    rows, good = by_patterns(trained(), data)
    assert len(rows) == 2
    assert not good
