"""The served page keeps its promises over a real socket: headers, sizes, slow clients, a clean end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest

from sandbox.processes import free_port
from verifier.web import WebSettings
from verifier.web import server as web_server

if TYPE_CHECKING:
    from tests.verifier.web.small_ledger import Chain
    from tests.verifier.web.world import World

SCRIPT = """
import sys
from pathlib import Path
from verifier.web import WebSettings, run, server
server.MAX_REQUEST_SECONDS = 5
server.PACE_SECONDS = 5
folder, policy, keys, port = sys.argv[1:]
sources = {"bundles": Path(folder), "trust": Path(policy), "link_keys": Path(keys)}
run(WebSettings(port=int(port), max_upload_bytes=200_000, **sources))
"""


@pytest.fixture
def port() -> int:
    # Not one that the system gives to somebody else's connection before the page listens.
    return free_port()


@pytest.fixture
def served(world: World, port: int) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [sys.executable, "-c", SCRIPT, str(world.folder), str(world.policy), str(world.key_file), str(port)]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30).close()
                break
            except OSError:
                assert process.poll() is None, "the page did not start"
                assert time.monotonic() < deadline, "the page did not answer in time"
                time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def exchange(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while block := connection.recv(65536):
                answer += block
        except ConnectionResetError:
            pass
        return answer


def test_a_record_is_served_and_sigterm_ends_the_page_cleanly(
    world: World, story: Chain, served: subprocess.Popen[bytes], port: int
) -> None:
    content = world.store(story)
    address = f"http://127.0.0.1:{port}/v/{world.link(story)}"
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert b"<strong>Verified</strong>" in answer.read()
        assert "Server" not in answer.headers
    with urllib.request.urlopen(f"{address}/bundle.zip", timeout=60) as answer:
        assert answer.read() == content
    served.send_signal(signal.SIGTERM)
    _, log = served.communicate(timeout=60)
    assert served.returncode == 0
    assert b"Traceback" not in log
    assert b"GET /v/<token> 200" in log
    assert world.link(story).encode() not in log, "a link in a log would open the record to its reader"


def test_an_answer_under_way_still_leaves_after_sigterm(
    world: World, story: Chain, served: subprocess.Popen[bytes], port: int
) -> None:
    large = world.folder / "demo-1.zip"
    large.write_bytes(os.urandom(8 * 1024 * 1024))
    request = f"GET /v/{world.link(story)}/bundle.zip HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request.encode())
        received = connection.recv(1000)
        served.send_signal(signal.SIGTERM)
        while block := connection.recv(1024 * 1024):
            received += block
    assert len(received) > 8 * 1024 * 1024
    assert served.wait(timeout=60) == 0


def test_a_body_over_the_limit_is_refused_before_it_is_read(served: subprocess.Popen[bytes], port: int) -> None:
    answer = exchange(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"Content-Security-Policy: default-src 'none'" in answer
    assert b"X-Content-Type-Options: nosniff" in answer


def test_broken_requests_get_an_answer_and_the_page_lives_on(served: subprocess.Popen[bytes], port: int) -> None:
    requests = (
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        b"POST / HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /%ff%fe/%00 HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nConnection: close\r\n\r\n",
    )
    for request in requests:
        status_line = exchange(port, request).split(b"\r\n")[0]
        assert status_line, request[:60]
        assert not status_line.split()[1].startswith(b"5"), request[:60]
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30).status == 200
    served.send_signal(signal.SIGTERM)
    _, log = served.communicate(timeout=60)
    assert b"Traceback" not in log


def test_a_request_that_trickles_in_is_cut_off(served: subprocess.Popen[bytes], port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        began = time.monotonic()
        with pytest.raises(OSError, match=r"\w"):  # noqa: PT012  # the loop is what a slow client does
            while time.monotonic() - began < 60:
                connection.sendall(b"x")
                time.sleep(0.2)
        assert time.monotonic() - began < 45


def test_a_request_may_arrive_in_pieces_if_it_arrives_in_time(served: subprocess.Popen[bytes], port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for piece in (b"GET /hea", b"lthz HTTP/1.1\r\nHost: x\r\n", b"Connection: close\r\n\r\n"):
            connection.sendall(piece)
            time.sleep(0.3)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def holds(served: subprocess.Popen[bytes], connection: socket.socket) -> bool:
    """Whether the page still has its end of a connection."""
    here = connection.getsockname()[1]
    return any(one.raddr and one.raddr.port == here for one in psutil.Process(served.pid).net_connections())


def test_a_reader_who_stops_reading_is_cut_off(
    world: World, story: Chain, served: subprocess.Popen[bytes], port: int
) -> None:
    (world.folder / "demo-1.zip").write_bytes(bytes(64 * 1024 * 1024))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        request = f"GET /v/{world.link(story)}/bundle.zip HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        # There is an answer: the page has the connection.
        assert connection.recv(1)
        cut_off = time.monotonic() + 60
        while holds(served, connection):
            assert time.monotonic() < cut_off, "a reader who does not read still has a connection"
            time.sleep(0.1)
        received = 1
        with suppress(ConnectionResetError):
            while block := connection.recv(1024 * 1024):
                received += len(block)
        assert received < 64 * 1024 * 1024


def test_a_port_that_is_taken_is_an_error_not_a_silent_page(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match=r"[Aa]ddress"):
        web_server._listen(WebSettings(port=taken.getsockname()[1]))
