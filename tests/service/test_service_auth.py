import asyncio
import base64
import hmac
import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from ledger.errors import LedgerError, Reason
from ledger.identity.keys import (
    MAX_STALE_SECONDS,
    MIN_REFRESH_SECONDS,
    KeyAddress,
    KeyFile,
    UnusableKeysError,
    parse_keys,
)
from ledger.identity.tokens import LEEWAY_SECONDS, MAX_REMEMBERED_TOKENS, REFUSAL, Authenticator
from ledger.settings_reader import SettingsError, TokenSettings
from tests.service.certificates import make_certificate

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
    path.write_text(json.dumps(KeySet(list(keys)).as_dict(private=False)))
    return path


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jwks(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "jwks.json", *KEYS)


@pytest.fixture
def authenticator(jwks: Path, clock: Clock) -> Authenticator:
    settings = TokenSettings(issuer=ISSUER, audience=AUDIENCE, keys=jwks)
    return Authenticator(settings, KeyFile(jwks, monotonic=clock), clock=clock)


def assert_refused(authenticator: Authenticator, token: str) -> None:
    with pytest.raises(LedgerError) as caught:
        authenticator.authenticate(token)
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert caught.value.message == REFUSAL
    assert caught.value.metadata == {}


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


def test_a_remembered_token_ends_when_its_key_is_withdrawn(
    authenticator: Authenticator, jwks: Path, clock: Clock
) -> None:
    token = sign(claims())
    authenticator.authenticate(token)
    write_keys(jwks, P256)
    clock.now += 2
    assert_refused(authenticator, token)
    authenticator.authenticate(sign(claims(), P256))


def test_a_new_key_in_the_file_is_noticed(authenticator: Authenticator, jwks: Path, clock: Clock) -> None:
    key = OKPKey.generate_key("Ed25519", {"kid": "new"})
    assert_refused(authenticator, sign(claims(), key))
    write_keys(jwks, *KEYS, key)
    clock.now += 2
    authenticator.authenticate(sign(claims(), key))


def test_a_broken_replacement_of_the_file_leaves_the_last_keys_in_use(
    authenticator: Authenticator, jwks: Path, clock: Clock
) -> None:
    jwks.write_text("{")
    clock.now += 2
    authenticator.authenticate(sign(claims()))
    jwks.unlink()
    clock.now += 2
    authenticator.authenticate(sign(claims(sub="another")))


def test_no_more_tokens_are_remembered_than_there_is_room_for(authenticator: Authenticator) -> None:
    authenticator._remembered = dict.fromkeys(
        (number.to_bytes(32, "big") for number in range(MAX_REMEMBERED_TOKENS)),
        authenticator.authenticate(sign(claims())),
    )
    authenticator.authenticate(sign(claims(sub="one-more")))
    assert len(authenticator._remembered) == MAX_REMEMBERED_TOKENS


@pytest.mark.parametrize("key", KEYS, ids=["Ed25519", "P-256", "RSA"])
def test_a_single_pem_key_needs_no_key_id(tmp_path: Path, clock: Clock, key: Any) -> None:
    path = tmp_path / "issuer.pem"
    path.write_bytes(key.as_pem(private=False))
    authenticator = Authenticator(
        TokenSettings(issuer=ISSUER, audience=AUDIENCE, keys=path), KeyFile(path), clock=clock
    )
    assert authenticator.authenticate(sign(claims(), key, kid=None)).organisation_id == "acme"
    assert_refused(authenticator, forge({"alg": "none", "typ": "JWT"}, claims()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"keys": 1}',
        b'{"keys": [1]}',
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "kid": "a"}]}',
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"[" * 100_000,
        b" " * 300_000,
        json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}).encode(),
        json.dumps(KeySet([ED25519]).as_dict(private=True)).encode(),
        ED25519.as_pem(private=True),
        json.dumps({"keys": [ED25519.as_dict(private=False), P256.as_dict(private=False) | {"kid": "ed"}]}).encode(),
        json.dumps({"keys": [P256.as_dict(private=False) | {"use": "enc"}]}).encode(),
        json.dumps({"keys": [P256.as_dict(private=False) | {"alg": "ECDH-ES"}]}).encode(),
        json.dumps(KeySet([ECKey.generate_key("P-384", {"kid": "a"})]).as_dict(private=False)).encode(),
    ],
    ids=str,
)
def test_a_key_set_that_cannot_be_used_is_refused(data: bytes) -> None:
    with pytest.raises(UnusableKeysError):
        parse_keys(data)


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_an_rsa_key_that_is_too_short_is_refused() -> None:
    short = RSAKey.generate_key(1024, {"kid": "short"})
    with pytest.raises(UnusableKeysError):
        parse_keys(json.dumps(KeySet([short]).as_dict(private=False)).encode())


