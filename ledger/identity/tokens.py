"""Who is calling: bearer tokens (RFC 9068 style JWTs) checked on every request.

A token is believed when its signature verifies under a key the operator named, its algorithm is on the list below and
fits that key, and issuer, audience, times, organisation, subject and scopes are all as they must be. Whatever is wrong,
the caller hears the same sentence: a refusal must not help anybody to forge a better token.
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joserfc import jws, jwt
from joserfc.errors import JoseError

from ledger.errors import LedgerError, Reason
from ledger.identity.keys import KeySource, TrustedKey
from ledger.settings_reader import TokenSettings

# Asymmetric only: with a shared secret, whoever can check a token could also issue one.
ALGORITHMS = ("EdDSA", "Ed25519", "ES256", "RS256", "PS256")
TOKEN_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
LEEWAY_SECONDS = 30  # tolerated difference between the issuer's clock and ours
MAX_TOKEN_CHARACTERS = 8_192  # a larger one is not a token of ours; gRPC's metadata limit lies above
MAX_HEADER_CHARACTERS = 1_024
MAX_SUBJECT_CHARACTERS = 256
# Room for every caller of a busy service; each entry is a few hundred bytes.
MAX_REMEMBERED_TOKENS = 10_000
REFUSAL = "The bearer token is missing or not valid for this service."

_ORGANISATION_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Whom a token speaks for, and what it permits; `expires_at` in seconds since 1970.

    `roles` and `client_id` (RFC 9068) are the issuer's word, for services that ask for them.
    """

    organisation_id: str
    subject: str
    scopes: frozenset[str]
    expires_at: float
    issuer: str = ""
    roles: frozenset[str] = frozenset()
    client_id: str | None = None


class UnauthenticatedError(LedgerError):
    """The token cannot be believed. `issuer`: fetching that one's keys again might change it; None: nothing will."""

    def __init__(self, *, issuer: str | None = None) -> None:
        super().__init__(Reason.UNAUTHENTICATED, REFUSAL)
        self.issuer = issuer

    @property
    def unknown_key(self) -> bool:
        """Whether it names a key that the issuer may have begun to use a moment ago."""
        return self.issuer is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Issuer:
    """Whose tokens are believed, and the keys they are checked with."""

    settings: TokenSettings
    keys: KeySource


class Authenticator:
    """Checks bearer tokens against the keys of one issuer, or of several that each vouch for their own tokens only.

    A token is verified once and remembered by its digest until it expires or its issuer's keys change, since a
    signature check costs as much as the rest of an append's handling. Any number of threads may ask at once.
    """

    def __init__(
        self,
        settings: TokenSettings,
        keys: KeySource,
        clock: Callable[[], float] = time.time,
        others: Sequence[tuple[TokenSettings, KeySource]] = (),
    ) -> None:
        """`others` are further issuers, each with its keys; no two have the same name."""
        self._issuers = {one.issuer: _Issuer(settings=one, keys=source) for one, source in ((settings, keys), *others)}
        self._clock = clock
        self._remembered: dict[bytes, tuple[_Issuer, int, Caller]] = {}
        self._remembering = threading.Lock()
        self._registry = jws.JWSRegistry(algorithms=ALGORITHMS)
        self._registry.max_header_length = MAX_HEADER_CHARACTERS

    def authenticate(self, token: str) -> Caller:
        """The caller `token` speaks for. Raises UnauthenticatedError (a LedgerError) for anything else."""
        try:
            digest = hashlib.sha256(token.encode("ascii")).digest()
        except UnicodeEncodeError:
            raise UnauthenticatedError from None
        now = self._clock()
        known = self._remembered.get(digest)
        if known is not None:
            issuer, version, caller = known
            # Asking for the keys is what notices that they changed, or are too old to be believed.
            if issuer.keys.current() and issuer.keys.version == version and caller.expires_at > now:
                return caller
            self._remembered.pop(digest, None)
        issuer, signed = self._read(token)
        # Before the keys: if they change meanwhile, what was checked with the old ones is not remembered for the new.
        version = issuer.keys.version
        caller = self._verify(token, signed, issuer, now)
        with self._remembering:
            if len(self._remembered) >= MAX_REMEMBERED_TOKENS:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[digest] = issuer, version, caller
        return caller

    async def authenticate_anew(self, token: str) -> Caller:
        """As `authenticate`, but a key that is not known is looked for once.

        The issuer may have begun to use a key that was published after the service last looked.
        """
        try:
            return self.authenticate(token)
        except UnauthenticatedError as refusal:
            if refusal.issuer is None:
                raise
            await self.refresh(refusal.issuer)
            return self.authenticate(token)

    async def refresh(self, issuer: str) -> None:
        """Look for newer keys of an issuer, unless that was done a moment ago."""
        await self._issuers[issuer].keys.refresh()

    def _read(self, token: str) -> tuple[_Issuer, jws.CompactSignature]:
        """What the token looks like, and the issuer that it says it is of: only that one's keys may prove it."""
        if not token or len(token) > MAX_TOKEN_CHARACTERS:
            raise UnauthenticatedError
        try:
            signed = jws.extract_compact(token.encode("ascii"), registry=self._registry)
            named = json.loads(signed.payload)["iss"]
            return self._issuers[named], signed
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            # A hostile header can be any JSON at all; whatever it breaks, it is refused.
            raise UnauthenticatedError from None

    def _verify(self, token: str, signed: jws.CompactSignature, issuer: _Issuer, now: float) -> Caller:
        try:
            key = _choose_key(issuer, signed.protected)
            decoded = jwt.decode(token, key.key, algorithms=ALGORITHMS, registry=self._registry)
            return _read_claims(decoded.claims, issuer.settings, now)
        except UnauthenticatedError:
            raise
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise UnauthenticatedError from None


