"""Verify links: the signed text in `/v/TOKEN`, which shows a chain to whoever holds it (docs/guides/verify-page.md).

TOKEN is KEYID "." SIGNED, where SIGNED is itsdangerous' URL-safe form of `{"chain","exp","head","id","org"}` under
HMAC-SHA256 with the secret that KEYID names. Several keys may be valid at once: to rotate, add a key, make it current,
and remove the old one when its last link has expired.
"""

import base64
import binascii
import hashlib
import re
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from itsdangerous import BadData, URLSafeSerializer

from ledger.errors import LedgerError, Reason
from ledger.store.values import VerifyLink

SALT = "indelible-verify-link/1"
# The longest ids still fit; a longer text in a URL is no link of ours and is not worth hashing.
MAX_TOKEN_CHARACTERS = 1_024
# Shorter secrets can be searched for; HMAC-SHA256 gains nothing beyond 32 bytes.
MIN_SECRET_BYTES = 32
# Year 9999: what `datetime` can say.
_MAX_UNIX_SECONDS = 253_402_300_799

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_TOKEN = re.compile(r"([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_.-]+)", re.ASCII)
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)
_HEAD = re.compile(r"[0-9a-f]{64}", re.ASCII)


class LinkKeysError(ValueError):
    """The file of link keys cannot be used; the text names the file and the fix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkKeys:
    """Secrets by key id. New links are signed with `current`; every key in `secrets` still opens its links."""

    current: str
    secrets: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkClaims:
    """What a genuine token says. Whether the link was revoked only the store knows."""

    link_id: str
    organisation_id: str
    chain_id: str
    head: bytes
    expires_at: datetime


class LinkStore(Protocol):
    """What `open_link` needs of a store."""

    async def find_verify_link(self, organisation_id: str, link_id: str) -> VerifyLink:
        """The stored link. Raises `LedgerError` LINK_UNKNOWN."""


def load_link_keys(path: Path) -> LinkKeys:
    """Read `[keys]` (id = base64 secret) and `current`, which may be left out when there is one key.

    Raises `LinkKeysError`.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LinkKeysError(f"{path}: {error}") from error
    keys = document.get("keys")
    if not isinstance(keys, dict) or not keys:
        raise LinkKeysError(f'{path}: the table [keys] must hold at least one line ID = "base64 secret"')
    current = document.get("current", next(iter(keys)) if len(keys) == 1 else None)
    if not isinstance(current, str) or current not in keys:
        raise LinkKeysError(f'{path}: set `current = "ID"`, above [keys], to the key that signs new links')
    return LinkKeys(current=current, secrets={key_id: _secret(path, key_id, text) for key_id, text in keys.items()})


def make_token(link: VerifyLink, keys: LinkKeys) -> str:
    """The token of `link`, signed with the current key. Its expiry is in whole seconds, rounded down."""
    claims = {
        "chain": link.chain_id,
        "exp": int(link.expires_at.timestamp()),
        "head": link.head.hex(),
        "id": link.link_id,
        "org": link.organisation_id,
    }
    signed = _serializer(keys.secrets[keys.current]).dumps(claims)
    return f"{keys.current}.{signed if isinstance(signed, str) else signed.decode()}"


def read_token(token: str, keys: LinkKeys) -> LinkClaims:
    """What `token` says, once its signature holds; expired ones too.

    Raises `LedgerError` LINK_UNKNOWN with the same words whatever is wrong, so that a forger learns nothing.
    """
    parts = _TOKEN.fullmatch(token) if len(token) <= MAX_TOKEN_CHARACTERS else None
    if parts is None:
        raise _unknown()
    # An unknown key id costs the same work as a wrong signature; itsdangerous compares in constant time.
    secret = keys.secrets.get(parts[1]) or secrets.token_bytes(MIN_SECRET_BYTES)
    try:
        claims = _serializer(secret).loads(parts[2])
    except BadData:
        raise _unknown() from None
    return _claims(claims)


async def open_link(store: LinkStore, token: str, keys: LinkKeys, *, now: datetime) -> VerifyLink:
    """The stored link of a genuine token that is neither expired nor revoked at `now`.

    Raises `LedgerError` LINK_UNKNOWN, LINK_EXPIRED, LINK_REVOKED.
    """
    claims = read_token(token, keys)
    link = await store.find_verify_link(claims.organisation_id, claims.link_id)
    # A genuine token that disagrees with its row means that one of the two was tampered with: it opens nothing.
    if (link.chain_id, link.head) != (claims.chain_id, claims.head):
        raise _unknown()
    if link.revoked_at is not None:
        raise LedgerError(Reason.LINK_REVOKED, "this verify link was revoked")
    if min(claims.expires_at, link.expires_at) <= now:
        raise LedgerError(Reason.LINK_EXPIRED, "this verify link has expired")
    return link


def _claims(claims: Any) -> LinkClaims:
    match claims:
        case {
            "chain": str(chain),
            "exp": int(exp),
            "head": str(head),
            "id": str(link_id),
            "org": str(organisation),
        } if (
            set(claims) == {"chain", "exp", "head", "id", "org"}
            and all(_ID.fullmatch(name) for name in (chain, organisation, link_id))
            and _HEAD.fullmatch(head)
            and not isinstance(exp, bool)
            and 0 <= exp <= _MAX_UNIX_SECONDS
        ):
            return LinkClaims(
                link_id=link_id,
                organisation_id=organisation,
                chain_id=chain,
                head=bytes.fromhex(head),
                expires_at=datetime.fromtimestamp(exp, tz=UTC),
            )
    raise _unknown()


def _serializer(secret: bytes) -> URLSafeSerializer:
    return URLSafeSerializer(
        secret,
        salt=SALT,
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )


def _secret(path: Path, key_id: str, text: Any) -> bytes:
    if _KEY_ID.fullmatch(key_id) is None:
        raise LinkKeysError(f"{path}: a key id is 1 to 64 letters, digits, `-` or `_`")
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise LinkKeysError(f"{path}: the secret of key {key_id} is not base64") from None
    if len(secret) < MIN_SECRET_BYTES:
        raise LinkKeysError(f"{path}: the secret of key {key_id} is shorter than {MIN_SECRET_BYTES} bytes")
    return secret


def _unknown() -> LedgerError:
    return LedgerError(Reason.LINK_UNKNOWN, "there is no such verify link")
