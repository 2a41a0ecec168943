"""The bytes of the two operations that anchoring sends: revealing our key, once, and calling the contract.

The format is the protocol's binary encoding (tags 107 and 108). Tests compare every byte with pytezos.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Any

from verifier.tezos import base58
from verifier.tezos.keys import ADDRESS_BYTES, ED25519, P256, SECP256K1, PublicKey

ENTRYPOINT = "anchor"

_REVEAL, _TRANSACTION = b"\x6b", b"\x6c"
_PUBLIC_KEYS = {
    ED25519: bytes([13, 15, 37, 217]),
    SECP256K1: bytes([3, 254, 226, 86]),
    P256: bytes([3, 178, 139, 127]),
}
_TRUE, _FALSE = b"\xff", b"\x00"
_NAMED_ENTRYPOINT = b"\xff"
_MICHELINE_BYTES = b"\x0a"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one content may use: `fee` in millionths of a tez, `gas` and `storage` in the protocol's units."""

    fee: int
    gas: int
    storage: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call of the contract by the owner of `key`, preceded by the key itself when `reveal` has limits for that.

    `counter` is that of the first content.
    """

    key: PublicKey
    contract: str
    value: bytes
    counter: int
    limits: Limits
    reveal: Limits | None = None

    @property
    def last_counter(self) -> int:
        """The counter of the call itself."""
        return self.counter + (1 if self.reveal else 0)

    def forge(self, branch: bytes) -> bytes:
        """The unsigned operation on top of the block `branch` (32 bytes)."""
        source = bytes([self.key.kind]) + hashlib.blake2b(self.key.raw, digest_size=ADDRESS_BYTES).digest()
        operation = branch
        if self.reveal is not None:
            operation += _REVEAL + source + _numbers(self.counter, self.reveal)
            # The last byte says that no proof of possession follows, which only BLS keys need (since protocol Seoul).
            operation += bytes([self.key.kind]) + self.key.raw + _FALSE
        parameter = _MICHELINE_BYTES + _sized(self.value)
        operation += _TRANSACTION + source + _numbers(self.last_counter, self.limits) + _natural(0)
        operation += b"\x01" + contract_hash(self.contract) + b"\x00"
        return operation + _TRUE + _NAMED_ENTRYPOINT + _short(ENTRYPOINT.encode()) + _sized(parameter)

    def contents(self) -> list[dict[str, Any]]:
        """The same as JSON, for a node to try out."""
        contents: list[dict[str, Any]] = []
        if self.reveal is not None:
            contents.append(
                {
                    "kind": "reveal",
                    **_members(self.key, self.counter, self.reveal),
                    "public_key": public_key_text(self.key),
                }
            )
        parameter = {"entrypoint": ENTRYPOINT, "value": {"bytes": self.value.hex()}}
        contents.append(
            {
                "kind": "transaction",
                **_members(self.key, self.last_counter, self.limits),
                "amount": "0",
                "destination": self.contract,
                "parameters": parameter,
            }
        )
        return contents


def contract_hash(contract: str) -> bytes:
    """The 20 bytes of a KT1 address. Raises ValueError."""
    raw = base58.decode(contract, base58.CONTRACT, ADDRESS_BYTES)
    if raw is None:
        raise ValueError(f"{contract!r:.60} is not the address of a contract (KT1...)")
    return raw


def public_key_text(key: PublicKey) -> str:
    """The key as edpk, sppk or p2pk."""
    return base58.encode(_PUBLIC_KEYS[key.kind], key.raw)


def _members(key: PublicKey, counter: int, limits: Limits) -> dict[str, str]:
    return {
        "source": key.address,
        "fee": str(limits.fee),
        "counter": str(counter),
        "gas_limit": str(limits.gas),
        "storage_limit": str(limits.storage),
    }


def _numbers(counter: int, limits: Limits) -> bytes:
    return b"".join(map(_natural, (limits.fee, counter, limits.gas, limits.storage)))


def _natural(number: int) -> bytes:
    """Zarith's encoding of a natural number: seven bits a byte, least first."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # seven bits
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _sized(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _short(data: bytes) -> bytes:
    return bytes([len(data)]) + data
