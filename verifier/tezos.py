"""Tezos receipts: from a 32-byte value to a block hash, with nothing but hashing and one signature.

What must hold (docs/spec/tezos-receipt.md), in the order it is checked by `check_receipt`:

1. the receipt is one JSON object with exactly the members of `indelible-tezos-receipt/1`;
2. BLAKE2b-256 of the raw header is the block hash, and the header's level is the receipt's;
3. the signed operation's hash leads through `op_path` to the root of its validation pass, and that root through
   `pass_path` to the header's operations hash;
4. the operation is a transaction to the contract and entry point the receipt names, its parameter is the anchored
   value, its source is the signer, and the signer's key signed it;
5. the contract, signer and network are ones the user trusts, when the user's policy names any;
6. the value is the expected one, or the root of an aggregation that leads from the expected one;
7. the block is on the network: its hash is one the user knows. Without that everything above could have been made up
   by anybody with a computer, so the receipt stays "unconfirmed".
"""

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from verifier.findings import Finding, Severity

FORMAT = "indelible-tezos-receipt/1"
MAX_RECEIPT_BYTES = 256 * 1024
MAX_OPERATION_BYTES = 64 * 1024  # the protocol's own limit is 32 KiB
MAX_PATH = 16  # 65,536 operations in one pass, or heads under one root
MANAGER_PASS = 3
PASSES = 4
PASS_PATH_LENGTH = 2  # four passes make a tree of two levels

HASH_BYTES = 32
ADDRESS_BYTES = 20
SIGNATURE_BYTES = 64
WATERMARK = b"\x03"

# Prefixes of the base58check texts, and the length of what follows.
BLOCK_HASH = bytes([1, 52])
OPERATION_HASH = bytes([5, 116])
CHAIN_ID = bytes([87, 82, 0])
CONTRACT = bytes([2, 90, 121])
ADDRESSES = {0: bytes([6, 161, 159]), 1: bytes([6, 161, 161]), 2: bytes([6, 161, 164])}
PUBLIC_KEYS = {0: bytes([13, 15, 37, 217]), 1: bytes([3, 254, 226, 86]), 2: bytes([3, 178, 139, 127])}
PUBLIC_KEY_BYTES = {0: 32, 1: 33, 2: 33, 3: 48}

TRANSACTION, REVEAL = 108, 107
ENTRYPOINTS = (
    "default",
    "root",
    "do",
    "set_delegate",
    "remove_delegate",
    "deposit",
    "stake",
    "unstake",
    "finalize_unstake",
    "set_delegate_parameters",
)
NAMED_ENTRYPOINT = 255
MICHELINE_BYTES = 0x0A

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
MEMBERS = {
    "format",
    "chain_id",
    "block_hash",
    "level",
    "header",
    "operation",
    "operation_hash",
    "pass",
    "pass_path",
    "op_index",
    "op_path",
    "content_index",
    "contract",
    "entrypoint",
    "value",
    "signer",
    "aggregation",
    "observations",
}


class UnusableReceipt(ValueError):
    """The bytes are not a Tezos receipt of the known format; the message names the member."""


