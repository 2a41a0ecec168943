"""Whatever bytes come back over the connection: a verified time-stamp, or one of our two errors, in bounded time."""

import asyncio
import contextlib
import gzip
import hashlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.anchoring.authorities import load_authorities
from ledger.anchoring.port import AnchorBackend, AnchoringFailedError, RefusedError, UnavailableError
from sandbox.authorities import Authorities

DIGEST = hashlib.sha256(b"the last event").digest()
TYPE = b"Content-Type: application/timestamp-reply\r\n"


@contextlib.asynccontextmanager
async def answering(
    answer: bytes, *, keep_dripping: bool = False, requests: list[bytes] | None = None
) -> AsyncIterator[str]:
    """A server that reads one request and sends `answer`, and then perhaps a byte now and then for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if requests is not None:
                requests.append(head)
            writer.write(answer)
            await writer.drain()
            while keep_dripping:
                writer.write(b"0")
                await writer.drain()
                await asyncio.sleep(0.2)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/tsr?key=opensesame"


@contextlib.asynccontextmanager
async def backend_for(url: str, root: Path, folder: Path, *, seconds: int = 60) -> AsyncIterator[AnchorBackend]:
    path = folder / "authorities.toml"
    path.write_text(f'[authorities.x]\nurl = "{url}"\nroots = ["{root}"]\ntimeout_seconds = {seconds}\n')
    async with load_authorities(path).open_backends() as (backend,):
        yield backend


HOSTILE: dict[str, tuple[bytes, type[AnchoringFailedError]]] = {
    "nothing": (b"", UnavailableError),
    "not-http": (b"220 mail.example.com ESMTP\r\n", UnavailableError),
    "no-body": (b"HTTP/1.1 200 OK\r\n" + TYPE + b"Content-Length: 0\r\n\r\n", RefusedError),
    "no-type": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", RefusedError),
    "negative-length": (b"HTTP/1.1 200 OK\r\n" + TYPE + b"Content-Length: -1\r\n\r\nabc", UnavailableError),
    "two-lengths": (
        b"HTTP/1.1 200 OK\r\n" + TYPE + b"Content-Length: 1\r\nContent-Length: 3\r\n\r\nabc",
        UnavailableError,
    ),
    "bad-chunks": (b"HTTP/1.1 200 OK\r\n" + TYPE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", UnavailableError),
    "endless-headers": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000, UnavailableError),
    "binary-headers": (b"HTTP/1.1 200 OK\r\nX-\xff: \xfe\r\n\r\n", UnavailableError),
    "no-content": (b"HTTP/1.1 204 No Content\r\n\r\n", RefusedError),
    "switching-protocols": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", AnchoringFailedError),
    "endless-continue": (b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, UnavailableError),
    "redirect-nowhere": (b"HTTP/1.1 302 Found\r\nLocation: http://[::bad\r\n\r\n", AnchoringFailedError),
    "redirect-to-file": (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", AnchoringFailedError),
    "gone": (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", RefusedError),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_an_answer_that_is_no_answer_is_one_of_our_errors(
    authorities: Authorities, tmp_path: Path, name: str
) -> None:
    answer, kind = HOSTILE[name]
    async with answering(answer) as url, backend_for(url, authorities.two.root_path, tmp_path) as backend:
        with pytest.raises(kind) as caught:
            await backend.anchor(DIGEST, None)
    assert "opensesame" not in str(caught.value)


async def test_an_answer_that_drips_for_ever_is_given_up(authorities: Authorities, tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + TYPE + b"Content-Length: 60000\r\n\r\n"
    async with (
        answering(head, keep_dripping=True) as url,
        backend_for(url, authorities.two.root_path, tmp_path, seconds=1) as backend,
        asyncio.timeout(30),
    ):
        with pytest.raises(UnavailableError, match="did not answer within 1 seconds"):
            await backend.anchor(DIGEST, None)


async def test_an_answer_that_unpacks_to_a_thousand_times_its_size_is_not_unpacked(
    authorities: Authorities, tmp_path: Path
) -> None:
    bomb = gzip.compress(b"\x30" * 50_000_000)
    assert len(bomb) < 60_000, "only what fits the limit as sent shows whether it is unpacked"
    head = b"HTTP/1.1 200 OK\r\n" + TYPE + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with answering(head + bomb) as url, backend_for(url, authorities.two.root_path, tmp_path) as backend:
        with pytest.raises(RefusedError, match="does not verify"):
            await backend.anchor(DIGEST, None)


async def test_a_cookie_is_not_sent_back(authorities: Authorities, tmp_path: Path) -> None:
    requests: list[bytes] = []
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: who=you\r\n" + TYPE + b"Content-Length: 1\r\n\r\n0"
    async with (
        answering(answer, requests=requests) as url,
        backend_for(url, authorities.two.root_path, tmp_path) as backend,
    ):
        for _ in range(2):
            with pytest.raises(RefusedError):
                await backend.anchor(DIGEST, None)
    assert len(requests) == 2
    assert b"cookie" not in requests[1].lower()


async def test_the_pause_a_busy_authority_asks_for_is_passed_on(authorities: Authorities, tmp_path: Path) -> None:
    for header, seconds in ((b"120", 120.0), (b"999999999999", 3600.0), (b"Sun, 22 Nov 2026", None), (b"-5", None)):
        answer = b"HTTP/1.1 503 Busy\r\nRetry-After: " + header + b"\r\nContent-Length: 0\r\n\r\n"
        async with answering(answer) as url, backend_for(url, authorities.two.root_path, tmp_path) as backend:
            with pytest.raises(UnavailableError) as caught:
                await backend.anchor(DIGEST, None)
            assert caught.value.retry_after_seconds == seconds


async def test_addresses_with_a_customers_key_are_not_logged(
    authorities: Authorities, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    gone = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"  # an answer, for the library logs only those
    async with answering(gone) as url, backend_for(url, authorities.two.root_path, tmp_path) as backend:
        with pytest.raises(UnavailableError):
            await backend.anchor(DIGEST, None)
    assert "opensesame" not in caplog.text + capsys.readouterr().out


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200), cut=st.integers(0, 400))
def test_random_bytes_are_refused(authorities: Authorities, tmp_path: Path, body: bytes, cut: int) -> None:
    async def ask() -> None:
        whole = b"HTTP/1.1 200 OK\r\n" + TYPE + b"Content-Length: %d\r\n\r\n" % len(body) + body
        async with (
            answering(whole[:cut]) as url,
            backend_for(url, authorities.two.root_path, tmp_path) as backend,
        ):
            with pytest.raises(AnchoringFailedError):
                await backend.anchor(DIGEST, None)

    asyncio.run(ask())
