"""The HTTP side of `sandbox-two`: POST /tsr for time-stamps, GET /root.crl for the revocation list.

The standard library's server, because some faults need the bare connection.
"""

import base64
import hmac
import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox.authorities.faults import SLOW_SECONDS, Fault, current_fault
from sandbox.authorities.second import pki
from sandbox.authorities.second.token import Signers, answer

MAX_REQUEST_BYTES = 64 * 1024
_HUGE_BYTES = 4 * 1024 * 1024
_REPLY_TYPE = "application/timestamp-reply"


def serve(directory: Path, listener: socket.socket, announce: Callable[[str, bytes], None]) -> None:
    """Serve the authority that lives in `directory` on `listener` until the process ends.

    `announce(url, root_pem)` is called once, when the authority is ready. Options are files in `directory`:
    `basic_auth` (NAME:PASSWORD, then asked of every client), and `tls.json` ({"certificate", "key",
    "client_ca"}: paths of PEM files; then TLS with client certificates is spoken instead of plain HTTP).
    """
    port = listener.getsockname()[1]
    root = pki.load_or_create_root(directory)
    signer_key = pki.load_or_create_signer_key(directory)
    crl_url = f"http://127.0.0.1:{port}/root.crl"
    strangers_root = pki.new_root(ec.generate_private_key(ec.SECP256R1()), common_name="Unknown Root")
    desk = _Desk(
        directory,
        root,
        Signers(
            good=pki.issue_signer(root, signer_key, crl_url=crl_url),
            expired=pki.issue_signer(root, signer_key, crl_url=crl_url, expired=True),
            stranger=pki.issue_signer(strangers_root, ec.generate_private_key(ec.SECP256R1()), crl_url=None),
        ),
    )
    tls = directory / "tls.json"
    if tls.exists():
        listener = _with_tls(listener, json.loads(tls.read_text(encoding="utf-8")))
    server = _Server(listener, desk)
    scheme = "https" if tls.exists() else "http"
    announce(f"{scheme}://127.0.0.1:{port}/tsr", root.certificate.public_bytes(serialization.Encoding.PEM))
    server.serve_forever()


def _with_tls(listener: socket.socket, files: dict[str, str]) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["certificate"], files["key"])
    context.load_verify_locations(files["client_ca"])
    context.verify_mode = ssl.CERT_REQUIRED
    return context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)


class _Desk:
    """What all requests share: the keys, and the answers given so far, of which one fault repeats the first."""

    def __init__(self, directory: Path, root: pki.Identity, signers: Signers) -> None:
        self.directory = directory
        self._root = root
        self._signers = signers
        self._first_answer: bytes | None = None
        self._lock = threading.Lock()

    def stamp(self, request: bytes, fault: Fault) -> bytes:
        fresh = answer(request, self._signers, fault)
        with self._lock:
            if self._first_answer is None:
                self._first_answer = fresh
            return self._first_answer if fault is Fault.REPLAY else fresh

    def revocation_list(self, fault: Fault) -> bytes:
        if fault is Fault.CRL_GARBAGE:
            return b"no list at all"
        if fault is Fault.CRL_HUGE:
            return b"\x30" * _HUGE_BYTES
        return pki.make_crl(self._root, revoked=self._signers.good if fault is Fault.REVOKED else None)

    def authorised(self, header: str | None) -> bool:
        secret = self.directory / "basic_auth"
        if not secret.exists():
            return True
        expected = "Basic " + base64.b64encode(secret.read_bytes().strip()).decode("ascii")
        return hmac.compare_digest(expected, header or "")


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, desk: _Desk) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.desk = desk

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up, as some do on a slow answer, is not worth a traceback in the log."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds a silent connection is kept

    def do_GET(self) -> None:
        fault = current_fault(self.server.desk.directory)
        if self.path != "/root.crl" or fault is Fault.CRL_DOWN:
            self._reply(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain")
            return
        self._reply(HTTPStatus.OK, self.server.desk.revocation_list(fault), "application/pkix-crl")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= MAX_REQUEST_BYTES:
            self._reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"too large or empty\n", "text/plain")
            return
        request = self.rfile.read(length)
        fault = current_fault(self.server.desk.directory)
        if self.path != "/tsr":
            self._reply(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain")
        elif fault is Fault.UNAUTHORISED or not self.server.desk.authorised(self.headers.get("Authorization")):
            self._reply(HTTPStatus.UNAUTHORIZED, b"who are you?\n", "text/plain")
        elif self.headers.get("Content-Type") != "application/timestamp-query":
            self._reply(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, b"not a time-stamp query\n", "text/plain")
        else:
            self._stamp(request, fault)

    def _stamp(self, request: bytes, fault: Fault) -> None:
        """Answer as the standard says, or break the transport as `fault` says."""
        match fault:
            case Fault.DOWN:
                self._hang_up()
            case Fault.ERROR_500:
                self._reply(HTTPStatus.INTERNAL_SERVER_ERROR, b"out of order\n", "text/plain")
            case Fault.REDIRECT:
                self._reply(HTTPStatus.FOUND, b"", "text/plain", location="http://192.0.2.1/tsr")
            case Fault.GARBAGE:
                self._reply(HTTPStatus.OK, b"\x30\x82\xff\xff garbage" * 8, _REPLY_TYPE)
            case Fault.HUGE:
                self._reply(HTTPStatus.OK, b"\x30" * _HUGE_BYTES, _REPLY_TYPE)
            case Fault.CUT:
                body = self.server.desk.stamp(request, fault)
                self._reply(HTTPStatus.OK, body[: len(body) // 2], _REPLY_TYPE, announced=len(body))
                self._hang_up()
            case Fault.WRONG_CONTENT_TYPE:
                self._reply(HTTPStatus.OK, self.server.desk.stamp(request, fault), "text/html")
            case _:
                if fault is Fault.SLOW:
                    time.sleep(SLOW_SECONDS)
                self._reply(HTTPStatus.OK, self.server.desk.stamp(request, fault), _REPLY_TYPE)

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _reply(
        self,
        status: HTTPStatus,
        body: bytes,
        content_type: str,
        *,
        announced: int | None = None,
        location: str | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        if location is not None:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)
