"""Serves the verify page with waitress: bounded in time and size towards slow and large clients, clean on SIGTERM."""

import logging
import signal
import socket
import time
from contextlib import suppress
from types import FrameType
from typing import Any

import waitress  # type: ignore[import-untyped]  # publishes no type information
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]  # as above
from waitress.parser import HTTPRequestParser, ParsingError  # type: ignore[import-untyped]  # as above
from waitress.task import ErrorTask  # type: ignore[import-untyped]  # as above

from verifier.web.app import FORM_OVERHEAD_BYTES, SECURITY_HEADERS, create_app
from verifier.web.settings import WebSettings

# Twice the verifications that may run at once, and some for pages that are quick.
THREADS = 8
# Each may hold an upload's temporary file, so this also bounds the disk: connections times the upload limit.
MAX_CONNECTIONS = 100
# A connection that says nothing is closed after this.
IDLE_SECONDS = 30
# The longest a request may take to arrive: a full upload at 0.25 MB/s. Bytes that only trickle do not extend it.
MAX_REQUEST_SECONDS = 300
MAX_HEADER_BYTES = 32 * 1024
# A reader who takes less than this of an answer that waits is cut off. Socket buffers are refilled in gulps of up to a
# third of 4 MiB: a shorter time would cut off readers who are steady.
PACE_BYTES = 1024 * 1024
PACE_SECONDS = 60.0
# How long answers under way may take to leave after SIGTERM.
DRAIN_SECONDS = 10

_log = logging.getLogger("verifier.web")


def run(settings: WebSettings) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is under way and return.

    Must run in the main thread. Raises `ValueError` or `OSError` if the settings cannot be used or the port is taken.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    server = _listen(settings)
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        server.pull_trigger()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    _log.info("verify page at http://%s:%s/", host, server.effective_port)
    try:
        while not stopping:
            _turn(server, seconds=1.0)
        _drain(server)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _listen(settings: WebSettings) -> Any:
    app = create_app(settings)
    family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
    listener = socket.create_server(address[:2], family=family)
    server = waitress.create_server(
        app,
        sockets=[listener],
        threads=THREADS,
        connection_limit=MAX_CONNECTIONS,
        channel_timeout=IDLE_SECONDS,
        cleanup_interval=IDLE_SECONDS // 3,
        max_request_header_size=MAX_HEADER_BYTES,
        max_request_body_size=settings.max_upload_bytes + FORM_OVERHEAD_BYTES,
        asyncore_use_poll=True,
        # The application itself heeds forwarded addresses, and only if told how many proxies to trust.
        clear_untrusted_proxy_headers=False,
        log_socket_errors=False,
        ident=None,
    )
    server.channel_class = _Channel
    return server


def _turn(server: Any, *, seconds: float) -> None:
    server.asyncore.loop(timeout=seconds, use_poll=True, map=server._map, count=1)  # noqa: SLF001  # its only handle


def _drain(server: Any) -> None:
    """Take no new connections, let answers under way leave, then close the rest."""
    server.accepting = False
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline and any(
        channel.requests or channel.total_outbufs_len for channel in server.active_channels.values()
    ):
        _turn(server, seconds=0.1)
    server.task_dispatcher.shutdown()
    server.asyncore.close_all(server._map)  # noqa: SLF001  # its only handle


class _ErrorTask(ErrorTask):  # type: ignore[misc]  # waitress publishes no types
    """Waitress's own refusals (a body too large, a broken request) carry the page's security headers too."""

    def execute(self) -> None:
        self.response_headers.extend([*SECURITY_HEADERS, ("Cache-Control", "no-store")])
        super().execute()


class _Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress publishes no types
    """Waitress lets pass what Python says of a length of thousands of digits, and of brackets in an address."""

    def parse_header(self, header_plus: bytes) -> None:
        """Read the headers. Raises ParsingError, which is answered with 400 and ends the connection."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError("the request line or a header cannot be read") from error


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress publishes no types
    """A connection whose requests must arrive in time as a whole, and whose reader must keep pace with the answers.

    Waitress's own time-out closes a connection when it can next be written to, which a reader who stopped reading never
    lets happen.
    """

    parser_class = _Parser
    error_task_class = _ErrorTask
    request_began: float | None = None
    # What had been sent, and when, as the present minute of waiting began; None while nothing waits.
    _pace: tuple[int, float] | None = None
    _sent_bytes = 0

    def send(self, data: bytes, do_close: bool = True) -> int:  # noqa: FBT001, FBT002  # waitress's signature
        """Send, and count what went."""
        sent: int = super().send(data, do_close=do_close)
        self._sent_bytes += sent
        return sent

    def received(self, data: bytes) -> Any:
        """Note when a request began and whether it is complete."""
        if self.request_began is None:
            self.request_began = time.monotonic()
        outcome = super().received(data)
        if self.request is None:
            self.request_began = None
        return outcome

    def readable(self) -> Any:
        """Called at least once a second: the place to notice that time is up."""
        if self.request_began is not None and time.monotonic() - self.request_began > MAX_REQUEST_SECONDS:
            self.will_close = True
        if not self._keeps_pace(time.monotonic()):
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.handle_close()
            return False
        return super().readable()

    def writable(self) -> Any:
        """Whether there is something to send, to somebody who is still there."""
        return self.connected and super().writable()

    def _keeps_pace(self, now: float) -> bool:
        if not self.total_outbufs_len:
            self._pace = None
        elif self._pace is None:
            self._pace = self._sent_bytes, now
        elif now - self._pace[1] > PACE_SECONDS:
            if self._sent_bytes - self._pace[0] < PACE_BYTES:
                return False
            self._pace = self._sent_bytes, now
        return True
