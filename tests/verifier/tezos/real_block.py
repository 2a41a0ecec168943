"""A real block of the main network, out of the corpus, as the raw bytes that a receipt carries."""

import json
import struct
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.verifier.tezos.forge import path, tree
from verifier.tezos import base58

FILE = "mainnet-2490368-ithaca.json"
LIST_LIST_HASH, CONTEXT, PAYLOAD, NONCE_HASH = (
    bytes([29, 159, 109]),
    bytes([79, 199]),
    bytes([1, 106, 242]),
    bytes([69, 220, 169]),
)
SIGNATURE = bytes([4, 130, 43])


@dataclass(frozen=True, kw_only=True)
class RealBlock:
    document: dict[str, Any]
    header: bytes
    hashes: list[list[bytes]]
    """The hash of every operation, by validation pass."""

    def receipt(self, raw: bytes, number: int, index: int, content_index: int = 0) -> dict[str, Any]:
        """A receipt for the signed operation `raw` at `index` of pass `number`; what it says is that of the block."""
        roots = [tree(operations)[-1][0] for operations in self.hashes]
        item = self.document["operations"][number][index]
        content = item["contents"][content_index]
        parameters = content.get("parameters", {})
        return {
            "format": "indelible-tezos-receipt/1",
            "chain_id": self.document["chain_id"],
            "block_hash": self.document["hash"],
            "level": self.document["header"]["level"],
            "header": self.header.hex(),
            "operation": raw.hex(),
            "operation_hash": item["hash"],
            "pass": number,
            "pass_path": [step.hex() for step in path(roots, number)],
            "op_index": index,
            "op_path": [step.hex() for step in path(self.hashes[number], index)],
            "content_index": content_index,
            "contract": content.get("destination", "none"),
            "entrypoint": parameters.get("entrypoint", "default"),
            "value": parameters.get("value", {}).get("bytes", "") if isinstance(parameters.get("value"), dict) else "",
            "signer": {"public_key": "none", "address": content.get("source", "none")},
            "aggregation": None,
            "observations": [],
        }


def hash_of(text: str, prefix: bytes, length: int = 32) -> bytes:
    raw = base58.decode(text, prefix, length)
    assert raw is not None
    return raw


def read_block(corpus: Path) -> RealBlock:
    document = json.loads((corpus / "tezos" / FILE).read_bytes())
    hashes = [
        [hash_of(item["hash"], base58.OPERATION_HASH) for item in operations] for operations in document["operations"]
    ]
    return RealBlock(document=document, header=_header(document["header"]), hashes=hashes)


def raw_operations(block: RealBlock, number: int) -> list[bytes]:
    """The signed operations of a pass: the corpus has them as JSON."""
    return [
        _unsigned(item) + hash_of(item["signature"], SIGNATURE, 64) for item in block.document["operations"][number]
    ]


def _unsigned(item: dict[str, Any]) -> bytes:
    content = item["contents"][0]
    if content["kind"] == "endorsement":  # which pytezos writes as a later protocol does
        place = struct.pack(">BHii", 21, content["slot"], content["level"], content["round"])
        return hash_of(item["branch"], base58.BLOCK_HASH) + place + hash_of(content["block_payload_hash"], PAYLOAD)
    forge = pytest.importorskip("pytezos.operation.forge", reason="pytezos (extra `tezos`) writes the operations")
    return bytes(forge.forge_operation_group(item))


def header_signed_with_bls(corpus: Path) -> tuple[dict[str, Any], bytes]:
    """A header of protocol Seoul with the 96-byte signature of its baker: its JSON and its raw bytes."""
    header = json.loads((corpus / "tezos" / "ghostnet-16718489-seoul-header-bls.json").read_bytes())
    votes = {"on": 0, "off": 1, "pass": 2}
    voted = votes[header["liquidity_baking_toggle_vote"]] | votes[header["adaptive_issuance_vote"]] << 2
    # The signature's text is longer than any that the verifier reads.
    number = 0
    for character in header["signature"]:
        number = number * 58 + "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".index(character)
    signature = number.to_bytes(4 + 96 + 4)[4:-4]
    return header, _shell(header) + _consensus(header) + bytes([0, voted]) + signature


def _header(header: dict[str, Any]) -> bytes:
    """The raw header of protocol Ithaca, from its JSON: a receipt never needs this, for it keeps the raw bytes."""
    nonce = b"\xff" + hash_of(header["seed_nonce_hash"], NONCE_HASH) if "seed_nonce_hash" in header else b"\x00"
    vote = b"\xff" if header["liquidity_baking_escape_vote"] else b"\x00"
    return _shell(header) + _consensus(header) + nonce + vote + hash_of(header["signature"], SIGNATURE, 64)


def _shell(header: dict[str, Any]) -> bytes:
    fitness = b"".join(len(item).to_bytes(4) + item for item in map(bytes.fromhex, header["fitness"]))
    fixed = struct.pack(
        ">iB32sqB32sI",
        header["level"],
        header["proto"],
        hash_of(header["predecessor"], base58.BLOCK_HASH),
        int(datetime.fromisoformat(header["timestamp"]).timestamp()),
        header["validation_pass"],
        hash_of(header["operations_hash"], LIST_LIST_HASH),
        len(fitness),
    )
    return fixed + fitness + hash_of(header["context"], CONTEXT)


def _consensus(header: dict[str, Any]) -> bytes:
    place = hash_of(header["payload_hash"], PAYLOAD) + int(header["payload_round"]).to_bytes(4)
    return place + bytes.fromhex(header["proof_of_work_nonce"])