def _read_claims(claims: dict[str, object], settings: TokenSettings, now: float) -> Caller:
    required: dict[str, jwt.ClaimsOption] = {
        "iss": {"essential": True, "value": settings.issuer},
        "aud": {"essential": True, "value": settings.audience},
        "exp": {"essential": True},
        "sub": {"essential": True},
        "org": {"essential": True},
    }
    registry = jwt.JWTClaimsRegistry(now=int(now), leeway=LEEWAY_SECONDS, **required)
    registry.validate(claims)
    organisation_id, subject, expires = claims["org"], claims["sub"], claims["exp"]
    if not isinstance(organisation_id, str) or not _ORGANISATION_ID.fullmatch(organisation_id):
        raise UnauthenticatedError
    if not isinstance(subject, str) or len(subject) > MAX_SUBJECT_CHARACTERS or not _PRINTABLE.fullmatch(subject):
        raise UnauthenticatedError
    if not isinstance(expires, int | float):
        raise UnauthenticatedError
    if settings.longest_seconds is not None:
        issued = claims.get("iat")
        if not isinstance(issued, int | float) or expires - issued > settings.longest_seconds:
            raise UnauthenticatedError
    client_id = claims.get("client_id")
    return Caller(
        organisation_id=organisation_id,
        subject=subject,
        scopes=_read_scopes(claims.get("scope", "")) - settings.withheld,
        expires_at=expires + LEEWAY_SECONDS,
        issuer=settings.issuer,
        roles=_read_roles(claims.get("roles")),
        client_id=client_id if isinstance(client_id, str) else None,
    )


def require_scope(caller: Caller, scope: str) -> None:
    """Raises LedgerError (PERMISSION_DENIED) unless the caller's token carries `scope`."""
    if scope not in caller.scopes:
        raise LedgerError(
            Reason.PERMISSION_DENIED, f"This token does not permit that: it lacks the scope {scope}.", {"scope": scope}
        )


def _choose_key(issuer: _Issuer, header: dict[str, object]) -> TrustedKey:
    """The one key of the issuer a token's header names; its algorithm must be one that key may be used with."""
    token_type = header.get("typ")
    if not isinstance(token_type, str) or token_type.lower() not in TOKEN_TYPES:
        raise UnauthenticatedError
    if "crit" in header or "b64" in header:
        raise UnauthenticatedError
    key_id = header.get("kid")
    # Only a PEM key has no name of its own, and it is then the only key there is.
    named = [key for key in issuer.keys.current() if key.key_id is None or key.key_id == key_id]
    if not named:
        raise UnauthenticatedError(issuer=issuer.settings.issuer if isinstance(key_id, str) else None)
    if header.get("alg") not in named[0].algorithms:
        raise UnauthenticatedError
    return named[0]


def _read_scopes(scope: object) -> frozenset[str]:
    """RFC 8693 section 4.2: one space-separated string; some issuers write a list instead."""
    if isinstance(scope, str):
        return frozenset(scope.split())
    if isinstance(scope, list) and all(isinstance(one, str) for one in scope):
        return frozenset(scope)
    raise UnauthenticatedError


def _read_roles(roles: object) -> frozenset[str]:
    """A list of names, or several in one string; whatever else an issuer may mean by it gives no role."""
    if isinstance(roles, str):
        return frozenset(roles.split())
    if isinstance(roles, list):
        return frozenset(role for role in roles if isinstance(role, str))
    return frozenset()
