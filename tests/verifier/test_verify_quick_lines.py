"""The quick reading of lines accepts nothing that the full one refuses, and loses nothing it accepts."""

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.verifier.bundle_forge import STARTED, event_hash, microseconds, time_text
from verifier.event import MAX_PAYLOAD_BYTES, MAX_SEQUENCE
from verifier.line_patterns import MAX_SCALARS, payload_shape
from verifier.lines import Lines, read_in_full
from verifier.quick_lines import QuickReader

PAYLOAD: dict[str, Any] = {
    "a": "x",
    "list": [1, "two", None],
    "nested": {"empty": {}, "points": [[0.5, 1], [2, 3.25]], "é": True},
    "number": 12,
}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15) | TEXT
TIME = microseconds(STARTED)


def chain_of(payloads: list[bytes], *, start: int = 1, kind: str = "door.opened", time: str = "") -> bytes:
    """Lines whose links and hashes are right, whatever else they hold."""
    prev = hashlib.sha256(b"the event before").digest()
    lines: list[bytes] = []
    for sequence, payload in enumerate(payloads, start=start):
        digest = event_hash(sequence, prev, kind, payload, TIME)
        frame = f'{{"hash":"{digest.hex()}","kind":"{kind}","occurred_at":"{time or time_text(STARTED)}","payload":'
        after = f',"prev_hash":"{prev.hex()}","sequence":{sequence}}}\n'
        lines.append(frame.encode("latin-1") + payload + after.encode())
        prev = digest
    return b"".join(lines)


def fields(lines: Lines) -> tuple[Any, ...]:
    columns = (lines.kinds, lines.times, lines.payloads, lines.hashes)
    return lines.start, lines.first_prev_hash, lines.digests, *map(list, columns)


def is_read_quickly(data: bytes, reader: QuickReader | None = None) -> bool:
    """Whether the quick reading takes `data`, which it must do just when the full one finds nothing wrong."""
    quick = (reader or trained()).read(data)
    full, problems = read_in_full(data)
    assert (quick is None) is bool(problems)
    if quick is not None:
        assert fields(quick) == fields(full)
    return quick is not None


def trained() -> QuickReader:
    reader = QuickReader()
    assert reader.read(chain_of([rfc8785.dumps(PAYLOAD)])) is not None
    return reader


@settings(max_examples=400, deadline=None)
@given(st.lists(SCALARS, min_size=1, max_size=6), st.sampled_from([1, 98, 99, 100, 12345, 10**14 - 1]))
def test_other_values_in_a_known_shape_read_as_the_full_parse_reads_them(values: list[Any], start: int) -> None:
    payload = PAYLOAD | {"a": values[0], "list": values, "number": values[-1], "nested": {"points": [values, values]}}
    payloads = [PAYLOAD, payload, {"a": values[0]}, PAYLOAD]
    assert is_read_quickly(chain_of([rfc8785.dumps(one) for one in payloads], start=start))


PIECES = [
    b'"',
    b"\\",
    b",",
    b"00",
    b"1e5",
    b"-",
    b".5",
    b"\n",
    b" ",
    b"{",
    b"]",
    b"null",
    b"\xc3\xa9",
    b"\xff",
    b"\x1f",
]


@st.composite
def mutations(draw: st.DrawFn, raw: bytes) -> bytes:
    """`raw` with one or two pieces of up to three bytes replaced."""
    changed = bytearray(raw)
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, max(len(changed) - 1, 0)))
        end = draw(st.integers(at, min(at + 3, len(changed))))
        changed[at:end] = draw(st.binary(max_size=3) | st.sampled_from(PIECES))
    return bytes(changed)


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_a_mutated_payload_with_right_hashes_is_taken_just_when_the_full_parse_takes_it(data: st.DataObject) -> None:
    known = rfc8785.dumps(PAYLOAD)
    is_read_quickly(chain_of([known, data.draw(mutations(known)), known]))


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_mutated_lines_are_taken_just_when_the_full_parse_takes_them(data: st.DataObject) -> None:
    lines = chain_of([rfc8785.dumps(PAYLOAD)] * 3, start=98)
    is_read_quickly(data.draw(mutations(lines[:-1])) + b"\n")


