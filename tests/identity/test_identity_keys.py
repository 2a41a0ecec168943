"""Where the keys come from that tokens are checked with, and how they change."""

import asyncio
import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from ledger.errors import LedgerError
from ledger.identity.keys import (
    MAX_STALE_SECONDS,
    MIN_REFRESH_SECONDS,
    KeyAddress,
    KeyFile,
    UnusableKeysError,
    parse_keys,
)
from ledger.identity.opening import Identity
from ledger.identity.tokens import Authenticator
from ledger.settings_reader import SettingsError, TokenSettings
from tests.identity.forging import (
    AUDIENCE,
    ED25519,
    ISSUER,
    KEYS,
    NOW,
    P256,
    Clock,
    assert_refused,
    claims,
    forge,
    sign,
    write_keys,
)
from tests.service.certificates import make_certificate


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
    # Not the keys themselves: they are others in every process, and processes that share the tests must agree on names.
    ids=[
        "nothing",
        "no-keys",
        "list",
        "number-of-keys",
        "number-as-key",
        "empty-set",
        "symmetric",
        "damaged-pem",
        "deep",
        "huge",
        "off-its-curve",
        "private",
        "private-pem",
        "one-id-twice",
        "for-encryption",
        "for-key-agreement",
        "unsupported-curve",
    ],
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
    remembered = sign(claims(exp=NOW + 10**6))
    authenticator.authenticate(remembered)
    clock.now += MAX_STALE_SECONDS
    assert_refused(authenticator, sign(claims(exp=NOW + 10**6, nbf=NOW, sub="later")))
    assert_refused(authenticator, remembered)


async def test_a_further_issuer_whose_address_is_away_keeps_no_service_from_starting(
    key_server: KeyServer, jwks: Path
) -> None:
    key_server.status = 500
    further = TokenSettings(issuer="https://gateway.example", audience=AUDIENCE, keys=key_server.address)
    identity = await Identity.open(TokenSettings(issuer=ISSUER, audience=AUDIENCE, keys=jwks), further, None)
    with pytest.raises(LedgerError):
        identity.authenticator.authenticate(sign(claims(iss="https://gateway.example", exp=4_000_000_000)))
    lasting = claims(iat=None, nbf=None, exp=4_000_000_000)
    assert identity.authenticator.authenticate(sign(lasting)).issuer == ISSUER


async def test_a_further_issuer_whose_file_is_broken_stops_the_start(jwks: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    further = TokenSettings(
        issuer="https://gateway.example", audience=AUDIENCE, keys=tmp_path / "broken.json", variable="INDELIBLE_X"
    )
    with pytest.raises(SettingsError, match="INDELIBLE_X"):
        await Identity.open(TokenSettings(issuer=ISSUER, audience=AUDIENCE, keys=jwks), further)


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
