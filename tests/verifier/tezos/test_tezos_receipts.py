"""Tezos receipts: what anchors, what only might, and everything that is refused."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.tezos.forge import (
    CONTRACT,
    NETWORK,
    VALUE,
    Block,
    Signer,
    block,
    operation,
    transaction,
    tree,
)
from verifier.inclusion import root_from_path
from verifier.tezos import ReceiptResult, TezosTrust, base58, check_receipt
from verifier.tezos.block import list_root, parse_header

GOOD = block()
TRUST = TezosTrust(
    chain_id=NETWORK,
    contracts=frozenset({CONTRACT}),
    signers=frozenset({GOOD.signer.address}),
    block_hashes=frozenset({GOOD.document()["block_hash"]}),
)


def codes(result: ReceiptResult) -> set[str]:
    return {finding.code for finding in result.findings}


def changed(**changes: Any) -> bytes:
    return json.dumps({**GOOD.document(), **changes}).encode()


def test_a_receipt_of_a_known_block_is_valid() -> None:
    result = check_receipt(GOOD.receipt(), value=VALUE, trust=TRUST)
    assert (result.ok, result.status, result.level) == (True, "valid", 1000)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_every_kind_of_key_that_anchors_is_checked(kind: int) -> None:
    anchored = block(kind)
    assert check_receipt(anchored.receipt(), value=VALUE, trust=TezosTrust()).status == "unconfirmed"
    forged = bytearray(anchored.operations[anchored.index])
    forged[-1] ^= 1
    anchored.operations[anchored.index] = bytes(forged)
    assert codes(check_receipt(anchored.receipt(), value=VALUE, trust=TezosTrust())) == {"tezos-signature"}


def test_without_a_known_block_a_receipt_stays_unconfirmed() -> None:
    result = check_receipt(GOOD.receipt(), value=VALUE, trust=TezosTrust())
    assert (result.ok, result.status) == (False, "unconfirmed")


@pytest.mark.parametrize("others", [0, 1, 2, 3, 4, 5, 7, 8, 9, 31])
def test_a_receipt_is_valid_at_every_place_of_a_pass_of_any_size(others: int) -> None:
    for index in range(others + 1):
        anchored = block(others=others, index=index)
        assert check_receipt(anchored.receipt(), value=VALUE, trust=TezosTrust()).status == "unconfirmed"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"block_hash": base58.encode(base58.BLOCK_HASH, bytes(32))}, "tezos-block-hash"),
        ({"level": 1001}, "tezos-level"),
        ({"operation_hash": base58.encode(base58.OPERATION_HASH, bytes(32))}, "tezos-operation-hash"),
        ({"pass": 2}, "tezos-pass"),
        ({"pass": 7}, "tezos-pass"),
        ({"pass_path": GOOD.document()["pass_path"][:1]}, "tezos-pass"),
        ({"op_index": 3}, "tezos-path"),
        ({"op_index": 2 + 8}, "tezos-path"),
        ({"op_path": GOOD.document()["op_path"][:-1]}, "tezos-path"),
        ({"op_path": GOOD.document()["op_path"] + ["00" * 32]}, "tezos-path"),
        ({"content_index": 1}, "tezos-content"),
        ({"contract": base58.encode(base58.CONTRACT, bytes(20))}, "tezos-contract"),
        ({"entrypoint": "default"}, "tezos-entrypoint"),
        ({"value": "00" * 32}, "tezos-parameter"),
        ({"signer": {"public_key": Signer(1).public_key, "address": Signer(1).address}}, "tezos-signer"),
        ({"signer": {"public_key": "edpk", "address": GOOD.signer.address}}, "tezos-signer"),
        ({"chain_id": "NetXdQprcVkpaWU"}, "tezos-network"),
        ({"aggregation": {"leaf_index": 0, "tree_size": 2, "path": ["00" * 32]}}, "tezos-aggregation"),
        ({"format": "indelible-tezos-receipt/2"}, "tezos-unreadable"),
        ({"extra": 1}, "tezos-unreadable"),
        ({"level": True}, "tezos-unreadable"),
        ({"level": -1}, "tezos-unreadable"),
        ({"header": "zz"}, "tezos-unreadable"),
        ({"header": "AA"}, "tezos-unreadable"),
        ({"header": "00" * 50}, "tezos-unreadable"),
        ({"operation": "00" * 96}, "tezos-operation-unusable"),
        ({"operation": "00"}, "tezos-operation-unusable"),
        ({"operation": ""}, "tezos-operation-unusable"),
        ({"chain_id": "NetXdQprcVkpaWu"}, "tezos-unreadable"),
        ({"contract": "KT1\u001b[2J"}, "tezos-unreadable"),
        ({"op_path": ["00"]}, "tezos-unreadable"),
        ({"op_path": ["00" * 32] * 17}, "tezos-unreadable"),
        ({"observations": {}}, "tezos-unreadable"),
    ],
)
def test_a_receipt_that_contradicts_itself_is_refused(changes: dict[str, Any], code: str) -> None:
    result = check_receipt(changed(**changes), value=VALUE, trust=TRUST)
    assert result.status == "invalid"
    assert code in codes(result)


@pytest.mark.parametrize(
    ("trust", "code"),
    [
        (TezosTrust(chain_id="NetXdQprcVkpaWU"), "tezos-network"),
        (TezosTrust(contracts=frozenset({"KT1other"})), "tezos-contract-untrusted"),
        (TezosTrust(signers=frozenset({"tz1other"})), "tezos-signer-untrusted"),
    ],
)
def test_a_receipt_of_others_than_the_policy_names_is_refused(trust: TezosTrust, code: str) -> None:
    assert codes(check_receipt(GOOD.receipt(), value=VALUE, trust=trust)) == {code}


def test_a_receipt_for_another_value_is_refused() -> None:
    assert codes(check_receipt(GOOD.receipt(), value=bytes(32), trust=TRUST)) == {"tezos-value"}


def test_every_flipped_bit_of_header_operation_and_paths_is_refused() -> None:
    document = GOOD.document()
    for name in ("header", "operation", "op_path", "pass_path"):
        steps = document[name] if isinstance(document[name], list) else [document[name]]
        for number, step in enumerate(steps):
            raw = bytearray.fromhex(step)
            for bit in range(8 * len(raw)):
                raw[bit // 8] ^= 1 << bit % 8
                mutant = [*steps[:number], raw.hex(), *steps[number + 1 :]]
                flipped = changed(**{name: mutant if isinstance(document[name], list) else raw.hex()})
                assert check_receipt(flipped, value=VALUE, trust=TRUST).status == "invalid", (name, bit)
                raw[bit // 8] ^= 1 << bit % 8


def test_a_shorter_value_in_a_longer_parameter_is_refused() -> None:
    signer = Signer(0)
    anchored = Block(
        operations=[operation(signer, transaction(signer, VALUE + b"!"))], index=0, signer=signer, value=VALUE + b"!"
    )
    assert codes(check_receipt(anchored.receipt(), value=VALUE, trust=TezosTrust())) >= {"tezos-parameter"}


def rfc9162_root(entries: list[bytes]) -> bytes:
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    split = 1 << (len(entries) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + rfc9162_root(entries[:split]) + rfc9162_root(entries[split:])).digest()


def rfc9162_path(entries: list[bytes], index: int) -> list[bytes]:
    if len(entries) == 1:
        return []
    split = 1 << (len(entries) - 1).bit_length() - 1
    if index < split:
        return [*rfc9162_path(entries[:split], index), rfc9162_root(entries[split:])]
    return [*rfc9162_path(entries[split:], index - split), rfc9162_root(entries[:split])]


@pytest.mark.parametrize("size", range(1, 18))
def test_an_aggregated_head_leads_to_the_anchored_root_from_its_own_place_only(size: int) -> None:
    heads = [bytes([number]) * 32 for number in range(size)]
    root = rfc9162_root(heads)
    for index, head in enumerate(heads):
        steps = rfc9162_path(heads, index)
        assert root_from_path(head, index, size, steps) == root
        assert all(root_from_path(head, other, size, steps) != root for other in range(size + 2) if other != index)
        assert root_from_path(head, index, size, [*steps, bytes(32)]) != root
        if steps:
            assert root_from_path(head, index, size, steps[:-1]) != root


def test_an_aggregated_receipt_is_valid_for_its_head_only() -> None:
    signer = Signer(0)
    heads = [bytes([number]) * 32 for number in range(5)]
    root = rfc9162_root(heads)
    anchored = Block(
        operations=[operation(signer, transaction(signer, root))],
        index=0,
        signer=signer,
        value=root,
        changes={
            "aggregation": {
                "leaf_index": 3,
                "tree_size": 5,
                "path": [step.hex() for step in rfc9162_path(heads, 3)],
            }
        },
    )
    assert check_receipt(anchored.receipt(), value=heads[3], trust=TezosTrust()).status == "unconfirmed"
    assert codes(check_receipt(anchored.receipt(), value=heads[2], trust=TezosTrust())) == {"tezos-aggregation"}


@given(data=st.binary(max_size=300))
def test_no_bytes_raise_or_anchor(data: bytes) -> None:
    assert not check_receipt(data, value=VALUE, trust=TRUST).ok


@given(data=st.binary(max_size=200))
def test_no_operation_raises_or_anchors(data: bytes) -> None:
    assert not check_receipt(changed(operation=data.hex()), value=VALUE, trust=TRUST).ok


@given(data=st.binary(max_size=300))
def test_no_header_raises_or_anchors(data: bytes) -> None:
    assert not check_receipt(changed(header=data.hex()), value=VALUE, trust=TRUST).ok


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        "[" * 100_000,
        '{"format": NaN}',
        "null",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_anything_but_one_strict_object_is_unreadable(text: str) -> None:
    assert codes(check_receipt(text.encode(), value=VALUE, trust=TRUST)) == {"tezos-unreadable"}


def test_the_list_tree_of_the_tests_is_that_of_the_verifier() -> None:
    for size in range(20):
        items = [bytes([number]) for number in range(size)]
        assert list_root(items) == tree(items)[-1][0]


def test_a_header_says_its_level_and_time() -> None:
    parsed = parse_header(bytes.fromhex(GOOD.document()["header"]))
    assert (parsed.level, parsed.time.isoformat()) == (1000, "2026-09-21T14:13:20+00:00")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.just("00" * 32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(name=st.sampled_from(sorted(set(GOOD.document()) - {"observations"})), value=JSON)
def test_no_member_can_be_anything_else(name: str, value: Any) -> None:
    result = check_receipt(changed(**{name: value}), value=VALUE, trust=TRUST)
    assert not result.ok or value == GOOD.document()[name]


@given(name=st.sampled_from(sorted(GOOD.document())))
def test_no_member_may_be_missing(name: str) -> None:
    document = GOOD.document()
    del document[name]
    assert codes(check_receipt(json.dumps(document).encode(), value=VALUE, trust=TRUST)) == {"tezos-unreadable"}


def test_a_receipt_in_another_encoding_is_unreadable() -> None:
    for encoding in ("utf-16", "utf-32", "utf-8-sig"):
        text = GOOD.receipt().decode().encode(encoding)
        assert codes(check_receipt(text, value=VALUE, trust=TRUST)) == {"tezos-unreadable"}


def test_what_nodes_were_seen_to_say_changes_nothing() -> None:
    seen = [{"node": "x", "observed_at": "", "head_level": 0, "head_hash": "", "confirmations": 10**6}]
    result = check_receipt(changed(observations=seen), value=VALUE, trust=TezosTrust())
    assert result.status == "unconfirmed"


@pytest.mark.parametrize("depth", [17, 20, 31])
def test_a_hundred_thousand_heads_and_more_may_share_a_root(depth: int) -> None:
    signer, node, head = Signer(0), hashlib.sha256(b"\x00" + VALUE).digest(), VALUE
    steps = [bytes([number]) * 32 for number in range(depth)]
    for step in steps:
        node = hashlib.sha256(b"\x01" + node + step).digest()
    place = {"leaf_index": 0, "tree_size": min(2**depth, 2**31 - 1), "path": [step.hex() for step in steps]}
    anchored = Block(
        operations=[operation(signer, transaction(signer, node))],
        index=0,
        signer=signer,
        value=node,
        changes={"aggregation": place},
    )
    assert check_receipt(anchored.receipt(), value=head, trust=TezosTrust()).status == "unconfirmed"
