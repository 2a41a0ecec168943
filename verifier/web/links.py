"""Verify links: the signed text in `/v/TOKEN` that pins a chain to the head it had when the link was made."""

import base64
import binascii
import hashlib
import re
import secrets
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

LINK_SALT = "indelible-verify-link/1"
# Chain and organisation names of 128 characters still fit; a longer text in a URL is no link of ours.
MAX_TOKEN_CHARACTERS = 1024
# Shorter secrets can be searched for; HMAC-SHA256 gains nothing beyond 32 bytes.
MIN_SECRET_BYTES = 32
# Year 9999: what `datetime` can say.
MAX_UNIX_SECONDS = 253_402_300_799

_TOKEN = re.compile(r"([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_.-]+)", re.ASCII)
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_HEAD = re.compile(r"[0-9a-f]{64}", re.ASCII)


class LinkState(Enum):
    """Why a link opens nothing."""

    UNKNOWN = "unknown"
    GONE = "gone"


class LinkRefusedError(Exception):
    """The link opens nothing. Says only whether it ended or never was, so that a forger learns nothing."""

    def __init__(self, state: LinkState) -> None:
        super().__init__(state.value)
        self.state = state


class LinkKeysError(ValueError):
    """The file of link keys cannot be used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyLink:
    """What a link says: the chain, its organisation, and `head`, the event hash that must still be in the chain."""

    link_id: str
    chain_id: str
    organisation_id: str
    head: bytes
    expires_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkKeys:
    """Secrets by key id (several while keys rotate), and the ids of links that were revoked."""

    secrets: dict[str, bytes]
    revoked: frozenset[str]


def is_safe_id(text: str) -> bool:
    """Whether `text` may name a chain or organisation in a path: one plain component, no separators, no leading dot."""
    return _SAFE_ID.fullmatch(text) is not None


def load_link_keys(path: Path) -> LinkKeys:
    """Read `[keys]` (id = base64 secret) and the optional top-level list `revoked`. Raises `LinkKeysError`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LinkKeysError(f"{path}: {error}") from error
    keys = document.get("keys")
    revoked = document.get("revoked", [])
    if not isinstance(keys, dict) or not keys:
        raise LinkKeysError(f"{path}: the table [keys] must hold at least one key")
    if not isinstance(revoked, list) or not all(isinstance(link_id, str) for link_id in revoked):
        raise LinkKeysError(f"{path}: `revoked` must be a list of link ids")
    return LinkKeys(
        secrets={key_id: _decode_secret(path, key_id, text) for key_id, text in keys.items()},
        revoked=frozenset(revoked),
    )


def open_link(token: str, keys: LinkKeys, *, now: datetime) -> VerifyLink:
    """Check the signature, the expiry and the revocation of `token`. Raises `LinkRefusedError`."""
    key_id, signed = _split(token)
    # An unknown key id costs the same work as a wrong signature, so timing tells no key id.
    secret = keys.secrets.get(key_id) or secrets.token_bytes(MIN_SECRET_BYTES)
    try:
        claims = _serializer(secret).loads(signed)
    except BadData:
        raise LinkRefusedError(LinkState.UNKNOWN) from None
    link = _parse(claims)
    if link.expires_at <= now or link.link_id in keys.revoked:
        raise LinkRefusedError(LinkState.GONE)
    return link


def read_link(token: str) -> VerifyLink:
    """What `token` claims, its signature NOT checked: for a page whose gateway checked it. Raises `LinkRefusedError`.

    Claims unpack to at most about 1,000 times the token's length, so the token's cap bounds the work.
    """
    _, signed = _split(token)
    try:
        _, claims = _serializer(b"").loads_unsafe(signed)
    except BadData:
        raise LinkRefusedError(LinkState.UNKNOWN) from None
    return _parse(claims)


def _split(token: str) -> tuple[str, str]:
    match = _TOKEN.fullmatch(token) if len(token) <= MAX_TOKEN_CHARACTERS else None
    if match is None:
        raise LinkRefusedError(LinkState.UNKNOWN)
    return match[1], match[2]


def _serializer(secret: bytes) -> URLSafeSerializer:
    return URLSafeSerializer(
        secret,
        salt=LINK_SALT,
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )


def _parse(claims: Any) -> VerifyLink:
    match claims:
        case {"chain": str(chain), "org": str(org), "head": str(head), "exp": int(exp), "id": str(link_id)} if (
            set(claims) == {"chain", "org", "head", "exp", "id"}
            and all(is_safe_id(name) for name in (chain, org, link_id))
            and _HEAD.fullmatch(head)
            and not isinstance(exp, bool)
            and 0 <= exp <= MAX_UNIX_SECONDS
        ):
            return VerifyLink(
                link_id=link_id,
                chain_id=chain,
                organisation_id=org,
                head=bytes.fromhex(head),
                expires_at=datetime.fromtimestamp(exp, tz=UTC),
            )
    raise LinkRefusedError(LinkState.UNKNOWN)


def _decode_secret(path: Path, key_id: str, text: Any) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key_id, re.ASCII):
        raise LinkKeysError(f"{path}: a key id holds 1 to 64 letters, digits, `-` or `_`")
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise LinkKeysError(f"{path}: the secret of key {key_id} is not base64") from None
    if len(secret) < MIN_SECRET_BYTES:
        raise LinkKeysError(f"{path}: the secret of key {key_id} is shorter than {MIN_SECRET_BYTES} bytes")
    return secret
