"""Credentials of machines: who may ask the token endpoint for tokens, with which secret, and what those permit.

A secret is 32 random bytes, shown once and kept as its SHA-256: nobody can search for what was drawn from 2^256, so a
slow hash would protect nothing. Rotation gives a new secret and lets the one before it work on for a while; revocation
ends the credential, and the tokens it was given, within `REMEMBER_SECONDS` of `standing`.
"""

import hashlib
import hmac
import math
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from gateway.auth.access import require_scopes
from gateway.auth.actions import Scope
from gateway.auth.identifiers import microseconds, read_uuid
from gateway.auth.values import GatewayCaller
from gateway.parts import Parts
from gateway.problems import Code, Problem
from gateway.records.records import Records

SECRET_BYTES = 32
# Recognisable where it must not be, by those who search repositories and logs for secrets.
SECRET_PREFIX = "indsec_"  # noqa: S105 - what every secret begins with
DEFAULT_TOKEN_SECONDS = 600
MIN_TOKEN_SECONDS = 60
MAX_TOKEN_SECONDS = 3600
DEFAULT_OVERLAP_SECONDS = 24 * 3600
MAX_OVERLAP_SECONDS = 30 * 24 * 3600
MAX_NAME_CHARACTERS = 100
MAX_REASON_CHARACTERS = 500

_ADD = """
INSERT INTO gateway.credentials (credential_id, organisation_id, name, roles, scopes, token_seconds, created_by,
                                 created_at)
VALUES (uuidv7(), %s, %s, %s, %s, %s, %s, %s)
RETURNING credential_id, organisation_id, name, roles, scopes, token_seconds, created_by, created_at, revoked_by,
          revoked_reason, revoked_at
"""
_KEEP = """
INSERT INTO gateway.credential_secrets (secret_id, credential_id, organisation_id, secret_sha256, created_by,
                                        created_at)
VALUES (uuidv7(), %s, %s, %s, %s, %s)
"""
# The newest one works on for the overlap, older ones end.
_END_SECRETS = """
UPDATE gateway.credential_secrets AS secret
   SET ends_at = CASE WHEN EXISTS (SELECT FROM gateway.credential_secrets AS newer
                                    WHERE newer.organisation_id = secret.organisation_id
                                      AND newer.credential_id = secret.credential_id
                                      AND newer.secret_id > secret.secret_id)
                      THEN least(secret.ends_at, %(now)s) ELSE %(overlap_ends_at)s END
 WHERE secret.organisation_id = %(organisation_id)s AND secret.credential_id = %(credential_id)s
   AND (secret.ends_at IS NULL OR secret.ends_at > %(now)s)
"""
_ONE = """
SELECT credential_id, organisation_id, name, roles, scopes, token_seconds, created_by, created_at, revoked_by,
       revoked_reason, revoked_at
  FROM gateway.credentials
 WHERE organisation_id = %s AND credential_id = %s
"""
_LOCKED = _ONE + " FOR UPDATE"
_PAGE = """
SELECT credential_id, organisation_id, name, roles, scopes, token_seconds, created_by, created_at, revoked_by,
       revoked_reason, revoked_at
  FROM gateway.credentials
 WHERE organisation_id = %s AND credential_id > %s
 ORDER BY credential_id
 LIMIT %s
"""
_REVOKE = """
UPDATE gateway.credentials SET revoked_by = %s, revoked_reason = %s, revoked_at = %s
 WHERE organisation_id = %s AND credential_id = %s AND revoked_at IS NULL
"""
_LIVE_SECRETS = """
SELECT secret_sha256 FROM gateway.credential_secrets
 WHERE organisation_id = %s AND credential_id = %s AND (ends_at IS NULL OR ends_at > %s)
"""

