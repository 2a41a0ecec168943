"""An S3 server that lies: a proxy on loopback before a real one, which spoils chosen answers on command."""

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote, urlsplit

from sandbox.processes import LOOPBACK

_UPSTREAM_SECONDS = 60.0
SLOW_SECONDS = 0.5
# Longer than any client here waits for an answer.
HANG_SECONDS = 10.0
_ENTRY = re.compile(r"<(Contents|Version)>.*?</\1>", re.DOTALL)
_KEY = re.compile(r"<Key>(.*?)</Key>", re.DOTALL)
_PER_CONNECTION = frozenset({"connection", "expect", "transfer-encoding", "keep-alive"})


class Fault(StrEnum):
    """One way to lie."""

    FLIP_ON_READ = "flip-on-read"  # one bit of the object is another
    SHORT_READ = "short-read"  # the object ends early, and its length agrees
    RESET_ON_READ = "reset-on-read"  # the connection breaks in the middle of the object
    ERROR_BEFORE_PUT = "error-before-put"  # 500, and nothing was stored
    ERROR_AFTER_PUT = "error-after-put"  # 500, but it was stored
    RESET_AFTER_PUT = "reset-after-put"  # it was stored, and the connection breaks without an answer
    HANG_AFTER_PUT = "hang-after-put"  # it was stored, and no answer comes
    IGNORE_PUT = "ignore-put"  # "stored", but nothing was
    IGNORE_DELETE = "ignore-delete"  # "deleted", but nothing was
    STALE_LISTING = "stale-listing"  # lists do not show what was stored since
    MISSING_AT_FIRST = "missing-at-first"  # "no such object", although it is there
    ARCHIVED = "archived"  # must be restored first; see `finish_restores`
    SLOW = "slow"  # every answer takes SLOW_SECONDS


