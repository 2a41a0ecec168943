"""Reports that LiveKit sends: believed only as LiveKit signs them.

LiveKit sends a JWT beside the body. It is signed (HS256) with the secret of an API key, names that key as its issuer,
and carries the SHA-256 of the body. What must hold, in this order:

1. the body has at most MAX_BODY_BYTES, the token at most MAX_TOKEN_CHARACTERS;
2. the token's signature is that of one of our keys, and the key that it names is that very one;
3. it has not expired and is valid already, give or take LEEWAY_SECONDS;
4. its SHA-256 is that of the bytes received, before anything has read them;
5. the body is the JSON of a report with an id, made at most MAX_AGE ago and not in the future.

LiveKit's own library checks neither 1 nor 5, compares in varying time, and raises whatever comes. The age bounds how
long a report can be replayed; within it, whoever receives reports remembers their ids.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf import json_format
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from livekit.protocol.webhook import WebhookEvent as WireEvent

from media.errors import MediaError, Reason
from media.recordings.livekit_reading import read_event
from media.recordings.livekit_values import ApiKey, WebhookEvent

# A report of a composite with hundreds of files has some 100 KB.
MAX_BODY_BYTES = 1024 * 1024
# LiveKit's have about 400.
MAX_TOKEN_CHARACTERS = 4096
# What LiveKit's library tolerates between two clocks.
LEEWAY_SECONDS = 60
# LiveKit drops what it could not deliver for half a minute, and tries each delivery for less than another.
MAX_AGE = timedelta(minutes=10)

_ALGORITHMS = ["HS256"]


def read_webhook(
    body: bytes, authorization: str, *, keys: Sequence[ApiKey], at: datetime | None = None
) -> WebhookEvent:
    """The report in `body`, which `authorization`, the header of that name, vouches for; `at` is now, unless given.

    Raises MediaError (WEBHOOK_REFUSED) for everything else. A report of a kind that is not known here is no error.
    """
    now = at or datetime.now(UTC)
    if len(body) > MAX_BODY_BYTES:
        raise _refused(f"The body has more than {MAX_BODY_BYTES} bytes.")
    if not 0 < len(authorization) <= MAX_TOKEN_CHARACTERS:
        raise _refused("The Authorization header is missing or too long.")
    vouched = _vouched_digest(authorization, keys, now)
    if not hmac.compare_digest(vouched, hashlib.sha256(body).digest()):
        raise _refused("The body is not the one that was signed.")
    event = _parse(body)
    if not now - MAX_AGE <= event.created_at <= now + timedelta(seconds=LEEWAY_SECONDS):
        raise _refused("The report is too old, or from the future.")
    return event


def _vouched_digest(token: str, keys: Sequence[ApiKey], now: datetime) -> bytes:
    """The SHA-256 that the token carries, after its signature and its claims were checked."""
    for key in keys:
        try:
            secret = OctKey.import_key(key.secret.encode())
            registry = jws.JWSRegistry(algorithms=_ALGORITHMS)
            claims = jwt.decode(token.encode("ascii"), secret, algorithms=_ALGORITHMS, registry=registry).claims
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            # A hostile header can be any JSON at all; whatever it breaks, this key did not sign it.
            continue
        return _checked_digest(claims, key, now)
    raise _refused("The token in the Authorization header is not signed with a key of ours.")


def _checked_digest(claims: dict[str, object], key: ApiKey, now: datetime) -> bytes:
    registry = jwt.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": key.key},
        exp={"essential": True},
    )
    try:
        registry.validate(claims)
        # Participants hold tokens that are signed with the same secret; only LiveKit's reports have this claim.
        digest = base64.b64decode(str(claims["sha256"]).encode("ascii"), validate=True)
    except (JoseError, ValueError, TypeError, KeyError, OverflowError, binascii.Error):
        raise _refused("The token in the Authorization header is not one for a report, or not valid now.") from None
    return digest


def _parse(body: bytes) -> WebhookEvent:
    try:
        return read_event(json_format.Parse(body.decode("utf-8"), WireEvent(), ignore_unknown_fields=True))
    except (json_format.Error, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        # A signature makes nobody's JSON well-formed; the library raises all of these.
        raise _refused("The body is not a report of LiveKit's that can be read.") from error


def _refused(why: str) -> MediaError:
    return MediaError(Reason.WEBHOOK_REFUSED, f"This was not taken as a report of LiveKit's. {why}")