_ORGANISATION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)
_NOBODY = hashlib.sha256(b"no credential has this secret").digest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Credential:
    """A credential without its secret; times in microseconds since 1970."""

    credential_id: UUID
    organisation_id: str
    name: str
    roles: list[str]
    scopes: list[str]
    token_seconds: int
    created_by: str
    created_at: int
    revoked_by: str | None
    revoked_reason: str | None
    revoked_at: int | None

    @property
    def client_id(self) -> str:
        """What the token endpoint knows it by; it names the organisation, whose rows alone are then looked at."""
        return f"{self.organisation_id}.{self.credential_id}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CreatedCredential:
    """A credential and a secret of it, which is shown this once."""

    credential: Credential
    client_secret: str

    @property
    def client_id(self) -> str:
        """As Credential.client_id."""
        return self.credential.client_id


def create_credential(  # noqa: PLR0913 - the parts of one row
    parts: Parts,
    caller: GatewayCaller,
    *,
    name: str,
    roles: Iterable[str],
    scopes: Iterable[str],
    token_seconds: int = DEFAULT_TOKEN_SECONDS,
) -> CreatedCredential:
    """Create a credential of the caller's organisation, with no more rights than the caller has.

    Raises Problem: INVALID_REQUEST, FORBIDDEN.
    """
    wanted = sorted(set(scopes))
    require_scopes(caller, wanted)
    given = sorted(set(roles))
    parts.access.require_grantable(caller, given)
    return add_credential(
        parts.records,
        caller.organisation_id,
        by=caller.subject,
        name=name,
        roles=given,
        scopes=wanted,
        token_seconds=token_seconds,
    )


def add_credential(  # noqa: PLR0913 - the parts of one row
    records: Records,
    organisation_id: str,
    *,
    by: str,
    name: str,
    roles: Iterable[str],
    scopes: Iterable[str],
    token_seconds: int = DEFAULT_TOKEN_SECONDS,
) -> CreatedCredential:
    """Create a credential on behalf of `by`, who was permitted to. Raises Problem (INVALID_REQUEST)."""
    scopes = list(scopes)
    _check_text("name", name, MAX_NAME_CHARACTERS)
    if _ORGANISATION.fullmatch(organisation_id) is None:
        raise Problem(Code.INVALID_REQUEST, "An organisation is named by a-z, 0-9 and -.", field="organisation_id")
    unknown = sorted(set(scopes) - set(Scope))
    if unknown or not scopes:
        raise Problem(Code.INVALID_REQUEST, f"Give scopes from this list: {', '.join(sorted(Scope))}.", field="scopes")
    if not MIN_TOKEN_SECONDS <= token_seconds <= MAX_TOKEN_SECONDS:
        raise Problem(
            Code.INVALID_REQUEST,
            f"Tokens last from {MIN_TOKEN_SECONDS} to {MAX_TOKEN_SECONDS} seconds.",
            field="token_seconds",
        )
    now = microseconds()
    with records.transaction(organisation_id) as connection:
        credential = _row(connection, _ADD, (organisation_id, name, list(roles), scopes, token_seconds, by, now))
        if credential is None:
            raise RuntimeError("an insert returned no row")
        return _with_secret(connection, credential, by=by, now=now)


def get_credential(parts: Parts, caller: GatewayCaller, credential_id: str) -> Credential | None:
    """The credential; None when the caller's organisation has none of that name."""
    found = read_uuid(credential_id)
    if found is None:
        return None
    with parts.records.transaction(caller.organisation_id) as connection:
        return _row(connection, _ONE, (caller.organisation_id, found))


def list_credentials(
    parts: Parts, caller: GatewayCaller, *, after: str | None = None, limit: int = 100
) -> list[Credential]:
    """The organisation's credentials, oldest first, from the one after `after` on."""
    start = read_uuid(after) if after else UUID(int=0)
    if start is None:
        raise Problem(Code.INVALID_REQUEST, "The cursor is not one of this list.", field="cursor")
    with parts.records.transaction(caller.organisation_id) as connection:
        cursor = connection.cursor(row_factory=class_row(Credential))
        return cursor.execute(_PAGE, (caller.organisation_id, start, limit)).fetchall()


