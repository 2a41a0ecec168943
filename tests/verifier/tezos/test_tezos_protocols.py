"""Blocks of other protocols: headers changed their layout again and again, and receipts outlive protocols."""

import json
import struct
from typing import Any

import pytest

from tests.verifier.tezos.forge import TIME, VALUE, blake2b, block
from verifier.tezos import TezosTrust, base58, check_receipt
from verifier.tezos.block import parse_header
from verifier.tezos.verify import ReceiptResult

NONCE, SEED, SIGNATURE, BLS_SIGNATURE, PAYLOAD = b"n" * 8, b"h" * 32, b"s" * 64, b"\x81" * 96, b"p" * 32
# Fitness until Hangzhou, and from Ithaca on: the round in which a value was locked is there only sometimes.
EMMY = b"\x01", (999).to_bytes(8)
TENDERBAKE = b"\x02", (1000).to_bytes(4), b"", b"\xff\xff\xff\xff", bytes(4)
LOCKED = b"\x02", (1000).to_bytes(4), bytes(4), b"\xff\xff\xff\xfe", (1).to_bytes(4)

LAYOUTS: dict[str, dict[str, Any]] = {
    "first protocols": {"fitness": (b"\x00", (999).to_bytes(8)), "data": b"\0\0" + NONCE + b"\0" + SIGNATURE},
    "Babylon with a seed nonce": {"fitness": EMMY, "data": b"\0\x07" + NONCE + b"\xff" + SEED + SIGNATURE},
    "Granada with an escape vote": {"fitness": EMMY, "data": b"\0\0" + NONCE + b"\0\xff" + SIGNATURE},
    "Ithaca": {"fitness": TENDERBAKE, "data": PAYLOAD + bytes(4) + NONCE + b"\0\0" + SIGNATURE},
    "a locked round": {"fitness": LOCKED, "data": PAYLOAD + b"\0\0\0\1" + NONCE + b"\xff" + SEED + b"\1" + SIGNATURE},
    "Seoul signed with BLS": {"fitness": TENDERBAKE, "data": PAYLOAD + bytes(4) + NONCE + b"\0\5" + BLS_SIGNATURE},
    "one that is yet to come": {"fitness": (), "data": b"anything" * 400, "proto": 255},
    "a block of 2018": {"fitness": EMMY, "data": SIGNATURE, "seconds": 1_530_000_000},
}


def result(
    *, fitness: tuple[bytes, ...], data: bytes, proto: int = 1, passes: int = 4, seconds: int = TIME
) -> ReceiptResult:
    """What a receipt shows whose block is known and has a header of that form."""
    receipt = block().document()
    items = b"".join(len(item).to_bytes(4) + item for item in fitness)
    root = parse_header(bytes.fromhex(receipt["header"])).operations_hash
    fixed = struct.pack(">iB32sqB32sI", 1000, proto, bytes(32), seconds, passes, root, len(items))
    raw = fixed + items + bytes(32) + data
    block_hash = base58.encode(base58.BLOCK_HASH, blake2b(raw))
    receipt |= {"header": raw.hex(), "block_hash": block_hash}
    trust = TezosTrust(block_hashes=frozenset({block_hash}))
    return check_receipt(json.dumps(receipt).encode(), value=VALUE, trust=trust)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_receipt_of_any_protocol_is_valid(layout: str) -> None:
    found = result(**LAYOUTS[layout])
    assert found.status == "valid", found.findings
    assert found.level == 1000


@pytest.mark.parametrize("passes", [0, 1, 3, 5, 255])
def test_a_block_with_other_validation_passes_is_refused_in_plain_words(passes: int) -> None:
    found = result(**LAYOUTS["Ithaca"], passes=passes)
    assert found.status == "invalid"
    assert [finding.code for finding in found.findings] == ["tezos-unreadable"]
    assert "4 validation passes" in found.findings[0].message


@pytest.mark.parametrize("fitness", [b"\0\0\0\2\1", b"\0\0\0", b"\xff\xff\xff\xff"])
def test_a_header_whose_fitness_is_no_list_is_refused(fitness: bytes) -> None:
    receipt = block().document()
    raw = bytes.fromhex(receipt["header"])
    fixed = struct.Struct(">iB32sqB32sI")
    members = fixed.unpack_from(raw)
    changed = fixed.pack(*members[:-1], len(fitness)) + fitness + raw[fixed.size + members[-1] :]
    receipt |= {"header": changed.hex(), "block_hash": base58.encode(base58.BLOCK_HASH, blake2b(changed))}
    trust = TezosTrust(block_hashes=frozenset({receipt["block_hash"]}))
    found = check_receipt(json.dumps(receipt).encode(), value=VALUE, trust=trust)
    assert [finding.code for finding in found.findings] == ["tezos-unreadable"]
