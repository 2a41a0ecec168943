"""A connection to the HTTP server: what it accepts, how its answers go out, and for how long it may keep a thread.

Waitress has one thread that watches all connections and reads requests, and others that answer them.
"""

import select
import socket
import time
from contextlib import suppress
from typing import Any

from waitress.channel import HTTPChannel  # type: ignore[import-untyped]  # it ships no types
from waitress.parser import HTTPRequestParser, ParsingError  # type: ignore[import-untyped]  # as above
from waitress.task import WSGITask  # type: ignore[import-untyped]  # as above

# A reader who takes less than this of what waits for it is cut off, so that a dozen who dawdle do not keep everybody
# else from the bundles. Socket buffers are refilled in gulps of up to a third of 4 MiB: a shorter time would cut off
# readers who are steady.
PACE_BYTES = 1024 * 1024
PACE_SECONDS = 60.0
# A thread that has answered waits this long for the next request of the same connection, if nobody else waits for a
# thread. To hand connections back and forth costs as much time as reading the requests.
STAY_MILLISECONDS = 5


class _StrictParser(HTTPRequestParser):  # type: ignore[misc]  # waitress publishes no types
    """Waitress's own parser, but one request has one length.

    Of a request with both a Content-Length and chunks, waitress reads the chunks and goes on with what follows as the
    next request (RFC 9112 section 6.1 wants the connection closed): a proxy that counted otherwise would have let a
    hidden request through.
    """

    def parse_header(self, header_plus: bytes) -> None:
        """Read the headers. Raises ParsingError, which is answered with 400 and ends the connection."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            # Waitress lets pass what Python says of a length of thousands of digits, and of brackets in an address.
            raise ParsingError("the request line or a header cannot be read") from error
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


class Connection(HTTPChannel):  # type: ignore[misc]  # waitress publishes no types
    """A connection whose reader must keep pace, and where requests that follow at once are answered by one thread.

    Waitress's own time-out spares a connection whose answer is still being made, and marks others to be closed when
    they can next be written to, which a reader who stopped reading never lets happen.
    """

    parser_class = _StrictParser
    task_class = _Task
    # What had been sent, and when, as the present minute of waiting began; None while nothing waits.
    _pace: tuple[int, float] | None = None
    _sent_bytes = 0
    # Whether a thread that answers is with this connection: meanwhile the watching one neither reads nor closes it.
    attended = False

    def __init__(self, server: Any, *particulars: Any, **more: Any) -> None:
        """As waitress calls it."""
        super().__init__(server, *particulars, **more)
        self._threads = server.task_dispatcher
        self.server = _ServerOf(self, server)

    def service(self) -> None:
        """Answer the request that was read, and those that follow it at once."""
        self.attended = True
        try:
            super().service()
            while self._next_is_mine():
                super().service()
        finally:
            is_next = bool(self.requests)
            # From here on the watching thread may read the next request.
            self.attended = False
            if is_next:
                self.server.add_task(self)
            if self.connected:
                self.server.pull_trigger()

    def _next_is_mine(self) -> bool:
        """Whether there is another request for this thread, which waits a moment for it if nothing else is to do."""
        if self._threads.queue or self._threads.stop_count:
            return False
        if not self.requests and self.connected and not super().writable():
            self._read_next()
        return bool(self.requests)

    def _read_next(self) -> None:
        data = self._wait_for_data()
        if data:
            self.last_activity = time.time()
            self.received(data)

    def _wait_for_data(self) -> bytes:
        """What arrives within a moment. An end or a failure is left to the watching thread, which is told of it too."""
        arrived = select.poll()
        with suppress(OSError, ValueError):  # ValueError: closed meanwhile
            arrived.register(self.socket, select.POLLIN)
            if [event for _, event in arrived.poll(STAY_MILLISECONDS)] == [select.POLLIN]:
                data: bytes = self.socket.recv(self.adj.recv_bytes)
                return data
        return b""

    def send(self, data: bytes, do_close: bool = True) -> int:  # noqa: FBT001, FBT002 - waitress's signature
        """Send, and count what went."""
        sent: int = super().send(data, do_close=do_close)
        self._sent_bytes += sent
        return sent

    def readable(self) -> bool:
        """Called at least once a second: the place to notice who does not keep pace."""
        if not self.total_outbufs_len:
            self._pace = None
            return not self.attended and bool(super().readable())
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
        """Whether there is something to send, to somebody who is still there; or whether it is to be closed."""
        return bool(self.connected and (self.total_outbufs_len or not self.attended) and super().writable())

    def _hang_up(self) -> None:
        """Close at once; whatever thread is making the answer learns that nobody wants it any more."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.handle_close()


class _ServerOf:
    """The server, as one connection asks it: not troubled with what the thread that is there sees to itself."""

    def __init__(self, connection: Connection, server: Any) -> None:
        self._connection = connection
        self._server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def add_task(self, connection: Connection) -> None:
        """Have the connection's next request answered."""
        if not connection.attended:
            self._server.add_task(connection)

    def pull_trigger(self) -> None:
        """Have the watching thread look at the connection: to send what waits, or for the next request."""
        if self._connection.total_outbufs_len or not self._connection.attended:
            self._server.pull_trigger()