def rotate_credential(
    parts: Parts, caller: GatewayCaller, credential_id: str, *, overlap_seconds: int = DEFAULT_OVERLAP_SECONDS
) -> CreatedCredential | None:
    """A new secret; the one before works on for `overlap_seconds`, older ones end. None for an unknown credential.

    Raises Problem: INVALID_REQUEST, FORBIDDEN for a credential that may do more than the caller, CONFLICT for a revoked
    one.
    """
    if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
        raise Problem(
            Code.INVALID_REQUEST, f"The overlap is 0 to {MAX_OVERLAP_SECONDS} seconds.", field="overlap_seconds"
        )
    known = get_credential(parts, caller, credential_id)
    if known is None:
        return None
    parts.access.require_no_more_than(caller, _holder(known, caller.request_id))
    found = known.credential_id
    now = microseconds()
    with parts.records.transaction(caller.organisation_id) as connection:
        credential = _row(connection, _LOCKED, (caller.organisation_id, found))
        if credential is None:
            return None
        if credential.revoked_at is not None:
            raise Problem(Code.CONFLICT, "This credential was revoked; create a new one.")
        connection.execute(
            _END_SECRETS,
            {
                "organisation_id": caller.organisation_id,
                "credential_id": found,
                "now": now,
                "overlap_ends_at": now + overlap_seconds * 1_000_000,
            },
        )
        return _with_secret(connection, credential, by=caller.subject, now=now)


def revoke_credential(parts: Parts, caller: GatewayCaller, credential_id: str, *, reason: str) -> Credential | None:
    """End a credential for ever; ending it again changes nothing. None for an unknown one. Raises Problem."""
    _check_text("reason", reason, MAX_REASON_CHARACTERS)
    found = read_uuid(credential_id)
    if found is None:
        return None
    with parts.records.transaction(caller.organisation_id) as connection:
        connection.execute(_REVOKE, (caller.subject, reason, microseconds(), caller.organisation_id, found))
        credential = _row(connection, _ONE, (caller.organisation_id, found))
    parts.access.changed()
    return credential


def check_secret(records: Records, client_id: str, client_secret: str) -> Credential | None:
    """The credential that a client's name and secret prove; None for everything else. Raises Problem.

    Takes the same course whether the client, the secret or both are wrong.
    """
    organisation_id, _, identifier = client_id.partition(".")
    found = read_uuid(identifier)
    if _ORGANISATION.fullmatch(organisation_id) is None:
        organisation_id = "nobody"
        found = None
    digest = hashlib.sha256(client_secret.encode("utf-8", "surrogatepass")).digest()
    with records.transaction(organisation_id) as connection:
        wanted = found or UUID(int=0)
        credential = _row(connection, _ONE, (organisation_id, wanted))
        kept = [row[0] for row in connection.execute(_LIVE_SECRETS, (organisation_id, wanted, microseconds()))]
    matches = [hmac.compare_digest(one, digest) for one in kept or [_NOBODY]]
    if credential is None or credential.revoked_at is not None or not any(matches):
        return None
    return credential


def _holder(credential: Credential, request_id: str) -> GatewayCaller:
    """Whoever has the credential's secret, as the gateway will know them."""
    return GatewayCaller(
        organisation_id=credential.organisation_id,
        subject=credential.client_id,
        roles=frozenset(credential.roles),
        scopes=frozenset(credential.scopes),
        expires_at=math.inf,
        request_id=request_id,
        credential_id=str(credential.credential_id),
    )


def _with_secret(
    connection: psycopg.Connection[Any], credential: Credential, *, by: str, now: int
) -> CreatedCredential:
    secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    digest = hashlib.sha256(secret.encode()).digest()
    connection.execute(_KEEP, (credential.credential_id, credential.organisation_id, digest, by, now))
    return CreatedCredential(credential=credential, client_secret=secret)


def _row(connection: psycopg.Connection[Any], query: str, parameters: tuple[object, ...]) -> Credential | None:
    cursor = connection.cursor(row_factory=class_row(Credential))
    return cursor.execute(query.encode(), parameters).fetchone()


def _check_text(field: str, text: str, longest: int) -> None:
    if not text.strip() or len(text) > longest or not text.isprintable():
        raise Problem(Code.INVALID_REQUEST, f"Give 1 to {longest} printable characters.", field=field)
