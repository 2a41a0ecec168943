"""Bytes that a proxy and the server might read as different requests: one clear refusal, and an end."""

import socket
import threading
from collections.abc import Iterator

import pytest
from flask import Flask, jsonify, request

from gateway.server import bind, make_server
from ledger.address import Address

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    app = Flask(__name__)
    app.add_url_rule("/", "tell", lambda: jsonify(length=len(request.get_data())), methods=["GET", "POST"])
    server = make_server(app, bind(Address.parse("127.0.0.1:0"))[0], None, max_body_bytes=1_000)
    threading.Thread(target=server.run, daemon=True).start()
    yield server.effective_port
    server.close()


def ask(port: int, sent: bytes) -> bytes:
    """Everything that is answered until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", 400),
        (b"Content-Length: 6\r\nContent-Length: 5\r\n\r\nabcdef", 400),
        (b"Content-Length: +0\r\n\r\n", 400),
        (b"Content-Length: -1\r\n\r\n", 400),
        (b"Content-Length: 1_0\r\n\r\nabcdefghij", 400),
        (b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        (b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"Content-Length: 1001\r\n\r\n" + b"a" * 1_001, 413),
        (b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"a" * 1_001 + b"\r\n0\r\n\r\n", 413),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else str(value),
)
def test_a_request_of_two_lengths_is_refused_and_nothing_behind_it_is_read(
    port: int, headers: bytes, status: int
) -> None:
    answers = ask(port, POST + headers + HIDDEN)
    assert answers.count(b"HTTP/1.") == 1, answers
    assert answers.split(b" ", 2)[1] == str(status).encode()


def test_chunks_without_a_length_are_still_read(port: int) -> None:
    answer = ask(port, POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"length":2' in answer
