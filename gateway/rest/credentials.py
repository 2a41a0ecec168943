"""Routes: credentials of machines."""

from http import HTTPStatus
from typing import Annotated

from pydantic import Field

from gateway.actions import credentials
from gateway.actions.credentials import Credential, CredentialSecret
from gateway.auth.actions import Scope
from gateway.auth.credentials import (
    DEFAULT_OVERLAP_SECONDS,
    DEFAULT_TOKEN_SECONDS,
    MAX_NAME_CHARACTERS,
    MAX_OVERLAP_SECONDS,
    MAX_REASON_CHARACTERS,
    MAX_TOKEN_SECONDS,
    MIN_TOKEN_SECONDS,
)
from gateway.rest.models import LINE, OptionalBody, PageQuery, Strict, Uuid
from gateway.rest.routing import Answer, Call, Repeat, Route
from gateway.values import Page

MAX_ROLES = 32

RoleName = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_-]{0,62}$")]
ScopeName = Annotated[str, Field(json_schema_extra={"enum": [str(scope) for scope in Scope]}, max_length=64)]


class CreateCredential(Strict):
    """A credential to create."""

    name: str = Field(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=LINE)
    roles: list[RoleName] = Field(max_length=MAX_ROLES, description="No more than you have yourself.")
    scopes: list[ScopeName] = Field(min_length=1, max_length=MAX_ROLES, description="No more than you have yourself.")
    token_seconds: int = Field(
        default=DEFAULT_TOKEN_SECONDS,
        ge=MIN_TOKEN_SECONDS,
        le=MAX_TOKEN_SECONDS,
        description="How long each of its tokens is good for.",
    )


class CredentialPath(Strict):
    """A credential."""

    credential_id: Uuid


class RotateBody(OptionalBody):
    """How long the secret before works on."""

    overlap_seconds: int = Field(default=DEFAULT_OVERLAP_SECONDS, ge=0, le=MAX_OVERLAP_SECONDS)


class RevokeBody(Strict):
    """Why a credential is ended."""

    reason: str = Field(min_length=1, max_length=MAX_REASON_CHARACTERS, pattern=LINE)


def create_credential(call: Call, body: CreateCredential) -> Answer:
    """Create a credential for a machine.

    Its secret is in this answer and nowhere else. With it, the machine gets tokens at /oauth/token.
    """
    created = credentials.create_credential(
        call.desk,
        call.caller,
        name=body.name,
        roles=body.roles,
        scopes=body.scopes,
        token_seconds=body.token_seconds,
    )
    return Answer(value=created, headers={"Location": f"/api/v1/credentials/{created.credential.credential_id}"})


def list_credentials(call: Call, query: PageQuery) -> Answer:
    """List credentials, oldest first."""
    return Answer(value=credentials.list_credentials(call.desk, call.caller, limit=query.limit, cursor=query.cursor))


def get_credential(call: Call, path: CredentialPath) -> Answer:
    """Get one credential."""
    return Answer(value=credentials.get_credential(call.desk, call.caller, credential_id=path.credential_id))


def rotate_credential(call: Call, path: CredentialPath, body: RotateBody) -> Answer:
    """Give a credential a new secret.

    The one before works on for the overlap, so that the machine can be changed over.
    """
    rotated = credentials.rotate_credential(
        call.desk, call.caller, credential_id=path.credential_id, overlap_seconds=body.overlap_seconds
    )
    return Answer(value=rotated)


def revoke_credential(call: Call, path: CredentialPath, body: RevokeBody) -> Answer:
    """End a credential for ever, and soon the tokens it was given."""
    revoked = credentials.revoke_credential(
        call.desk, call.caller, credential_id=path.credential_id, reason=body.reason
    )
    return Answer(value=revoked)


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/credentials",
        handler=create_credential,
        uses=(credentials.create_credential,),
        answer=CredentialSecret,
        tag="Credentials",
        status=HTTPStatus.CREATED,
        repeat=Repeat.GATEWAY,
        secret=True,
    ),
    Route(
        method="GET",
        path="/credentials",
        handler=list_credentials,
        uses=(credentials.list_credentials,),
        answer=Page[Credential],
        tag="Credentials",
    ),
    Route(
        method="GET",
        path="/credentials/{credential_id}",
        handler=get_credential,
        uses=(credentials.get_credential,),
        answer=Credential,
        tag="Credentials",
    ),
    Route(
        method="POST",
        path="/credentials/{credential_id}/rotation",
        handler=rotate_credential,
        uses=(credentials.rotate_credential,),
        answer=CredentialSecret,
        tag="Credentials",
        repeat=Repeat.GATEWAY,
        secret=True,
    ),
    Route(
        method="POST",
        path="/credentials/{credential_id}/revocation",
        handler=revoke_credential,
        uses=(credentials.revoke_credential,),
        answer=Credential,
        tag="Credentials",
        repeat=Repeat.GATEWAY,
    ),
)
