"""Keys of Tezos accounts: their addresses, and whether one of them signed something."""

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from verifier.tezos import base58

ADDRESS_BYTES = 20
SIGNATURE_BYTES = 64
BLS_SIGNATURE_BYTES = 96

ED25519, SECP256K1, P256, BLS = range(4)
"""The kinds of keys, by the number that stands for each in an operation."""

PUBLIC_KEY_BYTES = {ED25519: 32, SECP256K1: 33, P256: 33, BLS: 48}
_PUBLIC_KEYS = {
    ED25519: bytes([13, 15, 37, 217]),
    SECP256K1: bytes([3, 254, 226, 86]),
    P256: bytes([3, 178, 139, 127]),
    BLS: bytes([6, 149, 135, 204]),
}
_ADDRESSES = {
    ED25519: bytes([6, 161, 159]),
    SECP256K1: bytes([6, 161, 161]),
    P256: bytes([6, 161, 164]),
    BLS: bytes([6, 161, 166]),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicKey:
    """A key as Tezos knows it: its kind and its raw bytes."""

    kind: int
    raw: bytes

    @property
    def address(self) -> str:
        """The address (tz1, tz2, tz3, tz4) that belongs to the key."""
        return address(self.kind, hashlib.blake2b(self.raw, digest_size=ADDRESS_BYTES).digest())


def address(kind: int, key_hash: bytes) -> str:
    """The text form of an account's address."""
    return base58.encode(_ADDRESSES[kind], key_hash)


def is_address(text: str) -> bool:
    """Whether `text` is the address of an account."""
    return any(base58.decode(text, prefix, ADDRESS_BYTES) is not None for prefix in _ADDRESSES.values())


def parse_public_key(text: str) -> PublicKey | None:
    """The key that `text` (edpk, sppk, p2pk, BLpk) writes, or None."""
    for kind, prefix in _PUBLIC_KEYS.items():
        raw = base58.decode(text, prefix, PUBLIC_KEY_BYTES[kind])
        if raw is not None:
            return PublicKey(kind=kind, raw=raw)
    return None


def is_signature(key: PublicKey, signature: bytes, digest: bytes) -> bool | None:
    """Whether `signature` is one by `key` over the 32-byte `digest`; None when this machine cannot tell.

    BLS signatures cannot be checked with the libraries of this verifier, and some builds of OpenSSL lack secp256k1.
    """
    if len(signature) != (BLS_SIGNATURE_BYTES if key.kind == BLS else SIGNATURE_BYTES):
        return False
    if key.kind == BLS:
        return None
    try:
        if key.kind == ED25519:
            ed25519.Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, digest)
        else:
            _verify_ecdsa(ec.SECP256K1() if key.kind == SECP256K1 else ec.SECP256R1(), key.raw, signature, digest)
    except UnsupportedAlgorithm:
        return None
    except (InvalidSignature, ValueError):
        return False
    return True


def _verify_ecdsa(curve: ec.EllipticCurve, raw: bytes, signature: bytes, digest: bytes) -> None:
    half = SIGNATURE_BYTES // 2
    encoded = utils.encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
    # The BLAKE2b digest is signed as it is; SHA256 here only tells the library its length.
    algorithm = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    ec.EllipticCurvePublicKey.from_encoded_point(curve, raw).verify(encoded, digest, algorithm)
