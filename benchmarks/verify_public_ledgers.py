"""How many proofs of public ledgers the verifier judges in a second, against the bare hashes and signature they need.

`python -m benchmarks.verify_public_ledgers` prints the lines by itself; `make bench` prints them with the others.
"""

import hashlib
import json
import struct
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.figures import compared, figure, show
from verifier.opentimestamps import check_proof
from verifier.opentimestamps.proof import BITCOIN_TAG, PENDING_TAG
from verifier.tezos import TezosTrust, base58, check_receipt

PROOFS = 2_000
VALUE = hashlib.sha256(b"a head").digest()
# A busy block: 256 operations in the pass of transactions, so a path of eight steps.
STEPS = 8
# What a calendar's proof of today looks like: some 40 steps up to the block, beside three promises.
CALENDAR_STEPS = 40


def verify_public_ledgers(rounds: int) -> None:
    """Show proofs per second for Tezos receipts and OpenTimestamps proofs."""
    for name, unit, judge, floor in (("tezos", "receipts/s", *_tezos()), ("ots", "proofs/s", *_opentimestamps())):
        turns = [(_per_second(floor), _per_second(judge)) for _ in range(rounds)]
        bare, judged = (sorted(turn)[rounds // 2] for turn in zip(*turns, strict=True))
        bare_line = figure(f"bare_{name}", bare, unit)
        show(bare_line)
        show(compared(figure(f"verify_{name}", judged, unit), bare_line, at_least=FLOORS[name]))


# Of a receipt the signature is most of the work; of a proof reading it is.
FLOORS = {"tezos": 0.25, "ots": 0.05}


def _per_second(work: Callable[[], None]) -> float:
    work()
    started = time.perf_counter()
    for _ in range(PROOFS):
        work()
    return PROOFS / (time.perf_counter() - started)


def _blake2b(data: bytes, size: int = 32) -> bytes:
    return hashlib.blake2b(data, digest_size=size).digest()


def _tezos() -> tuple[Callable[[], None], Callable[[], None]]:
    key = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    public = key.public_key()
    raw_key = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    parameter = b"\x0a" + struct.pack(">I", len(VALUE)) + VALUE
    unsigned = bytes(32) + b"\x6c\x00" + _blake2b(raw_key, 20) + bytes(5) + b"\x01" + bytes(21) + b"\xff\xff\x06anchor"
    unsigned += struct.pack(">I", len(parameter)) + parameter
    digest = _blake2b(b"\x03" + unsigned)
    signature = key.sign(digest)
    operation = unsigned + signature
    path = [_blake2b(b"%d" % step) for step in range(STEPS)]
    passes = [_blake2b(b"pass 2"), _blake2b(b"passes 0 and 1")]
    node = _blake2b(_blake2b(operation))
    for step in path:
        node = _blake2b(node + step)
    root = _blake2b(passes[1] + _blake2b(passes[0] + _blake2b(node)))
    header = struct.pack(">iB32sqB32sI", 1, 1, bytes(32), 1_790_000_000, 4, root, 0) + bytes(200)
    block_hash = base58.encode(base58.BLOCK_HASH, _blake2b(header))
    receipt = json.dumps(
        {
            "format": "indelible-tezos-receipt/1",
            "chain_id": "NetXdQprcVkpaWU",
            "block_hash": block_hash,
            "level": 1,
            "header": header.hex(),
            "operation": operation.hex(),
            "operation_hash": base58.encode(base58.OPERATION_HASH, _blake2b(operation)),
            "pass": 3,
            "pass_path": [step.hex() for step in passes],
            "op_index": 0,
            "op_path": [step.hex() for step in path],
            "content_index": 0,
            "contract": base58.encode(base58.CONTRACT, bytes(20)),
            "entrypoint": "anchor",
            "value": VALUE.hex(),
            "signer": {
                "public_key": base58.encode(bytes([13, 15, 37, 217]), raw_key),
                "address": base58.encode(bytes([6, 161, 159]), _blake2b(raw_key, 20)),
            },
            "aggregation": None,
            "observations": [],
        }
    ).encode()
    trust = TezosTrust(block_hashes=frozenset({block_hash}))

    def judge() -> None:
        if not check_receipt(receipt, value=VALUE, trust=trust).ok:
            raise RuntimeError("the receipt was not verified")

    def floor() -> None:
        _blake2b(header)
        node = _blake2b(_blake2b(operation))
        for step in path:
            node = _blake2b(node + step)
        node = _blake2b(node)
        for step in passes:
            node = _blake2b(step + node)
        public.verify(signature, _blake2b(b"\x03" + unsigned))

    return judge, floor


def _opentimestamps() -> tuple[Callable[[], None], Callable[[], None]]:
    siblings = [hashlib.sha256(b"%d" % step).digest() for step in range(CALENDAR_STEPS)]
    steps = b"".join(b"\xf1\x20" + sibling + b"\x08" for sibling in siblings)
    promise = b"\xff\x00" + PENDING_TAG + b"\x1d\x1chttps://calendar.example/one"
    start = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94\x01\x08" + VALUE
    proof = start + promise * 3 + steps + b"\x00" + BITCOIN_TAG + b"\x03\xa0\xf7\x36"

    def judge() -> None:
        if check_proof(proof, digest=VALUE).status != "anchored-unchecked":
            raise RuntimeError("the proof was not followed to its block")

    def floor() -> None:
        message = VALUE
        for sibling in siblings:
            message = hashlib.sha256(sibling + message).digest()

    return judge, floor


if __name__ == "__main__":
    verify_public_ledgers(3)