def test_a_missing_key_file_stops_the_start_with_the_variables_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="INDELIBLE_TOKEN_JWKS"):
        KeyFile(tmp_path / "nowhere.json")


class KeyServer:
    """An issuer's https address that answers what a test wants."""

    def __init__(self, directory: Path) -> None:
        self.body = b""
        self.status = 200
        self.asked = 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked += 1
                self.send_response(server.status)
                self.send_header("Location", "https://127.0.0.1:1/")
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, *_: object) -> None: ...

        certificate, key = make_certificate(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.certificate = certificate
        self.address = f"https://127.0.0.1:{self._server.server_port}/jwks"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def publish(self, *keys: Any) -> None:
        self.body = json.dumps(KeySet(list(keys)).as_dict(private=False)).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def key_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyServer]:
    server = KeyServer(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    yield server
    server.close()


async def opened(server: KeyServer, clock: Callable[[], float]) -> tuple[KeyAddress, Authenticator]:
    keys = KeyAddress(server.address, monotonic=clock)
    await keys.open()
    settings = TokenSettings(issuer=ISSUER, audience=AUDIENCE, keys=server.address)
    return keys, Authenticator(settings, keys, clock=clock)


async def test_keys_come_from_an_https_address(key_server: KeyServer, clock: Clock) -> None:
    key_server.publish(ED25519)
    _, authenticator = await opened(key_server, clock)
    authenticator.authenticate(sign(claims()))
    assert key_server.asked == 1


async def test_a_key_published_later_is_fetched_but_not_too_often(key_server: KeyServer, clock: Clock) -> None:
    key_server.publish(ED25519)
    _, authenticator = await opened(key_server, clock)
    key_server.publish(ED25519, P256)
    token = sign(claims(), P256)
    for _ in range(20):
        with pytest.raises(LedgerError):
            await authenticator.authenticate_anew(token)
    assert key_server.asked == 1
    clock.now += MIN_REFRESH_SECONDS
    await asyncio.gather(*(authenticator.authenticate_anew(token) for _ in range(20)))
    assert key_server.asked == 2
    authenticator.authenticate(token)


async def test_keys_survive_an_outage_of_their_address_but_not_for_ever(key_server: KeyServer, clock: Clock) -> None:
    key_server.publish(ED25519)
    keys, authenticator = await opened(key_server, clock)
    key_server.status = 500
    clock.now += MIN_REFRESH_SECONDS
    await keys.refresh()
    authenticator.authenticate(sign(claims(exp=NOW + 10**6)))
    clock.now += MAX_STALE_SECONDS
    assert_refused(authenticator, sign(claims(exp=NOW + 10**6, nbf=NOW, sub="later")))


@pytest.mark.parametrize(
    ("status", "body"), [(500, b""), (302, b""), (200, b"<html>"), (200, b" " * 1_000_000), (404, b"{}")]
)
async def test_an_address_without_keys_stops_the_start(
    key_server: KeyServer, clock: Clock, status: int, body: bytes
) -> None:
    key_server.status, key_server.body = status, body
    with pytest.raises(SettingsError, match="INDELIBLE_TOKEN_JWKS"):
        await opened(key_server, clock)


async def test_an_address_whose_certificate_is_not_trusted_stops_the_start(
    key_server: KeyServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_server.publish(ED25519)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(SettingsError, match="INDELIBLE_TOKEN_JWKS"):
        await opened(key_server, clock)


def test_checking_a_remembered_token_is_cheap(jwks: Path) -> None:
    settings = TokenSettings(issuer=ISSUER, audience=AUDIENCE, keys=jwks)
    authenticator = Authenticator(settings, KeyFile(jwks))
    token = sign(claims(iat=int(time.time()), nbf=int(time.time()), exp=int(time.time()) + 600))
    authenticator.authenticate(token)
    started = time.perf_counter()
    for _ in range(1_000):
        authenticator.authenticate(token)
    # A signature check takes 100 microseconds and more; this allows 50 on a busy machine.
    assert time.perf_counter() - started < 0.05