@dataclass(slots=True)
class _Lie:
    fault: Fault
    # None: for ever.
    times: int | None
    key: str
    # "" for any.
    method: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came in."""

    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class LyingObjects:
    """A proxy that runs in threads of this process. Use it as a context manager."""

    def __init__(self, objects_url: str) -> None:
        """Prepare a proxy before the S3 server at `objects_url`."""
        self._upstream = urlsplit(objects_url)
        self._lock = threading.Lock()
        self._lies: list[_Lie] = []
        self._stored_since: set[str] = set()
        self._restoring: set[str] = set()
        self._restored: set[str] = set()
        self.requests: list[Seen] = []
        self._server = _Server((LOOPBACK, 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; what hangs is cut off."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The endpoint for S3 clients."""
        return f"http://{LOOPBACK}:{self._server.server_port}"

    def lie(self, fault: Fault, *, times: int | None = None, key: str = "", method: str = "") -> None:
        """Tell this lie from now on, `times` often, about objects whose address contains `key`."""
        with self._lock:
            self._lies.append(_Lie(fault, times, key, method))
            self._stored_since.clear()

    def stop_lying(self) -> None:
        """Be honest again."""
        with self._lock:
            self._lies.clear()
            self.requests.clear()

    def finish_restores(self) -> None:
        """What was asked for from the archive is readable now."""
        with self._lock:
            self._restored |= self._restoring
            self._restoring.clear()

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> _Answer | None:
        """The answer to one request, spoiled as it was told; None breaks the connection."""
        path, _, query = target.partition("?")
        path = unquote(path)
        with self._lock:
            self.requests.append(Seen(method, target, dict(headers)))
        if self._tells(Fault.SLOW, path):
            time.sleep(SLOW_SECONDS)
        is_object = path.count("/") > 1 and not path.endswith("/")
        stores = is_object and (method == "PUT" or (method == "POST" and "uploadId=" in query))
        stores = stores and not any(word in query for word in ("retention", "legal-hold"))
        if stores:
            return self._store(method, target, path, headers, body)
        if method == "DELETE" and self._tells(Fault.IGNORE_DELETE, path):
            return _Answer(HTTPStatus.NO_CONTENT, (), b"")
        if is_object and self._archived(path):
            return self._of_archive(method, target, path, query, headers, body)
        if is_object and method in {"GET", "HEAD"} and not query.startswith(("retention", "legal-hold")):
            return self._read(method, target, path, headers)
        answer = self._forward(method, target, headers, body)
        if method == "GET" and not is_object and self._tells(Fault.STALE_LISTING, path):
            return self._stale(answer)
        return answer

    def _store(self, method: str, target: str, path: str, headers: Mapping[str, str], body: bytes) -> _Answer | None:
        if self._tells(Fault.ERROR_BEFORE_PUT, path, method):
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError")
        if self._tells(Fault.IGNORE_PUT, path, method):
            return _Answer(HTTPStatus.OK, (("ETag", '"00000000000000000000000000000000"'),), b"")
        answer = self._forward(method, target, headers, body)
        with self._lock:
            self._stored_since.add(path.split("/", 2)[2])
        if self._tells(Fault.ERROR_AFTER_PUT, path, method):
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError")
        if self._tells(Fault.RESET_AFTER_PUT, path, method):
            return None
        if self._tells(Fault.HANG_AFTER_PUT, path, method):
            time.sleep(HANG_SECONDS)
            return None
        return answer

    def _read(self, method: str, target: str, path: str, headers: Mapping[str, str]) -> _Answer | None:
        if self._tells(Fault.MISSING_AT_FIRST, path):
            return _error(HTTPStatus.NOT_FOUND, "NoSuchKey", is_head=method == "HEAD")
        answer = self._forward(method, target, headers, b"")
        if method == "HEAD" or answer.status != HTTPStatus.OK or not answer.body:
            return answer
        middle = len(answer.body) // 2
        if self._tells(Fault.FLIP_ON_READ, path):
            flipped = bytes([answer.body[middle] ^ 1])
            return _Answer(answer.status, answer.headers, answer.body[:middle] + flipped + answer.body[middle + 1 :])
        if self._tells(Fault.SHORT_READ, path):
            return _Answer(answer.status, answer.headers, answer.body[:middle])
        if self._tells(Fault.RESET_ON_READ, path):
            return _Answer(
                answer.status, (*answer.headers, ("Content-Length", str(len(answer.body)))), answer.body[:middle]
            )
        return answer

    def _of_archive(  # noqa: PLR0913, PLR0917 - the parts of a request
        self, method: str, target: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> _Answer:
        if method == "POST" and query.startswith("restore"):
            with self._lock:
                busy = path in self._restoring
                self._restoring.add(path)
            return _error(HTTPStatus.CONFLICT, "RestoreAlreadyInProgress") if busy else _Answer(202, (), b"")
        if method == "GET" and path not in self._restored:
            return _error(HTTPStatus.FORBIDDEN, "InvalidObjectState")
        answer = self._forward(method, target, headers, body)
        extra = [("x-amz-storage-class", "DEEP_ARCHIVE")]
        if path in self._restoring:
            extra.append(("x-amz-restore", 'ongoing-request="true"'))
        elif path in self._restored:
            extra.append(("x-amz-restore", 'ongoing-request="false", expiry-date="Fri, 23 Dec 2033 00:00:00 GMT"'))
        return _Answer(answer.status, (*answer.headers, *extra), answer.body)

    def _archived(self, path: str) -> bool:
        with self._lock:
            return any(lie.fault is Fault.ARCHIVED and lie.key in path for lie in self._lies)

    def _stale(self, answer: _Answer) -> _Answer:
        with self._lock:
            hidden = set(self._stored_since)

        def drop(entry: re.Match[str]) -> str:
            key = _KEY.search(entry[0])
            return "" if key and key[1] in hidden else entry[0]

        return _Answer(answer.status, answer.headers, _ENTRY.sub(drop, answer.body.decode()).encode())

    def _tells(self, fault: Fault, path: str, method: str = "") -> bool:
        """Whether the lie applies to this request; counts it if so."""
        with self._lock:
            for lie in self._lies:
                if lie.fault is fault and lie.key in path and lie.method in {"", method} and lie.times != 0:
                    if lie.times is not None:
                        lie.times -= 1
                    return True
            return False

    def _forward(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> _Answer:
        connection = HTTPConnection(str(self._upstream.hostname), self._upstream.port, timeout=_UPSTREAM_SECONDS)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            # The Host header is signed, so it stays the one the client knows.
            for name, value in headers.items():
                if name.lower() not in _PER_CONNECTION:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            kept = tuple(
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in _PER_CONNECTION and (method == "HEAD" or name.lower() != "content-length")
            )
            return _Answer(answer.status, kept, answer.read())
        finally:
            connection.close()


def _error(status: HTTPStatus, code: str, *, is_head: bool = False) -> _Answer:
    body = b"" if is_head else f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    return _Answer(status, (("Content-Type", "application/xml"),), body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], proxy: LyingObjects) -> None:
        self.proxy = proxy
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            answer = self.server.proxy.answer(self.command, self.path, dict(self.headers.items()), body)
        except (OSError, HTTPException):
            answer = None
        if answer is None:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        headers = {name.lower(): value for name, value in answer.headers}
        headers.setdefault("content-length", str(len(answer.body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        if self.command != "HEAD" and int(headers["content-length"]) != len(answer.body):
            self.close_connection = True  # what was promised and is missing

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - the base class's names
