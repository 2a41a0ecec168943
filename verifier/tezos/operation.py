"""Signed operations of Tezos: what their transactions say, their hash, and what was signed.

Only what anchoring uses is understood: reveals and transactions of accounts. Anything else in an operation makes it
unusable as a receipt, never wrongly accepted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from verifier.tezos import base58
from verifier.tezos.block import HASH_BYTES, blake2b
from verifier.tezos.keys import (
    ADDRESS_BYTES,
    BLS,
    BLS_SIGNATURE_BYTES,
    ED25519,
    P256,
    PUBLIC_KEY_BYTES,
    SECP256K1,
    SIGNATURE_BYTES,
    address,
)

_WATERMARK = b"\x03"  # what signers put before an operation, so that no block or vote can be mistaken for one
# A BLS signature is longer than the 64 bytes that operations have room for. Its first 32 bytes stand before them, in
# what looks like one more content, and are hashed there.
_BLS_PREFIX = b"\xff\x03"
_BLS_PREFIX_BYTES = len(_BLS_PREFIX) + BLS_SIGNATURE_BYTES

_REVEAL, _TRANSACTION = 107, 108
_ACCOUNT_KINDS = {ED25519, SECP256K1, P256, BLS}
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
_BLS_PROOF = b"\xff" + BLS_SIGNATURE_BYTES.to_bytes(_LENGTH_BYTES)
_LONGEST_NATURAL = 64  # bytes of a number; a fee or a counter takes at most 10


class UnusableOperationError(ValueError):
    """The bytes are no operation of the kind that anchoring sends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transaction:
    """One transaction of a signed operation. `value` is None unless its parameter is plain bytes."""

    source: str
    destination: str
    entrypoint: str
    value: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """A signed operation. `contents` has None where the operation does something else than a transaction.

    `signed_digest` is what the signer's key signed.
    """

    hash: bytes
    contents: tuple[Transaction | None, ...]
    signed_digest: bytes
    signature: bytes


def parse_operation(raw: bytes) -> Operation:
    """Reads a signed operation to its last byte. Raises UnusableOperationError.

    A BLS signature may stand at the end as its 96 bytes, or as blocks carry it, with its own prefix: both are the same
    operation and have the same hash.
    """
    reader = _Reader(raw)
    reader.take(HASH_BYTES)  # the block it builds on
    contents = tuple(_contents(reader))
    if not contents:
        raise UnusableOperationError("it has no content")
    unsigned = raw[: reader.place]
    if reader.left == _BLS_PREFIX_BYTES:
        reader.take(len(_BLS_PREFIX))
    signature = raw[reader.place :]
    prefix = _BLS_PREFIX if len(signature) == BLS_SIGNATURE_BYTES else b""
    return Operation(
        hash=blake2b(unsigned + prefix + signature),
        contents=contents,
        signed_digest=blake2b(_WATERMARK + unsigned),
        signature=signature,
    )


def _contents(reader: "_Reader") -> Iterator[Transaction | None]:
    """The contents up to the signature, which begins where what is left has its length: no content is that short."""
    kind = None
    while not _is_signature(reader, kind):
        tag = reader.byte()
        if tag not in {_TRANSACTION, _REVEAL}:
            raise UnusableOperationError(f"it holds a content of kind {tag}, which anchoring never uses")
        kind, source = reader.account()
        for _ in ("fee", "counter", "gas limit", "storage limit"):
            reader.skip_natural()
        if tag == _REVEAL:
            reader.skip_reveal()
            yield None
        else:
            yield reader.transaction(source)


def _is_signature(reader: "_Reader", kind: int | None) -> bool:
    if reader.left == _BLS_PREFIX_BYTES:
        return reader.at(_BLS_PREFIX)
    return reader.left == SIGNATURE_BYTES or (reader.left == BLS_SIGNATURE_BYTES and kind == BLS)


class _Reader:
    """An operation, read strictly."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    @property
    def left(self) -> int:
        return len(self._data) - self.place

    def at(self, expected: bytes) -> bool:
        return self._data.startswith(expected, self.place)

    def take(self, length: int) -> bytes:
        if length > self.left:
            raise UnusableOperationError("it ends too early")
        self.place += length
        return self._data[self.place - length : self.place]

    def byte(self) -> int:
        return self.take(1)[0]

    def flag(self) -> bool:
        if (byte := self.byte()) not in {_FALSE, _TRUE}:
            raise UnusableOperationError("it has a malformed flag")
        return byte == _TRUE

    def account(self) -> tuple[int, str]:
        if (kind := self.byte()) not in _ACCOUNT_KINDS:
            raise UnusableOperationError("it has a source of a kind that anchoring never uses")
        return kind, address(kind, self.take(ADDRESS_BYTES))

    def skip_natural(self) -> None:
        for _ in range(_LONGEST_NATURAL):
            if not self.byte() & 0x80:
                return
        raise UnusableOperationError("it has an absurdly long number")

    def skip_reveal(self) -> None:
        if (kind := self.byte()) not in PUBLIC_KEY_BYTES:
            raise UnusableOperationError("it reveals a key of an unknown kind")
        self.take(PUBLIC_KEY_BYTES[kind])
        # Since protocol Seoul a reveal ends with an optional proof, which only BLS keys have; before it the next
        # content, never kind 0, follows at once.
        if kind == BLS and self.at(_BLS_PROOF):
            self.take(len(_BLS_PROOF) + BLS_SIGNATURE_BYTES)
        elif self.left > SIGNATURE_BYTES and self.at(bytes([_FALSE])):
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
        raw = self.take(2 + ADDRESS_BYTES)
        if raw[0] == 1 and raw[-1] == 0:
            return base58.encode(base58.CONTRACT, raw[1:-1])
        if raw[0] == 0 and raw[1] in _ACCOUNT_KINDS:
            return address(raw[1], raw[2:])
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
