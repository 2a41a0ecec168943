"""Signatures of webhooks in the scheme of Standard Webhooks, symmetric variant `v1`.

    signature = "v1," + base64(HMAC-SHA256(secret, webhook-id "." webhook-timestamp "." body))

The time is signed with the body, so that a message that was listened to cannot be sent again later; several signatures
may stand side by side, so that a secret can be replaced while both are in use.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32
MIN_SECRET_BYTES = 24  # the scheme's own bounds
MAX_SECRET_BYTES = 64
TOLERANCE_SECONDS = 300
# A sender who replaces a secret sends two; more are somebody who guesses.
MAX_SIGNATURES = 8
MAX_ID_CHARACTERS = 256

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
_VERSION = "v1,"


class SignatureError(Exception):
    """A message that is not believed; the text says why, for the log and never for the sender."""


def new_secret() -> bytes:
    """A fresh secret."""
    return secrets.token_bytes(SECRET_BYTES)


def show_secret(secret: bytes) -> str:
    """A secret as people copy it: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secret).decode()


def read_secret(text: str) -> bytes:
    """The secret that `show_secret` gave. Raises ValueError, without repeating the text."""
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a secret is {PREFIX!r} followed by base64") from None
    if not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise ValueError(f"a secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, not {len(secret)}")
    return secret


def sign(valid_secrets: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a message; `timestamp` in seconds since 1970, one signature for each secret."""
    signatures = " ".join(_VERSION + _mac(secret, message_id, str(timestamp), body) for secret in valid_secrets)
    return {ID_HEADER: message_id, TIMESTAMP_HEADER: str(timestamp), SIGNATURE_HEADER: signatures}


def verify(valid_secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, *, now: float) -> str:
    """The id of a message that somebody with one of the secrets signed within the tolerance. Raises SignatureError.

    `headers` have lower-case names; `now` is in seconds since 1970.
    """
    message_id, timestamp = headers.get(ID_HEADER, ""), headers.get(TIMESTAMP_HEADER, "")
    if not 1 <= len(message_id) <= MAX_ID_CHARACTERS or not (message_id.isascii() and message_id.isprintable()):
        raise SignatureError(f"{ID_HEADER} is missing or unusable")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 11):  # noqa: PLR2004 - enough until 5138
        raise SignatureError(f"{TIMESTAMP_HEADER} is not a number of seconds")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise SignatureError(f"{TIMESTAMP_HEADER} is too far from the present")
    given = [one for one in headers.get(SIGNATURE_HEADER, "").split(" ") if one.startswith(_VERSION)]
    if not 1 <= len(given) <= MAX_SIGNATURES:
        raise SignatureError(f"{SIGNATURE_HEADER} holds no signature of the version v1, or too many")
    expected = [_VERSION + _mac(secret, message_id, timestamp, body) for secret in valid_secrets]
    # Every pair is compared, each in constant time: how long it took says nothing about which came close.
    matches = [hmac.compare_digest(mine.encode(), theirs.encode()) for mine in expected for theirs in given]
    if not any(matches):
        raise SignatureError("no signature matches")
    return message_id


def verify_body_only(valid_secrets: Sequence[bytes], signature: str, body: bytes) -> str:
    """An id for a message whose sender signs the body alone: `sha256=` and the HMAC in hexadecimal.

    Raises SignatureError. Such a message carries no time. The id is the body's digest: the same message counts once.
    """
    given = signature.strip().lower().removeprefix("sha256=").encode("ascii", "replace")
    macs = [hmac.new(secret, body, hashlib.sha256).hexdigest().encode() for secret in valid_secrets]
    if not any([hmac.compare_digest(mac, given) for mac in macs]):  # noqa: C419 - all of them, as above
        raise SignatureError("no signature matches")
    return hashlib.sha256(body).hexdigest()


def _mac(secret: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
