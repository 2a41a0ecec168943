import base64
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import OKPKey

from ledger.identity.keys import (
    KeyFile,
)
from ledger.identity.tokens import LEEWAY_SECONDS, MAX_REMEMBERED_TOKENS, Authenticator
from ledger.settings_reader import TokenSettings
from tests.identity.forging import (
    AUDIENCE,
    ED25519,
    ISSUER,
    KEYS,
    NOW,
    P256,
    RSA,
    Clock,
    assert_refused,
    claims,
    forge,
    sign,
)


@pytest.mark.parametrize("key", KEYS, ids=["Ed25519", "ES256", "RS256"])
def test_a_proper_token_names_its_caller(authenticator: Authenticator, key: Any) -> None:
    caller = authenticator.authenticate(sign(claims(), key))
    assert caller.organisation_id == "acme"
    assert caller.subject == "service-a"
    assert caller.scopes == {"ledger:read", "ledger:append"}


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize(("key", "algorithm"), [(ED25519, "EdDSA"), (RSA, "PS256")])
def test_the_other_names_of_the_same_keys_are_accepted(authenticator: Authenticator, key: Any, algorithm: str) -> None:
    assert authenticator.authenticate(sign(claims(), key, alg=algorithm)).organisation_id == "acme"


@pytest.mark.parametrize("token_type", ["at+jwt", "AT+JWT", "application/at+jwt", "jwt"])
def test_the_types_of_access_tokens_are_accepted(authenticator: Authenticator, token_type: str) -> None:
    authenticator.authenticate(sign(claims(), typ=token_type))


def test_an_audience_among_several_is_accepted(authenticator: Authenticator) -> None:
    authenticator.authenticate(sign(claims(aud=["elsewhere", AUDIENCE])))


def test_scopes_may_come_as_a_list(authenticator: Authenticator) -> None:
    assert authenticator.authenticate(sign(claims(scope=["ledger:read"]))).scopes == {"ledger:read"}


def test_a_token_without_scopes_permits_nothing(authenticator: Authenticator) -> None:
    assert authenticator.authenticate(sign(claims(scope=None))).scopes == frozenset()


def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused(authenticator: Authenticator) -> None:
    pem = RSA.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), json.dumps(RSA.as_dict(private=False)).encode()):
        unsigned = forge({"alg": "HS256", "kid": "rsa", "typ": "JWT"}, claims()).rpartition(".")[0]
        digest = hmac.digest(secret, unsigned.encode(), "sha256")
        assert_refused(authenticator, f"{unsigned}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "RS512", "", None, 1, [], {}, ["Ed25519"]])
def test_an_unsigned_token_of_any_algorithm_is_refused(authenticator: Authenticator, algorithm: Any) -> None:
    for key_id in ("ed", "ec", "rsa", None):
        assert_refused(authenticator, forge({"alg": algorithm, "kid": key_id, "typ": "JWT"}, claims()))
        assert_refused(authenticator, forge({"alg": algorithm, "kid": key_id, "typ": "JWT"}, claims(), b"\0" * 64))


def test_an_algorithm_that_does_not_fit_the_named_key_is_refused(authenticator: Authenticator) -> None:
    assert_refused(authenticator, sign(claims(), P256, kid="ed"))
    assert_refused(authenticator, sign(claims(), ED25519, kid="rsa"))
    assert_refused(authenticator, sign(claims(), RSA, alg="RS512"))


def test_a_token_signed_by_another_key_of_the_same_name_is_refused(authenticator: Authenticator) -> None:
    assert_refused(authenticator, sign(claims(), OKPKey.generate_key("Ed25519", {"kid": "ed"})))


@pytest.mark.parametrize("key_id", ["unknown", "", None, 1, ["ed"], {"kid": "ed"}])
def test_a_token_of_an_unknown_key_is_refused(authenticator: Authenticator, key_id: Any) -> None:
    signed = sign(claims(), ED25519)
    header = base64.urlsafe_b64encode(json.dumps({"alg": "Ed25519", "kid": key_id, "typ": "JWT"}).encode())
    assert_refused(authenticator, ".".join((header.rstrip(b"=").decode(), *signed.split(".")[1:])))


@pytest.mark.parametrize("token_type", [None, "", "JWE", "id+jwt", "logout+jwt", 1, ["JWT"]])
def test_a_token_of_another_type_is_refused(authenticator: Authenticator, token_type: Any) -> None:
    if token_type is None or isinstance(token_type, str):
        assert_refused(authenticator, sign(claims(), typ=token_type))
    else:
        assert_refused(authenticator, forge({"alg": "Ed25519", "kid": "ed", "typ": token_type}, claims()))


@pytest.mark.parametrize(
    "extension", [{"crit": ["b64"], "b64": False}, {"crit": ["exp"]}, {"b64": False}, {"zip": "DEF"}]
)
def test_a_token_with_header_extensions_is_refused(authenticator: Authenticator, extension: dict[str, Any]) -> None:
    header = {"alg": "Ed25519", "kid": "ed", "typ": "JWT", **extension}
    signing = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(claims()).encode()).rstrip(b"=")
    signature = ED25519.private_key.sign(signing + b"." + body)  # type: ignore[union-attr]  # it is an Ed25519 key
    encoded = base64.urlsafe_b64encode(signature).rstrip(b"=")
    assert_refused(authenticator, b".".join((signing, body, encoded)).decode())


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://elsewhere.example.org"},
        {"iss": None},
        {"iss": [ISSUER]},
        {"aud": "elsewhere"},
        {"aud": None},
        {"aud": []},
        {"aud": {"indelible": 1}},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\nb"},
        {"sub": "a\ud800"},
        {"sub": "x" * 257},
        {"org": None},
        {"org": ""},
        {"org": "Acme"},
        {"org": "acme\n"},
        {"org": "-acme"},
        {"org": "a" * 65},
        {"org": "acme' OR 1=1"},
        {"org": ["acme"]},
        {"exp": None},
        {"exp": "1900000000"},
        {"exp": True},
        {"exp": [NOW + 600]},
        {"exp": NOW - LEEWAY_SECONDS},
        {"nbf": NOW + LEEWAY_SECONDS + 1},
        {"nbf": "soon"},
        {"iat": NOW + LEEWAY_SECONDS + 1},
        {"scope": 1},
        {"scope": [1]},
        {"scope": {"ledger:read": True}},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_is_refused(authenticator: Authenticator, changed: dict[str, Any]) -> None:
    assert_refused(authenticator, sign(claims(**changed)))


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b"\xff", b'{"exp": NaN}', b"[" * 50_000])
def test_a_signed_token_that_holds_no_claims_is_refused(authenticator: Authenticator, body: bytes) -> None:
    assert_refused(authenticator, sign(body))


