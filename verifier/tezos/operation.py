"""Signed operations of Tezos: what a transaction says, and whether its source signed it.

Only what anchoring uses is understood: reveals and transactions from Ed25519, secp256k1 and P-256 accounts. Anything
else in an operation makes it unusable as a receipt, never wrongly accepted.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from verifier.tezos import base58
from verifier.tezos.block import HASH_BYTES, blake2b

SIGNATURE_BYTES = 64

_WATERMARK = b"\x03"  # what signers put before an operation, so that no block or vote can be mistaken for one
_ADDRESS_BYTES = 20
# By the kind of key: Ed25519, secp256k1, P-256.
_ADDRESSES = {0: bytes([6, 161, 159]), 1: bytes([6, 161, 161]), 2: bytes([6, 161, 164])}
_PUBLIC_KEYS = {0: bytes([13, 15, 37, 217]), 1: bytes([3, 254, 226, 86]), 2: bytes([3, 178, 139, 127])}
_PUBLIC_KEY_BYTES = {0: 32, 1: 33, 2: 33}
_ED25519, _SECP256K1 = 0, 1

_REVEAL, _TRANSACTION, _SIGNATURE_PREFIX = 107, 108, 255
_ENTRYPOINTS = (
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
_NAMED_ENTRYPOINT = 255
_TRUE, _FALSE = 0xFF, 0x00
_MICHELINE_BYTES = 0x0A
_LENGTH_BYTES = 4
_LONGEST_NATURAL = 64  # bytes of a number; a fee or a counter takes at most 10


class UnusableOperationError(ValueError):
    """The bytes are no operation of the kind that anchoring sends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicKey:
    """A key as Tezos knows it: its kind and its raw bytes."""

    kind: int
    raw: bytes

    @property
    def address(self) -> str:
        """The address (tz1, tz2, tz3) that belongs to the key."""
        return base58.encode(_ADDRESSES[self.kind], hashlib.blake2b(self.raw, digest_size=_ADDRESS_BYTES).digest())


@dataclass(frozen=True, kw_only=True, slots=True)
class Transaction:
    """One transaction of a signed operation. `value` is None unless its parameter is plain bytes."""

    source: str
    destination: str
    entrypoint: str
    value: bytes | None


def parse_public_key(text: str) -> PublicKey | None:
    """The key that `text` (edpk, sppk, p2pk) writes, or None."""
    for kind, prefix in _PUBLIC_KEYS.items():
        raw = base58.decode(text, prefix, _PUBLIC_KEY_BYTES[kind])
        if raw is not None:
            return PublicKey(kind=kind, raw=raw)
    return None


def transaction_at(operation: bytes, wanted: int) -> Transaction | None:
    """The transaction at content position `wanted` of a signed operation; None when something else is there.

    The whole operation is read. Raises UnusableOperationError.
    """
    if len(operation) < HASH_BYTES + SIGNATURE_BYTES:
        raise UnusableOperationError("it is too short")
    contents = list(_contents(_Reader(operation[HASH_BYTES:-SIGNATURE_BYTES])))
    return contents[wanted] if wanted < len(contents) else None


def is_signed_by(key: PublicKey, operation: bytes) -> bool:
    """Whether `key` signed `operation`, whose last 64 bytes are the signature."""
    message = blake2b(_WATERMARK + operation[:-SIGNATURE_BYTES])
    signature = operation[-SIGNATURE_BYTES:]
    try:
        if key.kind == _ED25519:
            ed25519.Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, message)
            return True
        curve = ec.SECP256K1() if key.kind == _SECP256K1 else ec.SECP256R1()
        half = SIGNATURE_BYTES // 2
        encoded = utils.encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
        public_key = ec.EllipticCurvePublicKey.from_encoded_point(curve, key.raw)
        # The BLAKE2b digest is signed as it is; SHA256 here only tells the library its length.
        public_key.verify(encoded, message, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


def _contents(reader: "_Reader") -> Iterator[Transaction | None]:
    while not reader.finished:
        tag = reader.byte()
        if tag == _SIGNATURE_PREFIX:
            raise UnusableOperationError("it has a BLS signature, which this verifier does not check")
        if tag not in {_TRANSACTION, _REVEAL}:
            raise UnusableOperationError(f"it holds a content of kind {tag}, which anchoring never uses")
        source = reader.implicit_address()
        for _ in ("fee", "counter", "gas limit", "storage limit"):
            reader.skip_natural()
        if tag == _REVEAL:
            reader.skip_reveal()
            yield None
        else:
            yield reader.transaction(source)


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
            raise UnusableOperationError("it ends too early")
        self._place += length
        return self._data[self._place - length : self._place]

    def byte(self) -> int:
        return self.take(1)[0]

    def flag(self) -> bool:
        if (byte := self.byte()) not in {_FALSE, _TRUE}:
            raise UnusableOperationError("it has a malformed flag")
        return byte == _TRUE

    def implicit_address(self) -> str:
        if (tag := self.byte()) not in _ADDRESSES:
            raise UnusableOperationError("it has a source of a kind that anchoring never uses")
        return base58.encode(_ADDRESSES[tag], self.take(_ADDRESS_BYTES))

    def skip_natural(self) -> None:
        for _ in range(_LONGEST_NATURAL):
            if not self.byte() & 0x80:
                return
        raise UnusableOperationError("it has an absurdly long number")

    def skip_reveal(self) -> None:
        if (tag := self.byte()) not in _PUBLIC_KEY_BYTES:
            raise UnusableOperationError("it reveals a key of an unknown kind")
        self.take(_PUBLIC_KEY_BYTES[tag])
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
            parameter = self.take(int.from_bytes(self.take(_LENGTH_BYTES)))
            value = _plain_bytes(parameter)
        return Transaction(source=source, destination=destination, entrypoint=entrypoint, value=value)

    def destination(self) -> str:
        raw = self.take(2 + _ADDRESS_BYTES)
        if raw[0] == 1 and raw[-1] == 0:
            return base58.encode(base58.CONTRACT, raw[1:-1])
        if raw[0] == 0 and raw[1] in _ADDRESSES:
            return base58.encode(_ADDRESSES[raw[1]], raw[2:])
        return raw.hex()

    def entrypoint(self) -> str:
        tag = self.byte()
        if tag == _NAMED_ENTRYPOINT:
            return self.take(self.byte()).decode("ascii", "replace")
        if tag >= len(_ENTRYPOINTS):
            raise UnusableOperationError("it calls an entry point of an unknown kind")
        return _ENTRYPOINTS[tag]


def _plain_bytes(parameter: bytes) -> bytes | None:
    """What a Micheline byte string holds; None for any other expression."""
    start = 1 + _LENGTH_BYTES
    if parameter[:1] != bytes([_MICHELINE_BYTES]) or int.from_bytes(parameter[1:start]) != len(parameter) - start:
        return None
    return parameter[start:]
