"""Who makes a request: the bearer token in its Authorization header (RFC 6750), checked anew with every request.

Tokens of two issuers are believed: of the organisations' identity provider, and of the gateway itself for machines. The
gateway's tokens are for the gateway alone, and those with which it calls the services behind it are not for itself.
"""

import math
from typing import Self

from flask import Request

from gateway.auth.identifiers import read_uuid
from gateway.auth.signing import OwnKeys, SigningKeys
from gateway.auth.standing import Standings
from gateway.auth.values import GatewayCaller
from gateway.problems import Code, Problem
from gateway.ratelimit import RateLimiter
from gateway.settings import GatewaySettings
from gateway.shared import Table
from ledger.identity import BlockingIdentity, Caller, UnauthenticatedError
from ledger.settings_reader import TokenSettings

REALM = 'Bearer realm="indelible"'
# Of one address, tokens that cannot be believed; a client whose token has just expired asks again once or twice.
REFUSALS_PER_SECOND = 2.0
BURST_REFUSALS = 40


class Callers:
    """Finds out who makes a request."""

    def __init__(self, settings: GatewaySettings, keys: SigningKeys, standings: Standings, refused: Table) -> None:
        """Read or fetch the identity provider's keys. Raises SettingsError."""
        self._issuer = settings.issuing.issuer
        own = TokenSettings(issuer=self._issuer, audience=self._issuer, keys=settings.issuing.keys)
        self._identity = BlockingIdentity(settings.token, known=[(own, OwnKeys(keys))])
        self._standings = standings
        self._refusals = RateLimiter(per_second=REFUSALS_PER_SECOND, burst=BURST_REFUSALS, table=refused)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop keeping the keys fresh."""
        self._identity.close()

    def identify(self, request: Request, request_id: str) -> GatewayCaller:
        """The caller of a request. Raises Problem: UNAUTHENTICATED, INVALID_REQUEST, RATE_LIMITED."""
        token = _bearer_token(request)
        try:
            caller = self._of(self._identity.authenticate(token), request_id)
        except UnauthenticatedError:
            raise self._refused(request) from None
        if self._standings.of(caller).revoked:
            raise self._refused(request)
        return caller

    def _of(self, caller: Caller, request_id: str) -> GatewayCaller:
        credential_id = _credential_of(caller) if caller.issuer == self._issuer else None
        return GatewayCaller(
            organisation_id=caller.organisation_id,
            subject=caller.subject,
            roles=caller.roles,
            scopes=caller.scopes,
            expires_at=caller.expires_at,
            request_id=request_id,
            credential_id=credential_id,
        )

    def _refused(self, request: Request) -> Problem:
        wait = self._refusals.wait_seconds(request.remote_addr or "")
        if wait > 0:
            return Problem(
                Code.RATE_LIMITED,
                "Too many tokens that are not valid came from this address. Wait a moment.",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        return Problem(
            Code.UNAUTHENTICATED,
            "The bearer token is not valid here: it may have expired, or be for another service.",
            headers={"WWW-Authenticate": f'{REALM}, error="invalid_token"'},
        )


def _credential_of(caller: Caller) -> str:
    """The credential a token of the gateway was given for. Raises UnauthenticatedError when it names none."""
    organisation_id, _, identifier = (caller.client_id or "").partition(".")
    if organisation_id != caller.organisation_id or read_uuid(identifier) is None:
        raise UnauthenticatedError
    return identifier


def _bearer_token(request: Request) -> str:
    """RFC 6750 section 2.1, and no other way: an address with a token in it ends up in logs."""
    if request.query_string and "access_token" in request.args:
        raise _malformed("A token is sent in the Authorization header, never in the address.")
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Problem(
            Code.UNAUTHENTICATED,
            "This needs a bearer token: Authorization: Bearer TOKEN.",
            # Section 3.1: without a token, the challenge says nothing of an error.
            headers={"WWW-Authenticate": REALM},
        )
    token = token.strip(" ")
    # Two headers reach us as one, joined by a comma.
    if not token or "," in token or " " in token:
        raise _malformed("Send exactly one Authorization header: Bearer TOKEN.")
    return token


def _malformed(detail: str) -> Problem:
    return Problem(Code.INVALID_REQUEST, detail, headers={"WWW-Authenticate": f'{REALM}, error="invalid_request"'})
