"""A listener for LiveKit's reports, which keeps what it is sent and answers what it was told to."""

import threading
from http import HTTPStatus
from typing import Self

from sandbox.doubles import DoubleHandler, DoubleServer

_MAX_REPORT_BYTES = 1024 * 1024
_NOTICES_END_SECONDS = 0.02


class ReportReceiver(DoubleServer):
    """Use it as a context manager. `taken` are body, Authorization and Content-Type of each request so far."""

    def __init__(self, *statuses: int) -> None:
        """Answer the first requests with `statuses`, 0 being a broken connection, and all others with 200."""
        super().__init__(_Handler)
        self.statuses = list(statuses)
        self.taken: list[tuple[bytes, str, str]] = []
        self.changed = threading.Condition()

    def __enter__(self) -> Self:
        """Listen."""
        self.serve_in_thread(notices_end_seconds=_NOTICES_END_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self.shutdown()
        self.server_close()


class _Handler(DoubleHandler):
    server: ReportReceiver
    max_request_bytes = _MAX_REPORT_BYTES

    def answer_post(self, body: bytes) -> None:
        with self.server.changed:
            self.server.taken.append((body, self.headers["Authorization"] or "", self.headers["Content-Type"] or ""))
            status = self.server.statuses.pop(0) if self.server.statuses else HTTPStatus.OK
            self.server.changed.notify_all()
        if status:
            self.reply(HTTPStatus(status), b"", media_type="text/plain")
        else:
            self.hang_up()
