import json
import math
import subprocess
import sys
from contextlib import suppress
from typing import Any

import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledger.chain import canonical
from ledger.chain.canonical import CanonicalError, canonicalise

BIG = 2**53 - 1
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
NAMES = TEXT.filter(lambda name: name not in canonical.RESERVED_NAMES)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: not (number.is_integer() and BIG < abs(number) < 1e21)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-BIG, BIG) | DOUBLES | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=5)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-BIG, BIG) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


STYLES = st.fixed_dictionaries(
    {
        "ensure_ascii": st.booleans(),
        "separators": st.sampled_from([None, (",", ":"), (" , ", "\n:\t")]),
        "sort_keys": st.booleans(),
    }
)


@given(OBJECTS, STYLES)
def test_every_way_to_write_an_object_has_the_canonical_form_of_the_reference(
    value: dict[str, Any], style: dict[str, Any]
) -> None:
    assert canonicalise(json.dumps(value, **style).encode()) == rfc8785.dumps(value)


@given(OBJECTS)
def test_a_canonical_form_is_its_own_canonical_form(value: dict[str, Any]) -> None:
    raw = rfc8785.dumps(value)
    assert canonicalise(raw) == raw


@given(st.dictionaries(NAMES, PLAIN, max_size=5))
def test_the_fast_way_agrees_with_the_reference_wherever_it_is_taken(value: dict[str, Any]) -> None:
    raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if canonical._is_canonical(raw):
        assert rfc8785.dumps(canonical.parse(raw)) == raw


@given(OBJECTS, st.data())
def test_the_fast_way_never_takes_a_damaged_text_for_canonical(value: dict[str, Any], data: st.DataObject) -> None:
    raw = bytearray(rfc8785.dumps(value))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] = data.draw(st.integers(0, 255))
    if canonical._is_canonical(bytes(raw)):
        assert rfc8785.dumps(canonical.parse(bytes(raw))) == raw


@given(st.binary(max_size=60) | st.text('{}[]",:\\ue0123456789.-+untrfalsE \t', max_size=60).map(str.encode))
def test_any_bytes_give_a_canonical_form_or_a_clear_error(raw: bytes) -> None:
    with suppress(CanonicalError):
        made = canonicalise(raw)
        assert canonicalise(made) == made


def test_an_ordinary_payload_takes_the_fast_way() -> None:
    raw = b'{"actor":"user-1","at":"2026-11-22T08:00:00Z","count":12,"note":"\xc3\xa9 1.5 [2]","tags":["a",{"b":null}]}'
    assert canonicalise(raw) is raw


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"b":1,"a":2}', b'{"a":2,"b":1}'),
        (b' {"a" : 1.0}\n', b'{"a":1}'),
        (b'{"a":-0.0,"b":-0}', b'{"a":0,"b":0}'),
        (b'{"a":1e2,"b":0.10}', b'{"a":100,"b":0.1}'),
        (b'{"a":1e-7,"b":1e21,"c":1e300}', b'{"a":1e-7,"b":1e+21,"c":1e+300}'),
        (b'{"a":5e-324,"b":333333333.33333329}', b'{"a":5e-324,"b":333333333.3333333}'),
        (b'{"\\u0061":"\\u20ac\\/\\u000A"}', '{"a":"€/\\n"}'.encode()),
        (b'{"a":"\\ud83d\\ude00"}', '{"a":"😀"}'.encode()),
        ('{"\ufb33":1,"😀":2}'.encode(), '{"😀":2,"\ufb33":1}'.encode()),
        (b'{"a":9007199254740991,"b":-9007199254740991}', b'{"a":9007199254740991,"b":-9007199254740991}'),
        (b'{"a":"\x7f"}', b'{"a":"\x7f"}'),
        (b"{}", b"{}"),
    ],
)
def test_known_texts_have_known_canonical_forms(raw: bytes, expected: bytes) -> None:
    assert canonicalise(raw) == expected