@settings(max_examples=300, deadline=None)
@given(mutations(b"door.opened"), mutations(time_text(STARTED).encode()))
@example(b"door.opened", b"2026-02-30T03:04:05.000006Z")
@example(b"door.opened", b"2026-01-02T03:04:60.000006Z")
@example(b"door.opened", b"2026-01-02T03:04:05.00_006Z")
@example(b"door.opened", b"2026-01-02T03:04:05,000006Z")
@example(b"a." + b"b" * 62, b"2026-01-02T03:04:05.000006Z")
@example(b"a." + b"b" * 63, b"2026-01-02T03:04:05.000006Z")
@example(b'a.b","occurred_at":"', b"2026-01-02T03:04:05.000006Z")
def test_a_mutated_kind_or_time_is_taken_just_when_the_full_parse_takes_it(kind: bytes, time: bytes) -> None:
    known = rfc8785.dumps(PAYLOAD)
    data = chain_of([known, known], kind=kind.decode("latin-1"))
    is_read_quickly(data)
    is_read_quickly(data.replace(time_text(STARTED).encode(), time))


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
    known = b'{"v":1}'
    data = chain_of([known, b'{"v":' + value.encode() + b"}", known])
    assert not is_read_quickly(data)
    assert len(read_in_full(data)[0].payloads) == 1


@pytest.mark.parametrize(
    "value", ["0", "-1", "0.5", "-0.000001", "1e+21", "5e-324", "9007199254740991", '"\\u001f\\n\\""', "{}", "[[]]"]
)
def test_an_unusual_canonical_value_is_accepted_in_a_known_shape(value: str) -> None:
    known = b'{"v":1}'
    assert is_read_quickly(chain_of([known, b'{"v":' + value.encode() + b"}", known]))


def test_a_raw_line_feed_in_a_string_is_refused_in_a_known_shape() -> None:
    assert not is_read_quickly(chain_of([b'{"v":"a"}', b'{"v":"one\nother"}', b'{"v":"b"}']))


def test_a_line_that_is_hidden_in_a_string_of_another_is_refused() -> None:
    inner = chain_of([b'{"v":"b"}'])
    assert not is_read_quickly(chain_of([b'{"v":"a"}', b'{"v":"' + inner + b'"}', b'{"v":"b"}']))
    assert not is_read_quickly(chain_of([b'{"v":"a"}', b'{"v":"\n' + inner[:90] + b'"}', b'{"v":"b"}']))


