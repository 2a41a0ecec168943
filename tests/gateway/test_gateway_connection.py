"""Connections on which requests follow each other: one thread answers them, and nobody else has to wait for it."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPResponse

import pytest
from flask import Flask, request

from gateway import connection as gateway_connection
from gateway.server import bind, make_server
from ledger.address import Address
from tests.gateway.waiting import until

SECONDS = 60
# Longer than anything here is waited for.
LONG_MILLISECONDS = 10 * SECONDS * 1000


class Echo:
    """A server with few threads that answers with the body it got and the thread that had it."""

    def __init__(self, threads: int) -> None:
        self.holding = threading.Event()
        self.let_go = threading.Event()
        app = Flask(__name__)

        @app.post("/")
        def echo() -> str:
            return f"{request.get_data(as_text=True)} by {threading.get_ident()}"

        @app.post("/hold")
        def hold() -> str:
            self.holding.set()
            assert self.let_go.wait(SECONDS)
            return "held"

        self.server = make_server(
            app, bind(Address.parse("127.0.0.1:0"))[0], None, threads=threads, max_body_bytes=100_000
        )
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()

    def connect(self, stack: ExitStack) -> socket.socket:
        return stack.enter_context(socket.create_connection(("127.0.0.1", self.server.effective_port), timeout=SECONDS))


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Echo]]:
    """Starts a server whose threads stay with a connection for `milliseconds`."""
    started: list[Echo] = []

    def start_one(threads: int, milliseconds: int = LONG_MILLISECONDS) -> Echo:
        monkeypatch.setattr(gateway_connection, "STAY_MILLISECONDS", milliseconds)
        started.append(Echo(threads))
        return started[-1]

    yield start_one
    for one in started:
        one.let_go.set()
        one.server.close()


def post(body: bytes, path: str = "/", more: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def answer(connection: socket.socket) -> tuple[int, str]:
    response = HTTPResponse(connection)
    response.begin()
    return response.status, response.read().decode()


def ask(connection: socket.socket, body: bytes) -> tuple[str, str]:
    connection.sendall(post(body))
    status, text = answer(connection)
    assert status == 200
    said, _, thread = text.partition(" by ")
    return said, thread


def test_requests_that_follow_at_once_are_answered_by_one_thread(start: Callable[..., Echo]) -> None:
    echo = start(threads=4)
    with ExitStack() as stack:
        connection = echo.connect(stack)
        answers = [ask(connection, b"%d" % number) for number in range(50)]
    assert [said for said, _ in answers] == [str(number) for number in range(50)]
    assert len({thread for _, thread in answers}) == 1


def test_the_watching_thread_leaves_a_connection_alone_while_another_stays(start: Callable[..., Echo]) -> None:
    echo = start(threads=4)
    with ExitStack() as stack:
        ask(echo.connect(stack), b"first")
        (attended,) = echo.server.active_channels.values()
        assert attended.attended
        assert not attended.readable()


def test_requests_that_follow_late_are_answered_as_well(start: Callable[..., Echo]) -> None:
    echo = start(threads=4, milliseconds=0)
    with ExitStack() as stack:
        connection = echo.connect(stack)
        assert [ask(connection, b"%d" % number)[0] for number in range(50)] == [str(number) for number in range(50)]


def test_a_thread_does_not_stay_where_nothing_is_asked_while_somebody_waits(start: Callable[..., Echo]) -> None:
    echo = start(threads=1)
    with ExitStack() as stack:
        busy, waiting = echo.connect(stack), echo.connect(stack)
        busy.sendall(post(b"", "/hold"))
        assert echo.holding.wait(SECONDS)
        # The only thread is with the first connection, and the second asks before it has ended there.
        waiting.sendall(post(b"second"))
        until_queued(echo)
        echo.let_go.set()
        assert answer(busy) == (200, "held")
        assert answer(waiting)[1].startswith("second by ")


def test_one_connection_full_of_requests_does_not_keep_the_only_thread(start: Callable[..., Echo]) -> None:
    echo = start(threads=1)
    with ExitStack() as stack:
        greedy, waiting = echo.connect(stack), echo.connect(stack)
        greedy.sendall(post(b"", "/hold") + post(b"more") * 100)
        assert echo.holding.wait(SECONDS)
        waiting.sendall(post(b"second"))
        until_queued(echo)
        echo.let_go.set()
        assert answer(waiting)[1].startswith("second by ")
        # The requests that were sent all at once are answered in their order, each once.
        received = b""
        while received.count(b"more by ") < 100:
            block = greedy.recv(65_536)
            assert block
            received += block
        assert received.startswith(b"HTTP/1.1 200 OK")
        assert received.count(b"HTTP/1.1 200 OK") == 101


def test_each_of_many_connections_gets_its_own_answers_in_order_from_few_threads(start: Callable[..., Echo]) -> None:
    echo = start(threads=3, milliseconds=1)

    def converse(name: str) -> list[str]:
        with ExitStack() as stack:
            connection = echo.connect(stack)
            return [ask(connection, f"{name}-{number}".encode())[0] for number in range(60)]

    names = [f"caller-{number}" for number in range(12)]
    with ThreadPoolExecutor(len(names)) as callers:
        answers = list(callers.map(converse, names))
    assert answers == [[f"{name}-{number}" for number in range(60)] for name in names]


def test_a_request_that_arrives_in_pieces_while_a_thread_stays_is_answered_whole(start: Callable[..., Echo]) -> None:
    echo = start(threads=2)
    with ExitStack() as stack:
        connection = echo.connect(stack)
        ask(connection, b"first")
        whole = post(b"x" * 50_000)
        for piece in (whole[:7], whole[7:40], whole[40:9_000], whole[9_000:]):
            connection.sendall(piece)
        assert answer(connection)[1].partition(" by ")[0] == "x" * 50_000
        assert ask(connection, b"last")[0] == "last"


def test_a_request_that_asks_whether_to_continue_is_told_so_while_a_thread_stays(start: Callable[..., Echo]) -> None:
    echo = start(threads=2)
    with ExitStack() as stack:
        connection = echo.connect(stack)
        ask(connection, b"first")
        head = post(b"body", more="Expect: 100-continue\r\n").removesuffix(b"body")
        connection.sendall(head)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(b"body")
        assert answer(connection)[1].startswith("body by ")


@pytest.mark.parametrize("milliseconds", [0, LONG_MILLISECONDS])
@pytest.mark.parametrize(
    "wrong",
    [
        b"\x00\xff nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        post(b"z" * 100_001),
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["no-http", "two-lengths", "long-header", "large-body", "endless-length", "open-bracket"],
)
def test_what_is_wrong_is_refused_and_ends_the_connection_whether_a_thread_stays_or_not(
    start: Callable[..., Echo], wrong: bytes, milliseconds: int
) -> None:
    echo = start(threads=2, milliseconds=milliseconds)
    with ExitStack() as stack:
        connection = echo.connect(stack)
        ask(connection, b"first")
        connection.sendall(wrong)
        status, _ = answer(connection)
        assert 400 <= status < 500
        with pytest.raises((AssertionError, ConnectionError)):
            ask(connection, b"again")


def test_a_connection_that_ends_while_a_thread_stays_is_closed_and_the_thread_is_free(
    start: Callable[..., Echo],
) -> None:
    echo = start(threads=1)
    for _ in range(20):
        with ExitStack() as stack:
            connection = echo.connect(stack)
            ask(connection, b"first")
    with ExitStack() as stack:
        assert ask(echo.connect(stack), b"last")[0] == "last"
        # That one and those that have not been closed yet.
        until(lambda: len(echo.server.active_channels) == 1)


def test_the_server_ends_although_somebody_never_ceases_to_ask(start: Callable[..., Echo]) -> None:
    echo = start(threads=2)
    with ExitStack() as stack:
        connection = echo.connect(stack)
        ended = threading.Event()

        def never_cease() -> None:
            try:
                while True:
                    ask(connection, b"again")
            except (OSError, AssertionError):
                ended.set()

        asking = threading.Thread(target=never_cease, daemon=True)
        asking.start()
        until(lambda: any(one.attended for one in echo.server.active_channels.values()))
        echo.server.task_dispatcher.shutdown(timeout=SECONDS)
        assert not echo.server.task_dispatcher.threads
        connection.shutdown(socket.SHUT_RDWR)
        assert ended.wait(SECONDS)
        asking.join(SECONDS)


def until_queued(echo: Echo) -> None:
    until(lambda: echo.server.task_dispatcher.queue)