class _Contradiction(Exception):
    """Something in the receipt contradicts something else in it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True, slots=True)
class TezosTrust:
    """What the user trusts. Empty sets trust nothing for `block_hashes`, and do not restrict for the others."""

    chain_id: str | None = None
    contracts: frozenset[str] = frozenset()
    signers: frozenset[str] = frozenset()
    block_hashes: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptResult:
    """What a receipt shows; `time` is the block's own, set by its baker and checked by the network to the second."""

    ok: bool
    status: Literal["valid", "unconfirmed", "invalid"]
    level: int | None
    block_hash: str | None
    time: datetime | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The members of a raw block header that the check needs."""

    level: int
    time: datetime
    operations_hash: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Transaction:
    """One transaction of a signed operation. `value` is None unless its parameter is plain bytes."""

    source: str
    destination: str
    entrypoint: str
    value: bytes | None


def check_receipt(receipt: bytes, *, value: bytes, trust: TezosTrust) -> ReceiptResult:
    """Checks `receipt` for a 32-byte `value`. Never raises on bytes."""
    try:
        document = parse_receipt(receipt)
        header = check_inclusion(document)
        _check_transaction(document)
        _check_trusted_names(document, trust)
        _check_value(document, value)
    except UnusableReceipt as error:
        return _invalid("tezos-unreadable", f"The receipt cannot be used: {error}.")
    except _Contradiction as error:
        return _invalid(error.code, str(error))
    block_hash = document["block_hash"]
    confirmed = block_hash in trust.block_hashes
    return ReceiptResult(
        ok=confirmed,
        status="valid" if confirmed else "unconfirmed",
        level=header.level,
        block_hash=block_hash,
        time=header.time,
        findings=(_confirmed(header, block_hash) if confirmed else _unconfirmed(header, block_hash),),
    )


def parse_receipt(data: bytes) -> dict[str, Any]:
    """Parses a receipt strictly and decodes its hexadecimal members. Raises UnusableReceipt, and nothing else."""
    if len(data) > MAX_RECEIPT_BYTES:
        raise UnusableReceipt(f"it is larger than {MAX_RECEIPT_BYTES} bytes")
    try:
        document = json.loads(data, object_pairs_hook=_unique_members, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise UnusableReceipt(f"it is not strict JSON ({error})") from None
    if not isinstance(document, dict) or set(document) != MEMBERS:
        raise UnusableReceipt(f"it does not have exactly the members of {FORMAT}")
    if document["format"] != FORMAT:
        raise UnusableReceipt(f"its format is not {FORMAT}")
    for name in ("header", "operation", "value"):
        document[name] = _hex(document[name], name, MAX_OPERATION_BYTES)
    for name in ("pass_path", "op_path"):
        document[name] = _path(document[name], name)
    for name in ("level", "pass", "op_index", "content_index"):
        document[name] = _count(document[name], name)
    for name in ("chain_id", "block_hash", "operation_hash", "contract", "entrypoint"):
        _text(document[name], name)
    document["signer"] = _object(document["signer"], "signer", {"public_key", "address"})
    for name, text in document["signer"].items():
        _text(text, f"signer.{name}")
    if document["aggregation"] is not None:
        aggregation = _object(document["aggregation"], "aggregation", {"leaf_index", "tree_size", "path"})
        aggregation["leaf_index"] = _count(aggregation["leaf_index"], "aggregation.leaf_index")
        aggregation["tree_size"] = _count(aggregation["tree_size"], "aggregation.tree_size")
        aggregation["path"] = _path(aggregation["path"], "aggregation.path")
    return document


def check_inclusion(document: dict[str, Any]) -> Header:
    """Leads from the operation's bytes to the block hash, or raises."""
    header = parse_header(document["header"])
    if base58check(BLOCK_HASH, _blake2b(document["header"])) != document["block_hash"]:
        raise _Contradiction("tezos-block-hash", "The block header does not hash to the block hash of the receipt.")
    if header.level != document["level"]:
        raise _Contradiction(
            "tezos-level", f"The header is of level {header.level}, the receipt says {document['level']}."
        )
    operation_hash = operation_digest(document["operation"])
    if base58check(OPERATION_HASH, operation_hash) != document["operation_hash"]:
        raise _Contradiction(
            "tezos-operation-hash", "The signed operation does not hash to the receipt's operation hash."
        )
    if document["pass"] >= PASSES or len(document["pass_path"]) != PASS_PATH_LENGTH:
        raise _Contradiction("tezos-pass-path", "The path over the validation passes has the wrong length or position.")
    pass_root = _climb(_blake2b(operation_hash), document["op_index"], document["op_path"])
    operations_hash = _climb(_blake2b(pass_root), document["pass"], document["pass_path"])
    if operations_hash != header.operations_hash:
        raise _Contradiction(
            "tezos-path", "The operation's path does not lead to the operations hash of the block header."
        )
    return header


