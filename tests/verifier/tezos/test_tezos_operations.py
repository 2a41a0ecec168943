"""Signed operations of Tezos: batches, reveals, the four kinds of keys, and what nothing can be read from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.tezos.forge import (
    CONTRACT,
    PUBLIC_KEYS,
    VALUE,
    Block,
    Signer,
    blake2b,
    block,
    operation,
    reveal,
    transaction,
)
from verifier.tezos import ReceiptResult, TezosTrust, base58, check_receipt
from verifier.tezos.keys import is_address, is_signature, parse_public_key
from verifier.tezos.operation import UnusableOperationError, parse_operation

BLS_PROOF = b"\xff\x00\x00\x00\x60" + bytes(96)


def codes(result: ReceiptResult) -> list[str]:
    return [finding.code for finding in result.findings]


@pytest.mark.parametrize(("kind", "proof"), [(0, b""), (0, b"\x00"), (1, b""), (2, b"\x00"), (3, BLS_PROOF), (3, b"")])
def test_a_second_transaction_of_a_batch_is_found_behind_a_reveal(kind: int, proof: bytes) -> None:
    signer = Signer(kind)
    batch = operation(signer, reveal(signer, proof) + transaction(signer, bytes(32)) + transaction(signer))
    anchored = Block(operations=[batch], index=0, signer=signer, content_index=2)
    assert check_receipt(anchored.receipt(), value=VALUE, trust=TezosTrust()).status == "unconfirmed"
    anchored.content_index = 0
    assert codes(check_receipt(anchored.receipt(), value=VALUE, trust=TezosTrust())) == ["tezos-content"]


def test_a_lone_reveal_is_told_from_the_signature_behind_it() -> None:
    signer = Signer(0)
    for proof in (b"", b"\x00"):
        unsigned = bytes(32) + reveal(signer, proof)
        signature = bytes(64)
        assert parse_operation(unsigned + signature).signature == signature


def test_a_receipt_signed_with_bls_is_followed_to_its_block_and_never_valid() -> None:
    anchored = block(3)
    document = anchored.document()
    trust = TezosTrust(block_hashes=frozenset({document["block_hash"]}))
    result = check_receipt(anchored.receipt(), value=VALUE, trust=trust)
    assert (result.ok, result.status, result.level) == (False, "unconfirmed", 1000)
    assert codes(result) == ["tezos-anchored", "tezos-signature-unchecked"]
    assert "BLS" in result.findings[1].message


def test_both_writings_of_a_bls_signature_are_one_operation() -> None:
    carried = operation(Signer(3), transaction(Signer(3)))
    joined = carried[:-98] + carried[-96:]
    assert parse_operation(joined) == parse_operation(carried)
    assert parse_operation(joined).hash == blake2b(carried)
    anchored = block(3)
    anchored.changes = {"operation": (anchored.operations[2][:-98] + anchored.operations[2][-96:]).hex()}
    assert "tezos-signature-unchecked" in codes(check_receipt(anchored.receipt(), value=VALUE, trust=TezosTrust()))


def test_every_flipped_bit_of_an_operation_signed_with_bls_is_refused() -> None:
    anchored = block(3, others=1, index=0)
    raw = bytearray(anchored.operations[0])
    document = anchored.document()
    for bit in range(8 * len(raw)):
        raw[bit // 8] ^= 1 << bit % 8
        anchored.changes = {name: document[name] for name in ("header", "block_hash", "op_path", "pass_path")}
        anchored.changes["operation_hash"] = document["operation_hash"]
        anchored.operations[0] = bytes(raw)
        assert check_receipt(anchored.receipt(), value=VALUE, trust=TezosTrust()).status == "invalid", bit
        raw[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_an_ordinary_account_cannot_sign_with_bls(kind: int) -> None:
    signer = Signer(kind)
    unsigned = bytes(32) + transaction(signer)
    anchored = Block(operations=[unsigned + b"\xff\x03" + bytes(96)], index=0, signer=signer)
    assert codes(check_receipt(anchored.receipt(), value=VALUE, trust=TezosTrust())) == ["tezos-signature"]
    with pytest.raises(UnusableOperationError, match="kind"):
        parse_operation(unsigned + bytes(96))


def test_a_bls_account_cannot_sign_with_a_short_signature() -> None:
    signer = Signer(3)
    anchored = Block(operations=[bytes(32) + transaction(signer) + bytes(64)], index=0, signer=signer)
    assert codes(check_receipt(anchored.receipt(), value=VALUE, trust=TezosTrust())) == ["tezos-signature"]


def test_a_signature_does_not_hold_for_another_digest_or_key() -> None:
    for kind in (0, 1, 2):
        signer = Signer(kind)
        key = parse_public_key(signer.public_key)
        assert key is not None
        signature = signer.sign(b"unsigned")
        assert is_signature(key, signature, blake2b(b"\x03unsigned"))
        assert is_signature(key, signature, blake2b(b"\x03unsigned!")) is False
        other = parse_public_key(Signer((kind + 1) % 3).public_key)
        assert other is not None
        assert is_signature(other, signature, blake2b(b"\x03unsigned")) is False
        assert is_signature(key, bytes(64), blake2b(b"\x03unsigned")) is False


def test_a_public_key_off_its_curve_signs_nothing() -> None:
    for kind, text in ((1, b"\x02" + b"\xff" * 32), (2, b"\x05" + bytes(32))):
        key = parse_public_key(base58.encode(PUBLIC_KEYS[kind], text))
        assert key is not None
        assert is_signature(key, b"\x01" * 64, bytes(32)) is False


def test_addresses_are_told_from_everything_else() -> None:
    assert all(is_address(Signer(kind).address) for kind in range(4))
    assert not is_address(CONTRACT)
    assert not is_address(Signer(0).address[:-1])
    assert not is_address(Signer(0).address[:-1] + "1")


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"\x6d" + bytes(100),  # an origination
        b"\x6c\x04" + bytes(100),  # a source of an unknown kind
        transaction(Signer(0))[:-1],
        transaction(Signer(0)) + b"\x00",
        b"\x6c\x00" + bytes(20) + b"\xff" * 80,  # an endless number
        b"\x6c\x00" + bytes(20) + bytes(5) + bytes(22) + b"\x01" + bytes(60),  # a malformed flag
        b"\x6b\x00" + bytes(20) + bytes(4) + b"\x07" + bytes(60),  # a key of an unknown kind
        transaction(Signer(0), entrypoint=b"\x0a"),  # an entry point of an unknown kind
        transaction(Signer(0))[:-37] + b"\xff\xff\xff\xff",  # a parameter longer than everything
    ],
)
def test_an_operation_that_anchoring_never_sends_is_unusable(contents: bytes) -> None:
    with pytest.raises(UnusableOperationError):
        parse_operation(bytes(32) + contents + bytes(64))


@pytest.mark.parametrize("parameter", [b"\x01\x00\x00\x00\x01a", b"\x0a\x00\x00\x00\x1f" + VALUE, b"\x0a", b""])
def test_only_plain_bytes_of_the_stated_length_are_a_value(parameter: bytes) -> None:
    start = transaction(Signer(0))[: -(4 + 5 + 32)]
    parsed = parse_operation(bytes(32) + start + len(parameter).to_bytes(4) + parameter + bytes(64))
    assert parsed.contents[0] is not None
    assert parsed.contents[0].value is None


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    try:
        parsed = parse_operation(data)
    except UnusableOperationError:
        return
    assert parsed.contents


@given(st.binary(max_size=120), st.integers(0, 3))
def test_nothing_but_a_signature_may_follow_a_content(data: bytes, kind: int) -> None:
    signer = Signer(kind)
    unsigned = bytes(32) + transaction(signer)
    try:
        parsed = parse_operation(unsigned + data)
    except UnusableOperationError:
        return
    assert len(parsed.contents) > 1 or len(data) in {64, 96, 98}
