"""Sealed members (docs/spec/chain.md, section 6): salted digests in the way of SD-JWT, RFC 9901.

What is hashed into the chain is a digest; what it stands for is kept beside the chain and can be erased.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from ledger.chain.canonical import CanonicalError

# RFC 9901 section 9.3 asks for 128 bits of salt.
SALT_BYTES = 16
# With the frame around it, what a line of disclosures.jsonl may have (docs/spec/bundle.md, section 5): a sealed member
# as large as a payload may be. A longer one would make the bundle fail for every verifier.
MAX_DISCLOSURE_CHARACTERS = 393_216 - 64
DIGESTS = "_sd"
ALGORITHM = "_sd_alg"


def seal(payload: dict[str, Any], names: Sequence[str], salts: Sequence[bytes]) -> tuple[dict[str, Any], list[str]]:
    """`payload` with the named members replaced by their digests, and the disclosures in the order of `names`.

    Needs one fresh salt of 16 random bytes for each name. Raises CanonicalError for a name that is missing or repeated,
    and for a member that is too large.
    """
    sealed = dict(payload)
    disclosures = []
    for name, salt in zip(names, salts, strict=True):
        if name not in sealed:
            raise CanonicalError("", f"the member to seal, {name[:64]!r}, is missing or named twice")
        disclosure = _disclosure(salt, name, sealed.pop(name))
        if len(disclosure) > MAX_DISCLOSURE_CHARACTERS:
            raise CanonicalError("", f"the member to seal, {name[:64]!r}, is larger than a payload may be")
        disclosures.append(disclosure)
    # Sorted, so that the order of the digests says nothing about the members.
    return sealed | {ALGORITHM: "sha-256", DIGESTS: sorted(map(digest_of, disclosures))}, disclosures


def seal_as(
    payload: dict[str, Any], names: Sequence[str], sealed_payload: str, salts: Mapping[str, bytes]
) -> dict[str, Any] | None:
    """`payload` with the named members replaced by the digests of `sealed_payload`; None if that cannot be its sealing.

    Used when salts were erased: it can no longer be told what their digests stand for. A member whose salt is left must
    have one of the digests.
    """
    digests = json.loads(sealed_payload).get(DIGESTS, [])
    left = {digest_of(_disclosure(salt, name, payload.get(name))) for name, salt in salts.items()}
    if len(digests) != len(names) or not left <= set(digests):
        return None
    rest = {name: value for name, value in payload.items() if name not in names}
    return rest | {ALGORITHM: "sha-256", DIGESTS: digests}


def digest_of(disclosure: str) -> str:
    """The digest that stands in the payload for a disclosure."""
    return _encode(sha256(disclosure.encode("ascii")).digest())


def salt_of(disclosure: str) -> tuple[bytes, str]:
    """The salt of a stored disclosure, and the member's name."""
    salt, name, _ = json.loads(_decode(disclosure))
    return _decode(salt), name


def _disclosure(salt: bytes, name: str, value: Any) -> str:
    parts = [_encode(salt), name, value]
    return _encode(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode())


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
