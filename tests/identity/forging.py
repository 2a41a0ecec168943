"""Tokens of a real issuer, and everything that only looks like one."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from ledger.errors import LedgerError, Reason
from ledger.identity.tokens import REFUSAL, Authenticator

ISSUER = "https://issuer.example.org"
AUDIENCE = "indelible"
NOW = 1_800_000_000
ED25519 = OKPKey.generate_key("Ed25519", {"kid": "ed"})
P256 = ECKey.generate_key("P-256", {"kid": "ec"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
KEYS = (ED25519, P256, RSA)


def claims(**changed: Any) -> dict[str, Any]:
    given = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "service-a",
        "org": "acme",
        "scope": "ledger:read ledger:append",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 600,
        **changed,
    }
    return {name: value for name, value in given.items() if value is not None}


def sign(body: Any, key: Any = ED25519, **header: Any) -> str:
    algorithm = {"OKP": "Ed25519", "EC": "ES256", "RSA": "RS256"}[key.key_type]
    given = {"alg": algorithm, "kid": key.kid, "typ": "JWT", **header}
    given = {name: value for name, value in given.items() if value is not None}
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    algorithms = ["EdDSA", "Ed25519", "ES256", "RS256", "PS256", "RS512"]
    registry = jws.JWSRegistry(algorithms=algorithms, strict_check_header=False)
    return jws.serialize_compact(given, text, key, registry=registry)


def forge(header: Any, body: Any, signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(body).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def write_keys(path: Path, *keys: Any) -> Path:
    """Another file takes the place of the one before, as an operator does it: at once, and never with its stamp.

    Two files of one size that are written within one tick of the system's clock differ in nothing else.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(json.dumps(KeySet(list(keys)).as_dict(private=False)))
    return fresh.replace(path)


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def assert_refused(authenticator: Authenticator, token: str) -> None:
    with pytest.raises(LedgerError) as caught:
        authenticator.authenticate(token)
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert caught.value.message == REFUSAL
    assert caught.value.metadata == {}
