"""A development issuer of bearer tokens: what an organisation's identity provider is in production.

It exists in the sandbox only. Whoever can read its directory can act as any organisation.
"""

import json
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey

ISSUER = "https://issuer.sandbox.invalid"  # a name, never an address: nothing is fetched from it
AUDIENCE = "indelible"
EVERY_SCOPE = (
    "ledger:read",
    "ledger:append",
    "ledger:close",
    "ledger:export",
    "ledger:links",
    "ledger:disclose",
    "ledger:evidence",
    "evidence:read",
    "evidence:extract",
    "evidence:hold",
    "evidence:record",
    "evidence:download",
    "evidence:export",
    "evidence:manage",
    "ledger:erase",
    "gateway:read",
    "gateway:manage",
)
DEFAULT_SECONDS = 3600


class Issuer:
    """Two signing keys (Ed25519 and P-256) and the public key set a ledger trusts, kept in one directory."""

    def __init__(self, directory: Path, *, issuer: str = ISSUER, audience: str = AUDIENCE) -> None:
        """Load the keys of `directory`, or make them. Raises ValueError for key files it did not write."""
        self.issuer = issuer
        self.audience = audience
        self.jwks_file = directory / "jwks.json"
        directory.mkdir(parents=True, exist_ok=True)
        private_file = directory / "private-keys.json"
        if not private_file.exists():
            private_file.touch(mode=0o600)
            private_file.write_text(json.dumps(_new_keys().as_dict(private=True)))
        self._keys = KeySet.import_key_set(json.loads(private_file.read_text()))
        self.jwks_file.write_text(json.dumps(self._keys.as_dict(private=False)))

    def mint(  # noqa: PLR0913 - one argument for each claim a test may want to get wrong
        self,
        organisation_id: str,
        *,
        scopes: Iterable[str] = EVERY_SCOPE,
        subject: str = "sandbox",
        seconds: int = DEFAULT_SECONDS,
        algorithm: str = "Ed25519",
        not_before: int | None = None,
        issued_at: int | None = None,
        roles: Iterable[str] = (),
    ) -> str:
        """A signed token for `organisation_id`, valid for `seconds` from now (negative: expired already).

        `roles` are what the gateway goes by.
        """
        key = next(key for key in self._keys.keys if key.alg == algorithm)
        now = int(time.time()) if issued_at is None else issued_at
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "org": organisation_id,
            "scope": " ".join(scopes),
            "roles": list(roles),
            "iat": now,
            "nbf": now if not_before is None else not_before,
            "exp": now + seconds,
            "jti": secrets.token_hex(16),
        }
        # "at+jwt" (RFC 9068) keeps a token of another kind from the same issuer from passing as an access token.
        header = {"alg": algorithm, "kid": key.kid, "typ": "at+jwt"}
        return jwt.encode(header, claims, key, algorithms=[algorithm])


def _new_keys() -> KeySet:
    return KeySet(
        [
            OKPKey.generate_key("Ed25519", {"use": "sig", "alg": "Ed25519"}, auto_kid=True),
            ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True),
        ]
    )
