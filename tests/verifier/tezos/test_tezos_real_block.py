"""A real block of the main network: every operation has a receipt that leads to it, and no changed one does."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.verifier.tezos.forge import blake2b, path, tree
from tests.verifier.tezos.real_block import (
    LIST_LIST_HASH,
    RealBlock,
    hash_of,
    header_signed_with_bls,
    raw_operations,
    read_block,
)
from verifier.tezos import TezosTrust, base58, check_receipt
from verifier.tezos.block import climb, list_root, parse_header
from verifier.tezos.operation import parse_operation

PASSES = range(4)
INCLUSION = {
    "tezos-unreadable",
    "tezos-block-hash",
    "tezos-level",
    "tezos-operation-hash",
    "tezos-path",
}


@pytest.fixture(scope="module")
def block(corpus: Path) -> RealBlock:
    return read_block(corpus)


def problems(document: dict[str, Any]) -> set[str]:
    """What is wrong with how a receipt leads to its block. What the operation does is another question."""
    result = check_receipt(json.dumps(document).encode(), value=bytes(32), trust=TezosTrust())
    return {finding.code for finding in result.findings} & INCLUSION


def test_the_header_hashes_to_the_block(block: RealBlock) -> None:
    assert base58.encode(base58.BLOCK_HASH, blake2b(block.header)) == block.document["hash"]


def test_a_later_header_signed_with_bls_is_read_alike(corpus: Path) -> None:
    document, raw = header_signed_with_bls(corpus)
    assert base58.encode(base58.BLOCK_HASH, blake2b(raw)) == document["hash"]
    header = parse_header(raw)
    assert (header.level, header.time.isoformat()) == (16718489, "2025-12-04T17:07:52+00:00")
    assert header.operations_hash == hash_of(document["operations_hash"], LIST_LIST_HASH)


def test_every_operation_leads_to_the_operations_hash_from_its_own_place_only(block: RealBlock) -> None:
    expected = hash_of(block.document["header"]["operations_hash"], LIST_LIST_HASH)
    roots = [list_root(operations) for operations in block.hashes]
    assert list_root(roots) == expected
    for number, operations in enumerate(block.hashes):
        for index, item in enumerate(operations):
            steps = path(operations, index)
            root = climb(item, index, steps)
            assert root == roots[number]
            assert climb(root, number, path(roots, number)) == expected
            assert all(climb(item, other, steps) != root for other in range(2 << len(steps)) if other != index)
            assert climb(item, index, [*steps, steps[-1] if steps else item]) != root
            assert not steps or climb(item, index & ~(1 << len(steps) - 1), steps[:-1]) != root


@pytest.mark.parametrize("number", PASSES)
def test_every_operation_has_a_receipt_that_leads_to_the_block(block: RealBlock, number: int) -> None:
    for index, raw in enumerate(raw_operations(block, number)):
        assert blake2b(raw) == block.hashes[number][index]
        assert problems(block.receipt(raw, number, index)) == set()


@pytest.mark.parametrize("number", PASSES)
def test_no_receipt_survives_a_flipped_bit_or_a_wrong_place(block: RealBlock, number: int) -> None:
    chance = random.Random(number)
    for index, raw in enumerate(raw_operations(block, number)):
        receipt = block.receipt(raw, number, index)
        for name in ("header", "operation", "op_path", "pass_path"):
            assert problems({**receipt, name: flipped(receipt[name], chance)}), (index, name)
        wrong = [place for place in range(2 << len(receipt["op_path"])) if place != index]
        for place in (*chance.sample(wrong, min(4, len(wrong))), index ^ 1, 2**31 - 1):
            assert problems({**receipt, "op_index": place}), (index, place)
        for name in ("op_path", "pass_path"):
            assert problems({**receipt, name: receipt[name][:-1]}) or not receipt[name]
            assert problems({**receipt, name: [*receipt[name], "00" * 32]})


def test_every_flipped_bit_of_one_real_receipt_is_refused(block: RealBlock) -> None:
    raw = raw_operations(block, 3)[-1]
    receipt = block.receipt(raw, 3, len(block.hashes[3]) - 1)
    for name in ("header", "operation"):
        data = bytearray.fromhex(receipt[name])
        for bit in range(8 * len(data)):
            data[bit // 8] ^= 1 << bit % 8
            assert problems({**receipt, name: data.hex()}), (name, bit)
            data[bit // 8] ^= 1 << bit % 8


def test_every_transaction_is_read_as_it_was_meant(block: RealBlock) -> None:
    seen = 0
    for raw, item in zip(raw_operations(block, 3), block.document["operations"][3], strict=True):
        kinds = {content["kind"] for content in item["contents"]}
        if not kinds <= {"transaction", "reveal"}:
            continue
        for content, found in zip(item["contents"], parse_operation(raw).contents, strict=True):
            if content["kind"] != "transaction":
                assert found is None
                continue
            assert found is not None
            assert (found.source, found.destination) == (content["source"], content["destination"])
            assert found.entrypoint == content.get("parameters", {}).get("entrypoint", "default")
            seen += 1
    assert seen > 30


def test_no_real_transaction_anchors_a_value_it_does_not_carry(block: RealBlock) -> None:
    known = TezosTrust(block_hashes=frozenset({block.document["hash"]}))
    for index, raw in enumerate(raw_operations(block, 3)):
        receipt = block.receipt(raw, 3, index) | {"value": "00" * 32}
        assert check_receipt(json.dumps(receipt).encode(), value=bytes(32), trust=known).status == "invalid"


def test_a_real_pass_has_the_shape_that_the_tests_forge(block: RealBlock) -> None:
    for operations in block.hashes:
        assert list_root(operations) == tree(operations)[-1][0]


def flipped(value: str | list[str], chance: random.Random) -> str | list[str]:
    if isinstance(value, list):
        if not value:
            return ["00" * 32]
        place = chance.randrange(len(value))
        return [*value[:place], str(flipped(value[place], chance)), *value[place + 1 :]]
    data = bytearray.fromhex(value)
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data.hex()