@pytest.mark.parametrize("raw", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"])
def test_a_string_that_is_not_utf8_is_refused_in_a_known_shape(raw: bytes) -> None:
    known = rfc8785.dumps(PAYLOAD)
    assert not is_read_quickly(chain_of([known, known.replace(b'"x"', b'"' + raw + b'"')]))


def test_nesting_beyond_the_limit_is_refused_although_the_arrays_are_of_a_known_form() -> None:
    deepest = rfc8785.dumps({"v": json.loads("[" * 31 + "]" * 31)})
    reader = QuickReader()
    assert is_read_quickly(chain_of([deepest]), reader)
    assert not is_read_quickly(chain_of([deepest, b'{"v":' + b"[" * 32 + b"]" * 32 + b"}"]), reader)


def test_a_chain_that_never_repeats_a_shape_is_still_read() -> None:
    payloads = [rfc8785.dumps({f"name{n}": n, "x": [{"y": n}] * (n % 20)}) for n in range(600)]
    assert is_read_quickly(chain_of(payloads), QuickReader())
    assert not is_read_quickly(chain_of([*payloads, b'{"name":1.0}']), QuickReader())


@pytest.mark.parametrize("order", [["text", 1], [1, "text"], ["text", None, "text"], [[], "text", {}]])
def test_a_member_may_be_a_string_in_some_lines_and_something_else_in_others(order: list[Any]) -> None:
    reader = QuickReader()
    payloads = [rfc8785.dumps({"id": n, "v": order[n % len(order)]}) for n in range(60)]
    assert is_read_quickly(chain_of(payloads), reader)
    assert is_read_quickly(chain_of(payloads, start=1000), reader)
    assert not is_read_quickly(chain_of([*payloads, b'{"id":1,"v":"\\u0041"}'], start=1000), reader)
    assert not is_read_quickly(chain_of([*payloads, b'{"id":"\x1f","v":"a"}'], start=1000), reader)


def test_a_chain_with_more_shapes_than_are_remembered_is_still_read() -> None:
    reader = QuickReader()
    payloads = [rfc8785.dumps({f"name{n % 90}": "x", "v": "text" if n % 2 else n, "w": "z"}) for n in range(500)]
    assert is_read_quickly(chain_of(payloads), reader)
    assert is_read_quickly(chain_of(payloads[::-1], start=1000), reader)
    assert not is_read_quickly(chain_of([*payloads, b'{"name1":"x","v":01,"w":"z"}']), reader)


def test_a_shape_with_more_places_than_allowed_is_not_remembered() -> None:
    assert payload_shape({f"n{number}": 0 for number in range(MAX_SCALARS)}) is None


@pytest.mark.parametrize(("size", "good"), [(MAX_PAYLOAD_BYTES, True), (MAX_PAYLOAD_BYTES + 1, False)])
def test_the_limit_of_a_payload_is_exact_in_a_known_shape(size: int, good: bool) -> None:  # noqa: FBT001 - as named
    long = b'{"v":"' + b"x" * (size - 8) + b'"}'
    assert is_read_quickly(chain_of([b'{"v":"a"}', long])) is good


@pytest.mark.parametrize("start", [1, 9, 95, 99, 100, 101, 995, 999, 1000, 99_999, 10**14 - 2, MAX_SEQUENCE - 4])
def test_sequences_are_compared_across_every_power_of_ten(start: int) -> None:
    data = chain_of([b'{"v":1}'] * 5, start=start)
    assert is_read_quickly(data)
    last = b'"sequence":%d}' % (start + 4)
    assert data.count(last) == 1
    for other in (start + 3, start + 5, 0, -1, 2**53):
        assert not is_read_quickly(data.replace(last, b'"sequence":%d}' % other))
    assert not is_read_quickly(data.replace(last, b'"sequence":0%d}' % (start + 4)))


def test_a_sequence_beyond_the_limit_is_refused() -> None:
    assert not is_read_quickly(chain_of([b'{"v":1}'] * 5, start=MAX_SEQUENCE - 3))


def test_a_time_that_goes_back_is_refused_within_a_slice() -> None:
    early, late = chain_of([b'{"v":1}'] * 2).splitlines(keepends=True)
    assert is_read_quickly(early + late)
    before = time_text(STARTED.replace(year=1969)).encode()
    assert not is_read_quickly(early + late.replace(time_text(STARTED).encode(), before))


@pytest.mark.parametrize("size", [1, 2, 50_000])
def test_matching_a_hostile_string_takes_linear_time(size: int) -> None:
    known = rfc8785.dumps(PAYLOAD)
    payload = rfc8785.dumps(PAYLOAD | {"a": '\\"' * size})
    assert is_read_quickly(chain_of([known, payload]))
    assert not is_read_quickly(chain_of([known, payload, payload[:-1] + b"!"]))


@pytest.mark.parametrize("piece", [b"\n", b'"\n', b'{"v":"\n', b"x" * 139 + b'{"v":"\n', b'\\"{"v":"'])
def test_a_slice_without_any_line_of_the_format_takes_linear_time(piece: bytes) -> None:
    assert not is_read_quickly(chain_of([b'{"v":1}']) + piece * (400_000 // len(piece)) + b"\n")
