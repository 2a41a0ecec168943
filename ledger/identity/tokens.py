"""Who is calling: bearer tokens (RFC 9068 style JWTs) checked on every request.

A token is believed when its signature verifies under a key the operator named, its algorithm is on the list below and
fits that key, and issuer, audience, times, organisation, subject and scopes are all as they must be. Whatever is wrong,
the caller hears the same sentence: a refusal must not help anybody to forge a better token.
"""

import hashlib
import re
import time
from collections.abc import Callable
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
    """Whom a token speaks for, and what it permits; `expires_at` in seconds since 1970."""

    organisation_id: str
    subject: str
    scopes: frozenset[str]
    expires_at: float


class UnauthenticatedError(LedgerError):
    """The token cannot be believed. `unknown_key`: fetching the issuer's keys again might change that."""

    def __init__(self, *, unknown_key: bool = False) -> None:
        super().__init__(Reason.UNAUTHENTICATED, REFUSAL)
        self.unknown_key = unknown_key


class Authenticator:
    """Checks bearer tokens against one issuer's keys.

    A token is verified once and remembered by its digest until it expires or the keys change, since a signature check
    costs as much as the rest of an append's handling.
    """

    def __init__(self, settings: TokenSettings, keys: KeySource, clock: Callable[[], float] = time.time) -> None:
        self._issuer = settings.issuer
        self._audience = settings.audience
        self._keys = keys
        self._clock = clock
        self._remembered: dict[bytes, Caller] = {}
        self._keys_version = keys.version
        self._registry = jws.JWSRegistry(algorithms=ALGORITHMS)
        self._registry.max_header_length = MAX_HEADER_CHARACTERS

    def authenticate(self, token: str) -> Caller:
        """The caller `token` speaks for. Raises UnauthenticatedError (a LedgerError) for anything else."""
        keys = self._keys.current()
        if self._keys.version != self._keys_version:
            self._remembered.clear()
            self._keys_version = self._keys.version
        try:
            digest = hashlib.sha256(token.encode("ascii")).digest()
        except UnicodeEncodeError:
            raise UnauthenticatedError from None
        now = self._clock()
        caller = self._remembered.get(digest)
        if caller is not None:
            if caller.expires_at <= now:
                del self._remembered[digest]
                raise UnauthenticatedError
            return caller
        caller = self._verify(token, keys, now)
        if len(self._remembered) >= MAX_REMEMBERED_TOKENS:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = caller
        return caller

    async def authenticate_anew(self, token: str) -> Caller:
        """As `authenticate`, but a key that is not known is looked for once.

        The issuer may have begun to use a key that was published after the service last looked.
        """
        try:
            return self.authenticate(token)
        except UnauthenticatedError as refusal:
            if not refusal.unknown_key:
                raise
            await self._keys.refresh()
            return self.authenticate(token)

    def _verify(self, token: str, keys: tuple[TrustedKey, ...], now: float) -> Caller:
        if not token or len(token) > MAX_TOKEN_CHARACTERS:
            raise UnauthenticatedError
        try:
            signed = jws.extract_compact(token.encode("ascii"), registry=self._registry)
            key = _choose_key(keys, signed.protected)
            decoded = jwt.decode(token, key.key, algorithms=ALGORITHMS, registry=self._registry)
            return self._read_claims(decoded.claims, now)
        except UnauthenticatedError:
            raise
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            # A hostile header can be any JSON at all; whatever it breaks, it is refused.
            raise UnauthenticatedError from None

    def _read_claims(self, claims: dict[str, object], now: float) -> Caller:
        required: dict[str, jwt.ClaimsOption] = {
            "iss": {"essential": True, "value": self._issuer},
            "aud": {"essential": True, "value": self._audience},
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
        return Caller(
            organisation_id=organisation_id,
            subject=subject,
            scopes=_read_scopes(claims.get("scope", "")),
            expires_at=expires + LEEWAY_SECONDS,
        )


def require_scope(caller: Caller, scope: str) -> None:
    """Raises LedgerError (PERMISSION_DENIED) unless the caller's token carries `scope`."""
    if scope not in caller.scopes:
        raise LedgerError(
            Reason.PERMISSION_DENIED, f"This token does not permit that: it lacks the scope {scope}.", {"scope": scope}
        )


def _choose_key(keys: tuple[TrustedKey, ...], header: dict[str, object]) -> TrustedKey:
    """The one trusted key a token's header names; its algorithm must be one that key may be used with."""
    token_type = header.get("typ")
    if not isinstance(token_type, str) or token_type.lower() not in TOKEN_TYPES:
        raise UnauthenticatedError
    if "crit" in header or "b64" in header:
        raise UnauthenticatedError
    key_id = header.get("kid")
    # Only a PEM key has no name of its own, and it is then the only key there is.
    named = [key for key in keys if key.key_id is None or key.key_id == key_id]
    if not named:
        raise UnauthenticatedError(unknown_key=isinstance(key_id, str))
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
