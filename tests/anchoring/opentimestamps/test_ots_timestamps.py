"""Proofs as sets of leaves: the same bytes as the reference library's, and nothing a calendar writes breaks them."""

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.anchoring.opentimestamps.timestamp import (
    MAX_ANSWER_LEAVES,
    Leaf,
    nonce_steps,
    read_proof,
    read_timestamp,
    write_proof,
    write_timestamp,
)
from tests.verifier.opentimestamps.test_ots_reference import TREES, attested
from verifier.opentimestamps.proof import BITCOIN_TAG, PENDING_TAG, UnusableProofError, parse_proof

op = pytest.importorskip("opentimestamps.core.op", reason="the reference library is not installed")
notary = pytest.importorskip("opentimestamps.core.notary")
serialize = pytest.importorskip("opentimestamps.core.serialize")
timestamp = pytest.importorskip("opentimestamps.core.timestamp")

DIGEST = bytes(range(32))
CAL = "https://cal.example"


def library_tree(data: bytes, message: bytes = DIGEST) -> Any:
    return timestamp.Timestamp.deserialize(serialize.BytesDeserializationContext(data), message)


def plain(tree: bytes) -> bytes:
    """The tree as the library writes it: of two branches with the same step it only ever reads the last."""
    stream = serialize.BytesSerializationContext()
    library_tree(tree).serialize(stream)
    written: bytes = stream.getbytes()
    return written


def library_file(proof: bytes) -> Any:
    stream = serialize.StreamDeserializationContext(io.BytesIO(proof))
    return timestamp.DetachedTimestampFile.deserialize(stream)


def pending(*steps: bytes, address: str = CAL) -> Leaf:
    raw = address.encode()
    return Leaf(steps=steps, tag=PENDING_TAG, payload=bytes([len(raw)]) + raw, message=None)


@given(TREES)
def test_what_is_read_and_written_again_is_the_same_tree_for_the_library(tree: bytes) -> None:
    written = write_timestamp(read_timestamp(plain(tree), DIGEST))
    assert library_tree(written) == library_tree(tree)
    assert write_timestamp(read_timestamp(written, DIGEST)) == written


@given(TREES, TREES)
def test_a_union_of_leaves_is_the_librarys_merge(one: bytes, other: bytes) -> None:
    merged = library_tree(one)
    merged.merge(library_tree(other))
    leaves = {*read_timestamp(plain(one), DIGEST), *read_timestamp(plain(other), DIGEST)}
    assert library_tree(write_timestamp(leaves)) == merged


@given(TREES)
def test_the_library_and_the_verifier_read_a_written_proof_with_the_same_messages(tree: bytes) -> None:
    leaves = read_timestamp(tree, DIGEST)
    proof = write_proof(DIGEST, leaves)
    found = {message for message, _ in library_file(proof).timestamp.all_attestations()}
    assert {leaf.message for leaf in leaves} == found
    assert len(parse_proof(proof).attestations) == len(set(leaves))
    assert set(read_proof(proof, DIGEST)) == set(leaves)


def test_the_nonce_is_appended_and_hashed_as_the_stock_client_does() -> None:
    nonce = bytes(range(16))
    tree = timestamp.Timestamp(DIGEST)
    commitment = tree.ops.add(op.OpAppend(nonce)).ops.add(op.OpSHA256())
    commitment.attestations.add(notary.PendingAttestation(CAL))
    assert library_tree(write_timestamp([pending(*nonce_steps(nonce))])) == tree


@given(st.binary(max_size=300))
def test_no_answer_does_more_than_be_refused(answer: bytes) -> None:
    try:
        leaves = read_timestamp(answer, DIGEST)
    except UnusableProofError:
        return
    assert leaves
    for leaf in leaves:
        assert leaf.calendar is None or leaf.is_pending
        assert leaf.height is None or leaf.is_bitcoin