def parse_header(raw: bytes) -> Header:
    """Reads a raw block header up to its protocol data, which is the rest and is not interpreted."""
    fixed = struct.Struct(">iB32sqB32sI")
    if len(raw) < fixed.size:
        raise UnusableReceipt("header is too short")
    level, _, _, seconds, passes, operations_hash, fitness_bytes = fixed.unpack_from(raw)
    place = fixed.size
    end = place + fitness_bytes
    while place < end:
        if end > len(raw) or end - place < 4:
            raise UnusableReceipt("header has a malformed fitness")
        place += 4 + int.from_bytes(raw[place : place + 4])
    if place != end or len(raw) <= end + HASH_BYTES or passes != PASSES or level < 0:
        raise UnusableReceipt("header is malformed")
    try:
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        raise UnusableReceipt("header has an impossible time") from None
    return Header(level=level, time=time, operations_hash=operations_hash)


def operation_digest(operation: bytes) -> bytes:
    """The hash of a signed operation; one with a BLS signature must be given in its prefixed form by the caller."""
    return _blake2b(operation)


def list_root(items: list[bytes]) -> bytes:
    """Root of the Tezos list tree over `items`: padded to a power of two by repeating the last leaf."""
    if not items:
        return _blake2b(b"")
    level = [_blake2b(item) for item in items]
    # The leaves are padded, not each level: with 6 leaves the fourth pair is (last, last), not a copy of the third.
    level += [level[-1]] * ((1 << (len(level) - 1).bit_length()) - len(level))
    while len(level) > 1:
        level = [_blake2b(left + right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def _check_transaction(document: dict[str, Any]) -> None:
    if document["pass"] != MANAGER_PASS:
        raise _Contradiction("tezos-pass", "The operation is not in the validation pass of manager operations.")
    operation = document["operation"]
    transaction = _transaction(operation, document["content_index"])
    if transaction.destination != document["contract"]:
        raise _Contradiction("tezos-contract", "The transaction went to another contract than the receipt says.")
    if transaction.entrypoint != document["entrypoint"]:
        raise _Contradiction("tezos-entrypoint", "The transaction called another entry point than the receipt says.")
    if transaction.value != document["value"] or len(document["value"]) != HASH_BYTES:
        raise _Contradiction("tezos-parameter", "The transaction's parameter is not the 32-byte value of the receipt.")
    signer = document["signer"]
    tag, key = _public_key(signer["public_key"])
    address = base58check(ADDRESSES[tag], hashlib.blake2b(key, digest_size=ADDRESS_BYTES).digest())
    if not transaction.source == address == signer["address"]:
        raise _Contradiction("tezos-signer", "The transaction's source is not the address of the receipt's signer.")
    if not _signed_by(tag, key, operation):
        raise _Contradiction("tezos-signature", "The signer's key did not sign the operation.")


def _check_trusted_names(document: dict[str, Any], trust: TezosTrust) -> None:
    if trust.chain_id is not None and document["chain_id"] != trust.chain_id:
        raise _Contradiction(
            "tezos-network", f"The receipt is for network {document['chain_id']}, not {trust.chain_id}."
        )
    if trust.contracts and document["contract"] not in trust.contracts:
        raise _Contradiction("tezos-contract-untrusted", "The contract is not one that the trust policy names.")
    if trust.signers and document["signer"]["address"] not in trust.signers:
        raise _Contradiction("tezos-signer-untrusted", "The signer is not one that the trust policy names.")


def _check_value(document: dict[str, Any], value: bytes) -> None:
    aggregation = document["aggregation"]
    if aggregation is None:
        if document["value"] != value:
            raise _Contradiction("tezos-value", "The anchored value is not the expected one.")
        return
    root = merkle_root_from_path(value, aggregation["leaf_index"], aggregation["tree_size"], aggregation["path"])
    if root != document["value"]:
        raise _Contradiction(
            "tezos-aggregation", "The path does not lead from the expected value to the anchored root."
        )


def merkle_root_from_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """Root of the RFC 9162 tree of `size` leaves from an inclusion path (section 2.1.3.2); None when it cannot fit."""
    if index >= size:
        return None
    node, last, place = hashlib.sha256(b"\x00" + leaf).digest(), size - 1, index
    for sibling in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        place, last = place >> 1, last >> 1
    return node if last == 0 else None


def _climb(node: bytes, index: int, path: list[bytes]) -> bytes:
    # A path of n steps has room for 2^n positions; a larger index would be the same position under another name.
    if index >> len(path):
        raise _Contradiction("tezos-path", "The position in a path lies outside the tree the path belongs to.")
    for sibling in path:
        node = _blake2b(sibling + node if index & 1 else node + sibling)
        index >>= 1
    return node


def _transaction(operation: bytes, wanted: int) -> Transaction:
    """The content at position `wanted` of a signed operation. Only reveals and transactions may stand before it."""
    if len(operation) < HASH_BYTES + SIGNATURE_BYTES:
        raise UnusableReceipt("operation is too short")
    reader = _Reader(operation[HASH_BYTES:-SIGNATURE_BYTES])
    found: Transaction | None = None
    for position, content in enumerate(_contents(reader)):
        if position == wanted:
            found = content
    if found is None:
        raise _Contradiction("tezos-content", "There is no transaction at the content index of the receipt.")
    return found


def _contents(reader: "_Reader") -> Iterator[Transaction | None]:
    while not reader.finished:
        tag = reader.byte()
        if tag not in {TRANSACTION, REVEAL}:
            raise UnusableReceipt(f"operation holds a content of kind {tag}, which anchoring never uses")
        source = reader.implicit_address()
        for _ in ("fee", "counter", "gas limit", "storage limit"):
            reader.skip_natural()
        if tag == REVEAL:
            reader.skip_reveal()
            yield None
        else:
            yield reader.transaction(source)


def _signed_by(tag: int, key: bytes, operation: bytes) -> bool:
    message = _blake2b(WATERMARK + operation[:-SIGNATURE_BYTES])
    signature = operation[-SIGNATURE_BYTES:]
    try:
        if tag == 0:
            ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
            return True
        curve = ec.SECP256K1() if tag == 1 else ec.SECP256R1()
        half = SIGNATURE_BYTES // 2
        encoded = utils.encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
        # The 32-byte BLAKE2b digest is signed as it is; SHA256 here only tells the library its length.
        public_key = ec.EllipticCurvePublicKey.from_encoded_point(curve, key)
        public_key.verify(encoded, message, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


def _public_key(text: str) -> tuple[int, bytes]:
    for tag, prefix in PUBLIC_KEYS.items():
        raw = base58check_decode(text, prefix, PUBLIC_KEY_BYTES[tag])
        if raw is not None:
            return tag, raw
    raise UnusableReceipt("signer.public_key is no Ed25519, secp256k1 or P-256 key of Tezos")


def base58check(prefix: bytes, payload: bytes) -> str:
    """The text form of a Tezos hash, address or key."""
    body = prefix + payload
    body += hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4]
    number, text = int.from_bytes(body), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" * (len(body) - len(body.lstrip(b"\0"))) + text


def base58check_decode(text: str, prefix: bytes, length: int) -> bytes | None:
    """What `base58check` encoded, or None when `text` is anything else."""
    if len(text) > 128 or any(digit not in BASE58 for digit in text):
        return None
    number = 0
    for digit in text:
        number = number * 58 + BASE58.index(digit)
    body_length = len(prefix) + length + 4
    if number >> (8 * body_length):
        return None
    payload = number.to_bytes(body_length)[len(prefix) : -4]
    return payload if base58check(prefix, payload) == text else None


class _Reader:
    """The contents of an operation, read strictly."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def finished(self) -> bool:
        return self._place == len(self._data)

    def take(self, length: int) -> bytes:
        if length > len(self._data) - self._place:
            raise UnusableReceipt("operation ends too early")
        self._place += length
        return self._data[self._place - length : self._place]

    def byte(self) -> int:
        return self.take(1)[0]

    def flag(self) -> bool:
        if (byte := self.byte()) not in {0x00, 0xFF}:
            raise UnusableReceipt("operation has a malformed flag")
        return byte == 0xFF

    def implicit_address(self) -> str:
        if (tag := self.byte()) not in ADDRESSES:
            raise UnusableReceipt("operation has a source of a kind that anchoring never uses")
        return base58check(ADDRESSES[tag], self.take(ADDRESS_BYTES))

    def skip_natural(self) -> None:
        for _ in range(64):
            if not self.byte() & 0x80:
                return
        raise UnusableReceipt("operation has an absurdly long number")

    def skip_reveal(self) -> None:
        if (tag := self.byte()) not in PUBLIC_KEY_BYTES:
            raise UnusableReceipt("operation reveals a key of an unknown kind")
        self.take(PUBLIC_KEY_BYTES[tag])
        # Since protocol Seoul a reveal ends with an optional proof, absent for the keys that anchoring uses; before it
        # the next content, never kind 0, follows at once.
        if not self.finished and self._data[self._place] == 0:
            self.byte()

    def transaction(self, source: str) -> Transaction:
        self.skip_natural()  # the amount
        destination = self.destination()
        entrypoint, value = "default", None
        if self.flag():
            entrypoint = self.entrypoint()
            parameter = self.take(int.from_bytes(self.take(4)))
            if parameter[:1] == bytes([MICHELINE_BYTES]) and int.from_bytes(parameter[1:5]) == len(parameter) - 5:
                value = parameter[5:]
        return Transaction(source=source, destination=destination, entrypoint=entrypoint, value=value)

    def destination(self) -> str:
        raw = self.take(2 + ADDRESS_BYTES)
        if raw[0] == 1 and raw[-1] == 0:
            return base58check(CONTRACT, raw[1:-1])
        if raw[0] == 0 and raw[1] in ADDRESSES:
            return base58check(ADDRESSES[raw[1]], raw[2:])
        return raw.hex()

    def entrypoint(self) -> str:
        tag = self.byte()
        if tag == NAMED_ENTRYPOINT:
            return self.take(self.byte()).decode("ascii", "replace")
        if tag >= len(ENTRYPOINTS):
            raise UnusableReceipt("operation calls an entry point of an unknown kind")
        return ENTRYPOINTS[tag]


def _confirmed(header: Header, block_hash: str) -> Finding:
    message = (
        f"The value was sent to the contract in Tezos block {header.level} ({block_hash}) of "
        f"{header.time:%Y-%m-%d %H:%M:%S} UTC, a block that the trust policy knows."
    )
    return Finding(code="tezos-anchored", severity=Severity.INFO, message=message)


def _unconfirmed(header: Header, block_hash: str) -> Finding:
    message = (
        f"The receipt is consistent and leads to Tezos block {header.level} ({block_hash}), but nothing given here says that "
        "this block is on the network. Compare the block hash with a block explorer or a node you trust."
    )
    return Finding(code="tezos-unconfirmed", severity=Severity.WARNING, message=message)


def _invalid(code: str, message: str) -> ReceiptResult:
    finding = Finding(code=code, severity=Severity.ERROR, message=message)
    return ReceiptResult(ok=False, status="invalid", level=None, block_hash=None, time=None, findings=(finding,))


def _blake2b(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=HASH_BYTES).digest()


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member name is repeated")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _hex(value: object, name: str, limit: int) -> bytes:
    text = _text(value, name, 2 * limit)
    if len(text) % 2 or any(digit not in "0123456789abcdef" for digit in text):
        raise UnusableReceipt(f"{name} is not lowercase hexadecimal")
    return bytes.fromhex(text)


def _path(value: object, name: str) -> list[bytes]:
    if not isinstance(value, list) or len(value) > MAX_PATH:
        raise UnusableReceipt(f"{name} is not a list of at most {MAX_PATH} hashes")
    path = [_hex(step, name, HASH_BYTES) for step in value]
    if any(len(step) != HASH_BYTES for step in path):
        raise UnusableReceipt(f"{name} holds something else than 32-byte hashes")
    return path


def _count(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise UnusableReceipt(f"{name} is not a whole number below 2^31")
    return value


def _text(value: object, name: str, limit: int = 128) -> str:
    if not isinstance(value, str) or not value.isascii() or len(value) > limit:
        raise UnusableReceipt(f"{name} is not a text of at most {limit} ASCII characters")
    return value


def _object(value: object, name: str, members: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != members:
        raise UnusableReceipt(f"{name} does not have exactly the members {', '.join(sorted(members))}")
    return value