def test_a_token_that_never_expires_by_a_trick_of_numbers_is_refused(authenticator: Authenticator) -> None:
    for trick in (b"NaN", b"Infinity", b"1e999"):
        assert_refused(authenticator, sign(json.dumps(claims(exp=7)).encode().replace(b'"exp": 7', b'"exp": ' + trick)))


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b.c", "\x00", "é", "a" * 9_000, "." * 8_000, "e30.e30.", " ", "bnVsbA.bnVsbA.bnVsbA"],
)
def test_text_that_is_no_token_is_refused(authenticator: Authenticator, token: str) -> None:
    assert_refused(authenticator, token)


def test_a_deeply_nested_header_is_refused(authenticator: Authenticator) -> None:
    header = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 700 + b"]" * 700 + b"}").rstrip(b"=").decode()
    assert_refused(authenticator, f"{header}.e30.AAAA")


def test_no_change_of_one_character_leaves_a_token_valid(authenticator: Authenticator) -> None:
    token = sign(claims())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for position in range(0, len(token), 7):
        # The last character of a part may hold unused bits; another one then decodes to the same bytes.
        if token[position] == "." or token[position + 1 : position + 2] in {".", ""}:
            continue
        other = alphabet[(alphabet.index(token[position]) + 17) % 64]
        assert_refused(authenticator, token[:position] + other + token[position + 1 :])


def test_a_remembered_token_ends_when_it_expires(authenticator: Authenticator, clock: Clock) -> None:
    token = sign(claims(exp=NOW + 60))
    authenticator.authenticate(token)
    clock.now = NOW + 60 + LEEWAY_SECONDS - 1
    authenticator.authenticate(token)
    clock.now = NOW + 60 + LEEWAY_SECONDS
    assert_refused(authenticator, token)
    assert_refused(authenticator, token)


def test_no_more_tokens_are_remembered_than_there_is_room_for(authenticator: Authenticator) -> None:
    authenticator.authenticate(sign(claims()))
    (remembered,) = authenticator._remembered.values()
    authenticator._remembered = dict.fromkeys(
        (number.to_bytes(32, "big") for number in range(MAX_REMEMBERED_TOKENS)), remembered
    )
    authenticator.authenticate(sign(claims(sub="one-more")))
    assert len(authenticator._remembered) == MAX_REMEMBERED_TOKENS


def test_checking_a_remembered_token_is_cheap(jwks: Path) -> None:
    settings = TokenSettings(issuer=ISSUER, audience=AUDIENCE, keys=jwks)
    authenticator = Authenticator(settings, KeyFile(jwks))
    token = sign(claims(iat=int(time.time()), nbf=int(time.time()), exp=int(time.time()) + 600))
    authenticator.authenticate(token)

    def seconds(authenticate: Callable[[], object]) -> float:
        """Of this thread's own work: what else the machine does counts for nothing."""
        started = time.thread_time()
        for _ in range(1_000):
            authenticate()
        return time.thread_time() - started

    def forget_and_authenticate() -> None:
        authenticator._remembered.clear()
        authenticator.authenticate(token)

    # A signature check takes 100 microseconds and more, a look at what is remembered a tenth of that.
    assert seconds(lambda: authenticator.authenticate(token)) < seconds(forget_and_authenticate) / 2
