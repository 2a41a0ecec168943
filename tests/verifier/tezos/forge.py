"""Makes Tezos blocks with one anchoring transaction, so that tests can break any single thing about them."""

import hashlib
import json
import struct
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from verifier.tezos import base58

PUBLIC_KEYS = bytes([13, 15, 37, 217]), bytes([3, 254, 226, 86]), bytes([3, 178, 139, 127]), bytes([6, 149, 135, 204])
ADDRESSES = bytes([6, 161, 159]), bytes([6, 161, 161]), bytes([6, 161, 164]), bytes([6, 161, 166])
CONTRACT_HASH = bytes(range(20))
CONTRACT = base58.encode(base58.CONTRACT, CONTRACT_HASH)
NETWORK = base58.encode(base58.CHAIN_ID, b"test")
VALUE = hashlib.sha256(b"a head").digest()
TIME = 1_790_000_000


def blake2b(data: bytes, size: int = 32) -> bytes:
    return hashlib.blake2b(data, digest_size=size).digest()


class Signer:
    """A key of one of the four kinds. Nothing here can make BLS signatures, so those of the fourth are noise."""

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self._key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | None = None
        if kind == 3:
            raw = bytes(range(48))
        elif kind == 0:
            self._key = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
            raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        else:
            self._key = ec.derive_private_key(7, ec.SECP256K1() if kind == 1 else ec.SECP256R1())
            raw = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        self.hash = blake2b(raw, 20)
        self.public_key = base58.encode(PUBLIC_KEYS[kind], raw)
        self.address = base58.encode(ADDRESSES[kind], self.hash)

    def sign(self, unsigned: bytes) -> bytes:
        message = blake2b(b"\x03" + unsigned)
        if self._key is None:
            return message * 3
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        encoded = self._key.sign(message, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        return b"".join(number.to_bytes(32) for number in utils.decode_dss_signature(encoded))


def transaction(signer: Signer, value: bytes = VALUE, entrypoint: bytes = b"\xff\x06anchor") -> bytes:
    parameter = b"\x0a" + struct.pack(">I", len(value)) + value
    numbers = b"\x90\x03" + b"\x05" + b"\xe8\x07" + b"\x00" + b"\x00"
    destination = b"\x01" + CONTRACT_HASH + b"\x00"
    called = b"\xff" + entrypoint + struct.pack(">I", len(parameter)) + parameter
    return b"\x6c" + bytes([signer.kind]) + signer.hash + numbers + destination + called


def operation(signer: Signer, contents: bytes) -> bytes:
    """A signed operation as blocks carry it: a BLS signature has its own prefix."""
    unsigned = bytes(32) + contents
    return unsigned + (b"\xff\x03" if signer.kind == 3 else b"") + signer.sign(unsigned)


def reveal(signer: Signer, proof: bytes = b"") -> bytes:
    """A content that publishes the signer's key."""
    raw = base58.decode(signer.public_key, PUBLIC_KEYS[signer.kind], (32, 33, 33, 48)[signer.kind])
    assert raw is not None
    return b"\x6b" + bytes([signer.kind]) + signer.hash + b"\x01" * 4 + bytes([signer.kind]) + raw + proof


def tree(items: list[bytes]) -> list[list[bytes]]:
    """Every level of the list tree, leaves first."""
    leaves = [blake2b(item) for item in items] or [blake2b(b"")]
    size = 1
    while size < len(leaves):
        size *= 2
    levels = [leaves + [leaves[-1]] * (size - len(leaves))]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([blake2b(below[place] + below[place + 1]) for place in range(0, len(below), 2)])
    return levels


def path(items: list[bytes], index: int) -> list[bytes]:
    return [level[(index >> height) ^ 1] for height, level in enumerate(tree(items)[:-1])]


def header(operations_hash: bytes, level: int = 1000) -> bytes:
    fitness = b"\x00\x00\x00\x01\x02" + b"\x00\x00\x00\x04" + level.to_bytes(4)
    fixed = struct.pack(">iB32sqB32sI", level, 1, bytes(32), TIME, 4, operations_hash, len(fitness))
    return fixed + fitness + bytes(32) + b"protocol data and the baker's signature"


@dataclass
class Block:
    """A block whose fourth pass holds `operations`, one of which is the anchoring one."""

    operations: list[bytes]
    index: int
    signer: Signer
    value: bytes = VALUE
    content_index: int = 0
    changes: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        operation_hashes = [blake2b(item) for item in self.operations]
        passes = [tree([])[0][0]] * 3 + [tree(operation_hashes)[-1][0]]
        raw = header(tree(passes)[-1][0])
        return {
            "format": "indelible-tezos-receipt/1",
            "chain_id": NETWORK,
            "block_hash": base58.encode(base58.BLOCK_HASH, blake2b(raw)),
            "level": 1000,
            "header": raw.hex(),
            "operation": self.operations[self.index].hex(),
            "operation_hash": base58.encode(base58.OPERATION_HASH, operation_hashes[self.index]),
            "pass": 3,
            "pass_path": [step.hex() for step in path(passes, 3)],
            "op_index": self.index,
            "op_path": [step.hex() for step in path(operation_hashes, self.index)],
            "content_index": self.content_index,
            "contract": CONTRACT,
            "entrypoint": "anchor",
            "value": self.value.hex(),
            "signer": {"public_key": self.signer.public_key, "address": self.signer.address},
            "aggregation": None,
            "observations": [],
            **self.changes,
        }

    def receipt(self) -> bytes:
        return json.dumps(self.document()).encode()


def block(kind: int = 0, *, others: int = 6, index: int = 2, **changes: Any) -> Block:
    signer = Signer(kind)
    operations = [operation(signer, transaction(signer, bytes([number]) * 32)) for number in range(others)]
    operations.insert(index, operation(signer, transaction(signer)))
    return Block(operations=operations, index=index, signer=signer, changes=changes)