@pytest.mark.parametrize(
    ("raw", "pointer", "problem"),
    [
        (b'{"a":1,"a":1}', "/a", "twice"),
        (b'{"x":[{"a":1,"b":2,"a":3}]}', "/x/0/a", "twice"),
        (b'{"a":1,"\\u0061":1}', "/a", "twice"),
        (b'{"x":{"y":[0,"\\ud800"]}}', "/x/y/1", "surrogate"),
        (b'{"\\udfff":1}', "/\\udfff", "surrogate"),
        (b'{"a":"\\u0000"}', "/a", "U+0000"),
        (b'{"a\\u0000":1}', "/a\\u0000", "U+0000"),
        (b'{"a":9007199254740992}', "/a", "2^53-1"),
        (b'{"a":[-9007199254740992]}', "/a/0", "2^53-1"),
        (b'{"a":' + b"9" * 5000 + b"}", "/a", "2^53-1"),
        (b'{"a":1e16}', "/a", "2^53-1"),
        (b'{"a":9007199254740992.0}', "/a", "2^53-1"),
        (b'{"a":1e400}', "/a", "too large"),
        (b'{"a":NaN}', "/a", "NaN"),
        (b'{"a":-Infinity}', "/a", "Infinity"),
        (b'{"a~/b":{"_sd":[]}}', "/a~0~1b/_sd", "reserved"),
        (b'{"_sd_alg":"sha-256"}', "/_sd_alg", "reserved"),
        (b'{"a":[{"...":"x"}]}', "/a/0/...", "reserved"),
        (b'{"\\u005fsd":[]}', "/_sd", "reserved"),
        (b"[]", "", "not a JSON object"),
        (b'"x"', "", "not a JSON object"),
        (b"NaN", "", "NaN"),
        (b"", "", "not JSON"),
        (b'{"a":1}}', "", "not JSON"),
        (b'{"a":01}', "", "not JSON"),
        (b"{'a':1}", "", "not JSON"),
        (b'{"a":"\n"}', "", "not JSON"),
        (b'{"a":"\xff"}', "", "not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "", "not UTF-8"),
        (b'\xef\xbb\xbf{"a":1}', "", "not JSON"),
        (b'{"a":' * 32 + b"1" + b"}" * 32 + b"}", "", "not JSON"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "/a" * 32, "levels"),
        (b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", "/a" + "/0" * 31, "levels"),
        (b'{"a":' + b"[" * 200_000, "", "levels"),
    ],
)
def test_what_cannot_be_on_a_chain_is_refused_with_its_path(raw: bytes, pointer: str, problem: str) -> None:
    with pytest.raises(CanonicalError) as caught:
        canonicalise(raw)
    assert caught.value.pointer == pointer
    assert problem in caught.value.problem


def test_thirty_two_levels_are_allowed() -> None:
    raw = b'{"a":' * 32 + b"1" + b"}" * 32
    assert canonicalise(raw) == raw


def test_the_canonical_form_may_have_256_kib_and_no_byte_more() -> None:
    room = canonical.MAX_PAYLOAD_BYTES - len(b'{"a":""}')
    fits = b'{"a":"' + b"x" * room + b'"}'
    assert canonicalise(fits) is fits
    assert canonicalise(fits.replace(b":", b": ")) == fits
    with pytest.raises(CanonicalError, match="262145"):
        canonicalise(fits.replace(b"x", b"xx", 1))


def test_a_text_beyond_one_mebibyte_is_not_even_read() -> None:
    with pytest.raises(CanonicalError, match="at most 1048576"):
        canonicalise(b"{" + b" " * canonical.MAX_RAW_BYTES + b"}")


@given(st.floats())
def test_a_double_is_kept_exactly_or_refused(number: float) -> None:
    raw = repr({"a": number}).replace("'", '"').replace("inf", "Infinity").replace("nan", "NaN").encode()
    if math.isfinite(number) and not (number.is_integer() and BIG < abs(number) < 1e21):
        assert json.loads(canonicalise(raw))["a"] == number
    else:
        with pytest.raises(CanonicalError):
            canonicalise(raw)


def test_bottomless_nesting_is_refused_even_where_a_library_lifted_the_recursion_limit() -> None:
    # In a process of its own: without the bound the parser would take the interpreter with it.
    program = (
        "import sys; sys.setrecursionlimit(100_000)\n"
        "from ledger.chain.canonical import CanonicalError, canonicalise\n"
        "for raw in (b'{\"a\":' + b'[' * 300_000, b'{\"a\":' * 100_000):\n"
        "    try: canonicalise(raw)\n"
        "    except CanonicalError as error: print(error.problem)\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (0, "the payload has more than 32 levels\n" * 2)
