"""Credentials with which machines ask for tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.actions.desk import Desk
from gateway.auth import credentials
from gateway.auth.actions import Action
from gateway.auth.values import GatewayCaller, Resource
from gateway.values import Page

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Credential:
    """A machine's credential without its secret; the last three are null until it is revoked."""

    credential_id: str
    client_id: str
    name: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    token_seconds: int
    created_by: str
    created_at: datetime
    revoked_by: str | None
    revoked_reason: str | None
    revoked_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CredentialSecret:
    """A credential and its new secret, which is shown this once."""

    credential: Credential
    client_id: str
    client_secret: str


def create_credential(  # noqa: PLR0913 - what a credential consists of
    desk: Desk,
    caller: GatewayCaller,
    *,
    name: str,
    roles: Sequence[str],
    scopes: Sequence[str],
    token_seconds: int = credentials.DEFAULT_TOKEN_SECONDS,
) -> CredentialSecret:
    """Create a credential, with no more rights than the caller has. Its secret is shown this once."""
    with desk.authorise(caller, Action.CREDENTIAL_MANAGE, Resource.organisation(caller.organisation_id)):
        created = credentials.create_credential(
            desk.parts, caller, name=name, roles=roles, scopes=scopes, token_seconds=token_seconds
        )
        return _secret(created)


def list_credentials(
    desk: Desk, caller: GatewayCaller, *, limit: int = 100, cursor: str | None = None
) -> Page[Credential]:
    """A page of the organisation's credentials, oldest first."""
    with desk.authorise(caller, Action.CREDENTIAL_VIEW, Resource.organisation(caller.organisation_id)):
        found = credentials.list_credentials(desk.parts, caller, after=cursor, limit=limit + 1)
        more = str(found[limit - 1].credential_id) if len(found) > limit else None
        return Page(items=tuple(map(_credential, found[:limit])), next_cursor=more)


def get_credential(desk: Desk, caller: GatewayCaller, *, credential_id: str) -> Credential:
    """One credential."""
    resource = Resource.credential(caller.organisation_id, credential_id)
    with desk.authorise(caller, Action.CREDENTIAL_VIEW, resource):
        found = credentials.get_credential(desk.parts, caller, credential_id)
        if found is None:
            raise desk.parts.access.not_found(caller, Action.CREDENTIAL_VIEW, resource)
        return _credential(found)


def rotate_credential(
    desk: Desk,
    caller: GatewayCaller,
    *,
    credential_id: str,
    overlap_seconds: int = credentials.DEFAULT_OVERLAP_SECONDS,
) -> CredentialSecret:
    """A new secret, shown this once; the one before works on for the overlap."""
    resource = Resource.credential(caller.organisation_id, credential_id)
    with desk.authorise(caller, Action.CREDENTIAL_MANAGE, resource):
        found = credentials.rotate_credential(desk.parts, caller, credential_id, overlap_seconds=overlap_seconds)
        if found is None:
            raise desk.parts.access.not_found(caller, Action.CREDENTIAL_MANAGE, resource)
        return _secret(found)


def revoke_credential(desk: Desk, caller: GatewayCaller, *, credential_id: str, reason: str) -> Credential:
    """End a credential for ever."""
    resource = Resource.credential(caller.organisation_id, credential_id)
    with desk.authorise(caller, Action.CREDENTIAL_MANAGE, resource):
        found = credentials.revoke_credential(desk.parts, caller, credential_id, reason=reason)
        if found is None:
            raise desk.parts.access.not_found(caller, Action.CREDENTIAL_MANAGE, resource)
        return _credential(found)


def _secret(created: credentials.CreatedCredential) -> CredentialSecret:
    return CredentialSecret(
        credential=_credential(created.credential), client_id=created.client_id, client_secret=created.client_secret
    )


def _credential(row: credentials.Credential) -> Credential:
    return Credential(
        credential_id=str(row.credential_id),
        client_id=row.client_id,
        name=row.name,
        roles=tuple(row.roles),
        scopes=tuple(row.scopes),
        token_seconds=row.token_seconds,
        created_by=row.created_by,
        created_at=_moment(row.created_at),
        revoked_by=row.revoked_by,
        revoked_reason=row.revoked_reason,
        revoked_at=None if row.revoked_at is None else _moment(row.revoked_at),
    )


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