@given(TREES, st.integers(0, 200), st.integers(0, 255))
def test_an_answer_with_one_byte_changed_is_read_or_refused(tree: bytes, place: int, byte: int) -> None:
    spoiled = bytearray(tree)
    spoiled[place % len(spoiled)] = byte
    try:
        leaves = read_timestamp(bytes(spoiled), DIGEST)
    except UnusableProofError:
        return
    assert set(read_timestamp(write_timestamp(leaves), DIGEST)) == set(leaves)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "ends too early"),
        (b"\xff" * 200, "unknown"),
        (b"\xff\x08" * 200 + attested(PENDING_TAG, b""), f"more than {MAX_ANSWER_LEAVES} branches"),
        (
            (b"\xff" + attested(BITCOIN_TAG, b"\x01")) * 200 + attested(PENDING_TAG, b""),
            f"more than {MAX_ANSWER_LEAVES}",
        ),
        (b"\x08" * 300 + attested(BITCOIN_TAG, b"\x01"), "256 steps in a row"),
        (attested(BITCOIN_TAG, b"\x01") + b"\x00", "follows its end"),
        (b"\xf3" * 8 + attested(BITCOIN_TAG, b"\x01"), "grows beyond"),
        (b"\xf0\x00" + attested(BITCOIN_TAG, b"\x01"), "appends or prepends nothing"),
        (attested(BITCOIN_TAG, bytes(9000)), "longer than 8192"),
    ],
    ids=str,
)
def test_answers_beyond_the_limits_are_refused(answer: bytes, why: str) -> None:
    with pytest.raises(UnusableProofError, match=why):
        read_timestamp(answer, DIGEST)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00",
        b"\x05https",  # the length is right, something follows
        b"\x13http://127.0.0.1/\x00a",
        b"\x0fhttp://a\nb.test",
        b"\x0ehttp://\xc3\xa4.test",
        b"\x13http://a@b.test:80/",
        b"\x10http://a.test?q=",
    ],
)
def test_a_promise_under_an_address_that_is_not_plain_cannot_be_asked_about(payload: bytes) -> None:
    if payload == b"\x05https":
        payload += b"!"
    (leaf,) = read_timestamp(attested(PENDING_TAG, payload), DIGEST)
    assert leaf.calendar is None


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\x80\x00", b"\x01\x01", b"\xff" * 9])
def test_a_block_that_is_not_one_number_is_no_block(payload: bytes) -> None:
    (leaf,) = read_timestamp(attested(BITCOIN_TAG, payload), DIGEST)
    assert leaf.height is None


def test_a_message_that_is_no_merkle_root_names_no_block() -> None:
    (leaf,) = read_timestamp(b"\xf0\x01a" + attested(BITCOIN_TAG, b"\x07"), DIGEST)
    assert leaf.height is None


def test_below_an_operation_that_is_not_computed_nothing_can_be_asked_or_checked() -> None:
    tree = b"\xff\x67" + attested(BITCOIN_TAG, b"\x07") + b"\x67" + attested(PENDING_TAG, b"\x08http://a")
    leaves = read_timestamp(tree, DIGEST)
    assert [(leaf.message, leaf.height, leaf.calendar) for leaf in leaves] == [(None, None, None)] * 2


def test_a_proof_for_another_digest_is_refused() -> None:
    with pytest.raises(UnusableProofError, match="no proof for this digest"):
        read_proof(write_proof(DIGEST, [pending(b"\x08")]), bytes(32))


def test_real_proofs_mean_the_same_when_they_are_written_again(corpus: Path) -> None:
    written = 0
    for path in sorted(corpus.rglob("*.ots")):
        data = path.read_bytes()
        try:
            parsed = parse_proof(data)
        except UnusableProofError:
            continue
        if parsed.algorithm == "SHA-256":
            leaves = read_proof(data, parsed.digest)
            again = write_proof(parsed.digest, leaves)
            assert set(parse_proof(again).attestations) == set(parsed.attestations), path.name
            assert library_file(again).timestamp == library_file(data).timestamp, path.name
            written += 1
    assert written >= 5
