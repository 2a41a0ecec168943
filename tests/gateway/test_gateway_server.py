"""The server under the gateway, towards readers who do not read."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest
from flask import Flask, Response

from gateway import connection as gateway_connection
from gateway.server import THREADS, bind, make_server
from ledger.address import Address

PIECE = bytes(256 * 1024)
# More than all buffers between the two sides can take up.
PIECES = 200


class Door:
    """A server whose one answer is large, and which says when somebody's answer has ended."""

    def __init__(self) -> None:
        self.ended = threading.Semaphore(0)
        app = Flask(__name__)

        @app.get("/large")
        def send() -> Response:
            return Response(self._pieces())

        @app.get("/small")
        def greet() -> str:
            return "hello"

        self.server = make_server(app, bind(Address.parse("127.0.0.1:0"))[0], None)
        self.port: int = self.server.effective_port

    def _pieces(self) -> Iterator[bytes]:
        try:
            for _ in range(PIECES):
                yield PIECE
        finally:
            self.ended.release()


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setattr(gateway_connection, "PACE_SECONDS", 1.0)
    door = Door()
    thread = threading.Thread(target=door.server.run, daemon=True)
    thread.start()
    yield door
    door.server.close()


def ask(door: Door, stack: ExitStack) -> socket.socket:
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", door.port), timeout=60))
    connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return connection


def test_readers_who_stop_reading_do_not_keep_others_waiting(door: Door) -> None:
    with ExitStack() as stack:
        for _ in range(THREADS):
            ask(door, stack)
        for _ in range(THREADS):
            assert door.ended.acquire(timeout=60), "an answer that nobody reads still holds a thread"
        connection = HTTPConnection("127.0.0.1", door.port, timeout=60)
        connection.request("GET", "/small")
        assert connection.getresponse().read() == b"hello"
        connection.close()


def test_a_reader_who_drips_is_cut_off(door: Door) -> None:
    with ExitStack() as stack:
        connection = ask(door, stack)
        began = time.monotonic()
        while not door.ended.acquire(timeout=0.1):
            assert connection.recv(1000)
            assert time.monotonic() - began < 60


def test_a_steady_reader_gets_everything_however_long_it_takes(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine may stop everybody here for a second.
    monkeypatch.setattr(gateway_connection, "PACE_SECONDS", 3.0)
    with ExitStack() as stack:
        connection = ask(door, stack)
        received = 0
        began = time.monotonic()
        while block := connection.recv(1024 * 1024):
            received += len(block)
            if time.monotonic() - began < 7:
                time.sleep(0.1)
        assert received > PIECES * len(PIECE)
