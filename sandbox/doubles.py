"""What the HTTP doubles of the outside world have in common: ports of their own, small requests, and broken answers.

The standard library's server, because some faults need the bare connection.
"""

import http.server
import socket
import threading
from collections.abc import Mapping
from http import HTTPStatus

from sandbox.processes import LOOPBACK


class DoubleServer(http.server.ThreadingHTTPServer):
    """One port, chosen by the system; `url` is its address."""

    daemon_threads = True

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__((LOOPBACK, 0), handler)
        self.url = f"http://{LOOPBACK}:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is not worth a traceback in the log."""

    def serve_in_thread(self, *, notices_end_seconds: float = 0.5) -> None:
        """Serve until the process ends, or until `shutdown`, which then takes so long."""
        threading.Thread(target=self.serve_forever, args=(notices_end_seconds,), daemon=True).start()


class DoubleHandler(http.server.BaseHTTPRequestHandler):
    """Reads bounded requests, and answers in full, in part or not at all."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds a silent connection is kept
    # Headers and body in one packet, or each answer waits 40 ms for the other side's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    max_request_bytes = 0

    def do_GET(self) -> None:
        """Called by the library."""
        self.answer_get()

    def do_POST(self) -> None:
        """Called by the library. An empty request, or one of more than `max_request_bytes`, is refused."""
        length = int(self.headers.get("Content-Length") or 0)
        if 0 < length <= self.max_request_bytes:
            self.answer_post(self.rfile.read(length))
        else:
            self.reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"too large or empty", media_type="text/plain")

    def answer_get(self) -> None:
        """Answer a GET of `self.path`."""
        raise NotImplementedError

    def answer_post(self, body: bytes) -> None:
        """Answer a POST to `self.path`."""
        raise NotImplementedError

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Nothing: a line for each request hides what matters."""

    def reply(
        self,
        status: HTTPStatus,
        body: bytes,
        *,
        media_type: str,
        cut: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send an answer; with `cut` half of it, and then hang up."""
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.hang_up()

    def hang_up(self) -> None:
        """End the connection."""
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
