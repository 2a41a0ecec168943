"""Keys that sign anchors: in a file or the environment, or at a remote signer that keeps them.

Every signature, also our own, is checked before it is used, with the code by which the verifier will check it.
"""

import hashlib
import json
from typing import Protocol

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.anchoring.port import RefusedError
from ledger.anchoring.rfc3161.transport import fetch
from verifier.tezos import base58
from verifier.tezos.keys import (
    ADDRESS_BYTES,
    ED25519,
    P256,
    SECP256K1,
    SIGNATURE_BYTES,
    PublicKey,
    is_signature,
    parse_public_key,
)

MAX_KEY_FILE_BYTES = 1024
MAX_SIGNER_ANSWER_BYTES = 4096
SIGNER_SECONDS = 30.0  # a signer may ask a hardware module

_OPERATION_WATERMARK = b"\x03"
_REQUEST_WATERMARK, _SIGN_REQUEST = b"\x04", b"\x01"  # what octez-signer wants a client's key to sign
_ED25519_SEED = bytes([13, 15, 58, 7])
_ED25519_EXPANDED = bytes([43, 246, 78, 7])
_ECDSA_SECRETS = {SECP256K1: bytes([17, 162, 224, 201]), P256: bytes([16, 81, 238, 189])}
_SIGNATURES = (
    bytes([9, 245, 205, 134, 18]),  # edsig
    bytes([13, 115, 101, 19, 63]),  # spsig1
    bytes([54, 240, 44, 52]),  # p2sig
    bytes([4, 130, 43]),  # sig
)
_SECRET_BYTES = 32
_ORDERS = {
    SECP256K1: 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141,
    P256: 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551,
}


class Signer(Protocol):
    """Whoever signs operations for one account."""

    async def public_key(self) -> PublicKey:
        """The account's key. Raises RefusedError or UnavailableError."""

    async def sign(self, unsigned: bytes) -> bytes:
        """The 64-byte signature over a forged operation, checked. Raises RefusedError or UnavailableError."""


class LocalSigner:
    """Signs with a secret key (edsk, spsk, p2sk; not encrypted) that this process holds. Raises ValueError."""

    def __init__(self, secret: str) -> None:
        self._private, self._public = _read_secret(secret.strip())

    async def public_key(self) -> PublicKey:
        """The account's key."""
        return self._public

    async def sign(self, unsigned: bytes) -> bytes:
        """The signature. Deterministic (RFC 8032, RFC 6979): the same operation is signed with the same bytes."""
        return self.sign_marked(_OPERATION_WATERMARK + unsigned)

    def sign_marked(self, data: bytes) -> bytes:
        """The signature over bytes that say by their first one what they are."""
        digest = _digest(data)
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            signature = self._private.sign(digest)
        else:
            # The BLAKE2b digest is signed as it is; SHA256 here only tells the library its length.
            algorithm = ec.ECDSA(utils.Prehashed(hashes.SHA256()), deterministic_signing=True)
            r, s = utils.decode_dss_signature(self._private.sign(digest, algorithm))
            # Both s and -s are signatures; Tezos takes only the smaller one.
            s = min(s, _ORDERS[self._public.kind] - s)
            signature = r.to_bytes(_SECRET_BYTES) + s.to_bytes(_SECRET_BYTES)
        return _checked(self._public, signature, digest)


class RemoteSigner:
    """Signs at a remote signer that speaks the HTTP interface of octez-signer: GET and POST /keys/ADDRESS.

    With `authentication`, requests to sign carry that key's signature, for signers that ask for one.
    """

    def __init__(
        self, client: httpx.AsyncClient, url: str, address: str, authentication: LocalSigner | None = None
    ) -> None:
        self._client = client
        self._url = f"{url.rstrip('/')}/keys/{address}"
        self._address = address
        self._authentication = authentication
        self._public: PublicKey | None = None

    async def public_key(self) -> PublicKey:
        """The account's key, asked for once."""
        if self._public is None:
            key = parse_public_key(await self._ask("GET", "public_key", None))
            if key is None or key.address != self._address:
                raise RefusedError(f"the remote signer's key is not the one of {self._address}")
            self._public = key
        return self._public

    async def sign(self, unsigned: bytes) -> bytes:
        """The signature. The signer gets the whole operation, so that it may judge what it signs."""
        key = await self.public_key()
        marked = _OPERATION_WATERMARK + unsigned
        query = ""
        if self._authentication is not None:
            account = bytes([key.kind]) + hashlib.blake2b(key.raw, digest_size=ADDRESS_BYTES).digest()
            proof = self._authentication.sign_marked(_REQUEST_WATERMARK + _SIGN_REQUEST + account + marked)
            query = f"?authentication={base58.encode(_SIGNATURES[-1], proof)}"
        text = await self._ask("POST", "signature", json.dumps(marked.hex()).encode(), query)
        for prefix in _SIGNATURES:
            signature = base58.decode(text, prefix, SIGNATURE_BYTES)
            if signature is not None:
                return _checked(key, signature, _digest(marked))
        raise RefusedError("the remote signer's answer holds no signature")

    async def _ask(self, method: str, member: str, content: bytes | None, query: str = "") -> str:
        answer = await fetch(
            self._client,
            method,
            f"{self._url}{query}",
            content=content,
            headers={"Content-Type": "application/json"},
            answer_types=frozenset(),
            max_bytes=MAX_SIGNER_ANSWER_BYTES,
            timeout_seconds=SIGNER_SECONDS,
        )
        try:
            value = json.loads(answer)[member]
        except (ValueError, KeyError, TypeError, RecursionError):
            value = None
        if not isinstance(value, str):
            raise RefusedError(f"the remote signer's answer holds no {member}")
        return value


def _read_secret(text: str) -> tuple[ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, PublicKey]:
    if text.startswith(("edesk", "spesk", "p2esk")):
        raise ValueError("the secret key is encrypted; use a remote signer, or an unencrypted key in a guarded file")
    seed = base58.decode(text, _ED25519_SEED, _SECRET_BYTES)
    expanded = base58.decode(text, _ED25519_EXPANDED, 2 * _SECRET_BYTES)
    if seed is None and expanded is not None:
        seed = expanded[:_SECRET_BYTES]
    if seed is not None:
        private = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return private, PublicKey(kind=ED25519, raw=raw)
    for kind, prefix in _ECDSA_SECRETS.items():
        secret = base58.decode(text, prefix, _SECRET_BYTES)
        if secret is not None:
            curve = ec.SECP256K1() if kind == SECP256K1 else ec.SECP256R1()
            key = ec.derive_private_key(int.from_bytes(secret), curve)
            raw = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
            return key, PublicKey(kind=kind, raw=raw)
    raise ValueError("it is not an unencrypted Tezos secret key (edsk..., spsk..., p2sk...)")


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def _checked(key: PublicKey, signature: bytes, digest: bytes) -> bytes:
    if not is_signature(key, signature, digest):
        raise RefusedError("the signer's signature is not one by its key over our operation")
    return signature
