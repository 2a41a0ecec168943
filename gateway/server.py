"""The HTTP server under the gateway: bounded in time and size towards slow and large clients."""

import socket
import time
from contextlib import ExitStack, suppress
from typing import Any

from flask import Flask
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]  # it ships no types
from waitress.parser import HTTPRequestParser, ParsingError  # type: ignore[import-untyped]  # as above
from waitress.server import create_server  # type: ignore[import-untyped]  # as above
from waitress.task import WSGITask  # type: ignore[import-untyped]  # as above

from gateway.door import MAX_DOWNLOADS
from ledger.address import Address

THREADS = MAX_DOWNLOADS + 4
# With integrators, whose requests mostly wait for the services behind the gateway; of each process.
INTEGRATORS_THREADS = MAX_DOWNLOADS + 36
# A thousand events of 4 KiB, or ten of the largest; the services behind the gateway take no more than 16 MiB.
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_CONNECTIONS = 500
# A connection on which nothing moves for this long is closed.
SILENCE_SECONDS = 30
# Room for a token of 8 KiB and what else comes along.
MAX_HEADER_BYTES = 16 * 1024
# A reader who takes less than this of what waits for it is cut off, so that a dozen who dawdle do not keep everybody
# else from the bundles. Socket buffers are refilled in gulps of up to a third of 4 MiB: a shorter time would cut off
# readers who are steady.
PACE_BYTES = 1024 * 1024
PACE_SECONDS = 60.0


def bind(address: Address, count: int = 1) -> list[socket.socket]:
    """Sockets at one address, for as many servers, among which the system shares out connections. Raises OSError.

    None of them listens yet.
    """
    family, kind, protocol, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # The first is there to learn whether somebody else has the address: sockets that share one would not.
    with ExitStack() as closing:
        probe = closing.enter_context(_bound(socket.socket(family, kind, protocol), where, shared=False))
        if count == 1:
            closing.pop_all()
            return [probe]
        where = probe.getsockname()
    with ExitStack() as closing:
        found = [
            closing.enter_context(_bound(socket.socket(family, kind, protocol), where, shared=True))
            for _ in range(count)
        ]
        closing.pop_all()
    return found


def _bound(one: socket.socket, where: Any, *, shared: bool) -> socket.socket:
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(where)
    except BaseException:
        one.close()
        raise
    return one


def make_server(
    app: Flask, bound: socket.socket, trusted_proxy: str | None, *, threads: int = THREADS, max_body_bytes: int = 0
) -> Any:
    """The server of `app`, listening; its `run` serves. Bodies of requests may have `max_body_bytes`."""
    proxy: dict[str, object] = {}
    if trusted_proxy:
        proxy = {
            "trusted_proxy": trusted_proxy,
            "trusted_proxy_headers": "x-forwarded-for",
            "clear_untrusted_proxy_headers": True,
        }
    server = create_server(
        app,
        sockets=[bound],
        threads=threads,
        connection_limit=MAX_CONNECTIONS,
        channel_timeout=SILENCE_SECONDS,
        max_request_header_size=MAX_HEADER_BYTES,
        max_request_body_size=max_body_bytes,
        # select() cannot watch descriptors above 1,023.
        asyncore_use_poll=True,
        ident=None,
        **proxy,
    )
    server.channel_class = _PacedChannel
    return server


def serve_until_stopped(server: Any) -> None:
    """Serve until SystemExit or KeyboardInterrupt is raised here, then finish what is under way."""
    try:
        server.run()
    finally:
        server.close()


class _StrictParser(HTTPRequestParser):  # type: ignore[misc]  # waitress publishes no types
    """Waitress's own parser, but one request has one length.

    Of a request with both a Content-Length and chunks, waitress reads the chunks and goes on with what follows as the
    next request (RFC 9112 section 6.1 wants the connection closed): a proxy that counted otherwise would have let a
    hidden request through.
    """

    def parse_header(self, header_plus: bytes) -> None:
        """Read the headers. Raises ParsingError, which is answered with 400 and ends the connection."""
        super().parse_header(header_plus)
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding exclude each other")


class _Task(WSGITask):  # type: ignore[misc]  # waitress publishes no types
    """One request; an answer that comes in one piece goes out in one piece, not headers first."""

    wrote_header: bool

    def write(self, data: bytes) -> None:
        """Send a piece of the answer."""
        if self.wrote_header or not self.complete or not self.has_body or self.content_length != len(data):
            super().write(data)
            return
        head = self.build_response_header()
        self.channel.write_soon(head + data)
        self.wrote_header = True
        self.content_bytes_written = len(data)


class _PacedChannel(HTTPChannel):  # type: ignore[misc]  # waitress publishes no types
    """A connection whose reader must keep pace.

    Waitress's own time-out spares a connection whose answer is still being made, and marks others to be closed when
    they can next be written to, which a reader who stopped reading never lets happen.
    """

    parser_class = _StrictParser
    task_class = _Task
    # What had been sent, and when, as the present minute of waiting began; None while nothing waits.
    _pace: tuple[int, float] | None = None
    _sent_bytes = 0

    def send(self, data: bytes, do_close: bool = True) -> int:  # noqa: FBT001, FBT002 - waitress's signature
        """Send, and count what went."""
        sent: int = super().send(data, do_close=do_close)
        self._sent_bytes += sent
        return sent

    def readable(self) -> bool:
        """Called at least once a second: the place to notice who does not keep pace."""
        if not self.total_outbufs_len:
            self._pace = None
            return bool(super().readable())
        now = time.monotonic()
        if self._pace is None:
            self._pace = self._sent_bytes, now
        elif now - self._pace[1] > PACE_SECONDS:
            if self._sent_bytes - self._pace[0] < PACE_BYTES:
                self._hang_up()
                return False
            self._pace = self._sent_bytes, now
        return bool(super().readable())

    def writable(self) -> bool:
        """Whether there is something to send, to somebody who is still there."""
        return bool(self.connected and super().writable())

    def _hang_up(self) -> None:
        """Close at once; whatever thread is making the answer learns that nobody wants it any more."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.handle_close()
