"""The text form of hashes: one text for each, and nothing else is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.tezos import base58


@given(st.binary(min_size=32, max_size=32))
def test_what_is_written_is_read_back(data: bytes) -> None:
    text = base58.encode(base58.BLOCK_HASH, data)
    assert text.startswith("B")
    assert len(text) == 51
    assert base58.decode(text, base58.BLOCK_HASH, 32) == data
    assert base58.decode(text, base58.OPERATION_HASH, 32) is None
    assert base58.decode(text, base58.BLOCK_HASH, 31) is None


@given(st.text(max_size=60))
def test_no_text_crashes_the_reader_or_is_read_twice(text: str) -> None:
    found = base58.decode(text, base58.CHAIN_ID, 4)
    assert found is None or base58.encode(base58.CHAIN_ID, found) == text


@given(st.binary(max_size=8), st.integers(0, 3))
def test_ones_in_front_stand_for_zero_bytes_and_must_be_as_many(data: bytes, ones: int) -> None:
    prefix = b"\0\0"
    text = base58.encode(prefix, data)
    assert base58.decode(text, prefix, len(data)) == data
    if ones:
        assert base58.decode("1" * ones + text, prefix, len(data)) is None


@pytest.mark.parametrize(
    "text", ["", "1", "0", "l", "é", "B" * 129, "9" * 100_000, " NetXdQprcVkpaWU", "NetXdQprcVkpaWU\n"]
)
def test_anything_else_is_not_read(text: str) -> None:
    assert base58.decode(text, base58.CHAIN_ID, 4) is None


def test_the_main_networks_name_is_read() -> None:
    assert base58.decode("NetXdQprcVkpaWU", base58.CHAIN_ID, 4) == bytes.fromhex("7a06a770")


@pytest.mark.parametrize("place", range(51))
def test_one_wrong_letter_is_noticed_anywhere(place: int) -> None:
    text = base58.encode(base58.BLOCK_HASH, bytes(range(32)))
    other = "2" if text[place] != "2" else "3"
    assert base58.decode(text[:place] + other + text[place + 1 :], base58.BLOCK_HASH, 32) is None
