"""Signed operations as a node reads them: bytes to contents, for the three kinds that the sandbox knows."""

from dataclasses import dataclass
from typing import Any

from pytezos.michelson.forge import unforge_micheline

from verifier.tezos import base58
from verifier.tezos.block import HASH_BYTES, blake2b
from verifier.tezos.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, address

_REVEAL, _TRANSACTION, _ORIGINATION = 107, 108, 109
_PUBLIC_KEYS = (bytes([13, 15, 37, 217]), bytes([3, 254, 226, 86]), bytes([3, 178, 139, 127]))
_ENTRYPOINTS = ("default", "root", "do", "set_delegate", "remove_delegate", "deposit", "stake", "unstake")
_GENERIC_SIGNATURE = bytes([4, 130, 43])


class MalformedOperationError(ValueError):
    """The bytes are no operation of a kind that the sandbox knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedOperation:
    """An operation with its contents as RPC documents show them."""

    raw: bytes
    hash: str
    branch: str
    contents: tuple[dict[str, Any], ...]
    signature: bytes
    digest: bytes

    def document(self) -> dict[str, Any]:
        """As a node shows it, without results."""
        return {
            "hash": self.hash,
            "branch": self.branch,
            "contents": [dict(content) for content in self.contents],
            "signature": base58.encode(_GENERIC_SIGNATURE, self.signature),
        }


def read_operation(raw: bytes) -> SignedOperation:
    """Parse a signed operation. Raises MalformedOperationError."""
    try:
        unsigned, signature = raw[:-SIGNATURE_BYTES], raw[-SIGNATURE_BYTES:]
        reader = _Reader(unsigned)
        branch = base58.encode(base58.BLOCK_HASH, reader.take(HASH_BYTES))
        contents: list[dict[str, Any]] = []
        while reader.left:
            contents.append(_content(reader))
    except (IndexError, ValueError, KeyError, AssertionError) as error:
        raise MalformedOperationError(str(error)) from None
    return SignedOperation(
        raw=raw,
        hash=base58.encode(base58.OPERATION_HASH, blake2b(raw)),
        branch=branch,
        contents=tuple(contents),
        signature=signature,
        digest=blake2b(b"\x03" + unsigned),
    )


def _content(reader: "_Reader") -> dict[str, Any]:
    tag = reader.byte()
    content: dict[str, Any] = {"source": reader.account()}
    for name in ("fee", "counter", "gas_limit", "storage_limit"):
        content[name] = str(reader.natural())
    if tag == _REVEAL:
        kind = reader.byte()
        content |= {
            "kind": "reveal",
            "public_key": base58.encode(_PUBLIC_KEYS[kind], reader.take(PUBLIC_KEY_BYTES[kind])),
        }
        reader.require_false()  # no proof
        return content
    if tag == _TRANSACTION:
        content |= {"kind": "transaction", "amount": str(reader.natural()), "destination": reader.destination()}
        if reader.flag():
            place = reader.byte()
            entrypoint = reader.take(reader.byte()).decode() if place == 0xFF else _ENTRYPOINTS[place]  # noqa: PLR2004  # the tag of named entry points
            content["parameters"] = {"entrypoint": entrypoint, "value": unforge_micheline(reader.sized())}
        return content
    if tag == _ORIGINATION:
        content |= {"kind": "origination", "balance": str(reader.natural())}
        reader.require_false()  # no delegate
        content["script"] = {"code": unforge_micheline(reader.sized()), "storage": unforge_micheline(reader.sized())}
        return content
    raise MalformedOperationError(f"it holds a content of kind {tag}")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._place

    def take(self, length: int) -> bytes:
        if length > self.left:
            raise MalformedOperationError("it ends too early")
        self._place += length
        return self._data[self._place - length : self._place]

    def byte(self) -> int:
        return self.take(1)[0]

    def flag(self) -> bool:
        return self.byte() == 0xFF  # noqa: PLR2004  # true, in the protocol's encoding

    def require_false(self) -> None:
        if self.flag():
            raise MalformedOperationError("it has a member that the sandbox does not know")

    def natural(self) -> int:
        number, shift = 0, 0
        while True:
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return number
            shift += 7

    def sized(self) -> bytes:
        return self.take(int.from_bytes(self.take(4)))

    def account(self) -> str:
        return address(self.byte(), self.take(20))

    def destination(self) -> str:
        raw = self.take(22)
        if raw[0] == 1:
            return base58.encode(base58.CONTRACT, raw[1:-1])
        return address(raw[1], raw[2:])
