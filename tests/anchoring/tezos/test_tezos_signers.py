import hashlib
import http.server
import json
import secrets
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from ledger.anchoring.port import RefusedError, UnavailableError
from ledger.anchoring.tezos.forge import public_key_text
from ledger.anchoring.tezos.keys import LocalSigner, RemoteSigner
from verifier.tezos import base58
from verifier.tezos.keys import is_signature

UNSIGNED = bytes(32) + b"\x6c an operation"
GENERIC, EDSIG = bytes([4, 130, 43]), bytes([9, 245, 205, 134, 18])


class OctezSigner(http.server.ThreadingHTTPServer):
    """The HTTP interface of octez-signer, with a way to answer otherwise."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.key = LocalSigner(base58.encode(bytes([13, 15, 58, 7]), secrets.token_bytes(32)))
        self.address = ""
        self.answers: dict[str, bytes] = {}
        self.asked: list[object] = []
        self.prefix = EDSIG
        self.client: LocalSigner | None = None  # whose requests it accepts; None: anybody's

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: OctezSigner

    def do_GET(self) -> None:
        self.reply("GET", json.dumps({"public_key": public_key_text(self.server.key._public)}).encode())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.is_authorised(bytes.fromhex(asked)):
            self.send_error(403)
            return
        self.server.asked.append(asked)
        signature = self.server.key._private.sign(  # type: ignore[call-arg]  # an Ed25519 key
            hashlib.blake2b(bytes.fromhex(asked), digest_size=32).digest()
        )
        self.reply("POST", json.dumps({"signature": base58.encode(self.server.prefix, signature)}).encode())

    def is_authorised(self, data: bytes) -> bool:
        """As octez-signer checks it: over 04 01, the account's key hash with its kind, and the data."""
        if self.server.client is None:
            return True
        given = parse_qs(urlsplit(self.path).query).get("authentication", [""])[0]
        signature = base58.decode(given, GENERIC, 64)
        key = self.server.key._public
        account = b"\x00" + hashlib.blake2b(key.raw, digest_size=20).digest()
        signed = hashlib.blake2b(b"\x04\x01" + account + data, digest_size=32).digest()
        return signature is not None and bool(is_signature(self.server.client._public, signature, signed))

    def reply(self, method: str, usual: bytes) -> None:
        body = self.server.answers.get(method, usual)
        known = urlsplit(self.path).path == f"/keys/{self.server.address}"
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def octez() -> Iterator[OctezSigner]:
    server = OctezSigner()
    server.address = server.key._public.address
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


async def remote(octez: OctezSigner, address: str | None = None) -> bytes:
    async with httpx.AsyncClient() as client:
        return await RemoteSigner(client, octez.url, address or octez.address).sign(UNSIGNED)


@pytest.mark.parametrize("prefix", [GENERIC, EDSIG])
async def test_a_remote_signer_gets_the_watermarked_operation_and_its_signature_is_ours(
    octez: OctezSigner, prefix: bytes
) -> None:
    octez.prefix = prefix
    assert await remote(octez) == await octez.key.sign(UNSIGNED)
    assert octez.asked == [(b"\x03" + UNSIGNED).hex()]


@pytest.mark.parametrize("prefix", [[13, 15, 58, 7], [17, 162, 224, 201], [16, 81, 238, 189]], ids=["ed", "sp", "p2"])
async def test_a_signer_that_asks_who_is_there_is_told_by_a_signature(octez: OctezSigner, prefix: list[int]) -> None:
    octez.client = LocalSigner(base58.encode(bytes(prefix), secrets.token_bytes(32)))
    async with httpx.AsyncClient() as client:
        signer = RemoteSigner(client, octez.url, octez.address, octez.client)
        assert await signer.sign(UNSIGNED) == await octez.key.sign(UNSIGNED)


async def test_a_signer_that_does_not_know_us_signs_nothing(octez: OctezSigner) -> None:
    octez.client = LocalSigner(base58.encode(bytes([13, 15, 58, 7]), secrets.token_bytes(32)))
    stranger = LocalSigner(base58.encode(bytes([13, 15, 58, 7]), secrets.token_bytes(32)))
    async with httpx.AsyncClient() as client:
        for authentication in (None, stranger):
            with pytest.raises(RefusedError, match="403"):
                await RemoteSigner(client, octez.url, octez.address, authentication).sign(UNSIGNED)
    assert octez.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b'{"signature": 7}',
        b'{"signature": "edsig"}',
        b"[" * 4000,
        b'{"signature": "' + b"1" * 90_000,
    ],
)
async def test_an_answer_that_is_no_signature_is_refused(octez: OctezSigner, answer: bytes) -> None:
    octez.answers["POST"] = answer
    with pytest.raises(RefusedError):
        await remote(octez)


async def test_a_signature_of_something_else_is_refused(octez: OctezSigner) -> None:
    other = await octez.key.sign(b"something else")
    octez.answers["POST"] = json.dumps({"signature": base58.encode(GENERIC, other)}).encode()
    with pytest.raises(RefusedError, match="not one by its key"):
        await remote(octez)


async def test_the_key_of_another_account_is_refused(octez: OctezSigner) -> None:
    other = await LocalSigner(base58.encode(bytes([13, 15, 58, 7]), secrets.token_bytes(32))).public_key()
    octez.answers["GET"] = json.dumps({"public_key": public_key_text(other)}).encode()
    with pytest.raises(RefusedError, match="not the one of"):
        await remote(octez)


async def test_an_account_that_the_signer_does_not_keep_is_refused(octez: OctezSigner) -> None:
    with pytest.raises(RefusedError, match="404"):
        await remote(octez, "tz1burnburnburnburnburnburnburjAYjjX")


async def test_a_signer_that_is_away_is_asked_again_later() -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(UnavailableError):
            await RemoteSigner(client, "http://127.0.0.1:9", "tz1burnburnburnburnburnburnburjAYjjX").public_key()
