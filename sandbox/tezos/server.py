"""The HTTP side: a port for each node, and one by which tests and the demo move the network.

The standard library's server, because some faults need the bare connection.
"""

import dataclasses
import functools
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit

from sandbox.tezos.faults import NodeFaults
from sandbox.tezos.network import Network
from sandbox.tezos.rpc import NotServedError, RpcProblemError

LOOPBACK = "127.0.0.1"
MAX_REQUEST_BYTES = 256 * 1024


class Server(http.server.ThreadingHTTPServer):
    """One port. `desk` answers; `network` and `node` say whose faults apply (node -1: none)."""

    daemon_threads = True

    def __init__(self, desk: "Desk", network: Network, node: int) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.desk = desk
        self.network = network
        self.node = node

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is not worth a traceback in the log."""


class Desk(Protocol):
    """Answers GET and POST. Raises NotServedError and RpcProblemError."""

    def get(self, path: str) -> Any:
        """Answer a GET."""

    def post(self, path: str, body: Any) -> Any:
        """Answer a POST."""


class ControlDesk:
    """POST /bake, /reorganise, /faults, /heal: move the network. GET /status: what it looks like."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def get(self, path: str) -> Any:
        """The network's state, as far as tests ask for it."""
        if path != "/status":
            raise NotServedError(path)
        with self._network.lock:
            heads = [self._network.head(node) for node in range(len(self._network.nodes))]
            return {
                "chain_id": self._network.chain_id,
                "heads": [{"hash": head.hash, "level": head.level} for head in heads],
                "pools": [sorted(node.mempool) for node in self._network.nodes],
                "accounts": {
                    address: dataclasses.asdict(account) for address, account in heads[0].state.accounts.items()
                },
                "operations": self._operations(),
            }

    def post(self, path: str, body: Any) -> Any:
        """Move the network."""
        match path:
            case "/bake":
                self._network.bake(body.get("count", 1), nodes=body.get("nodes"), empty=body.get("empty", False))
            case "/reorganise":
                self._network.reorganise(body["depth"], lose_operations=body["lose_operations"])
            case "/faults":
                with self._network.lock:
                    for node in body["nodes"]:
                        self._network.nodes[node].faults = NodeFaults(**body["faults"])
            case "/heal":
                self._network.heal()
            case _:
                raise NotServedError(path)
        return {}

    def _operations(self) -> list[dict[str, Any]]:
        """Our operations on the first node's chain, oldest first."""
        block = self._network.head(0)
        found: list[dict[str, Any]] = []
        while block.level > 0:
            for hash_, _, document in block.operations[3]:
                if document["contents"]:
                    found.append({"hash": hash_, "level": block.level, "contents": document["contents"]})
            block = self._network.blocks[block.predecessor]
        return found[::-1]


def serve_in_thread(server: Server) -> None:
    """Serve until the process ends."""
    threading.Thread(target=server.serve_forever, daemon=True).start()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds a silent connection is kept
    # Headers and body in one packet, or each answer waits 40 ms for the other side's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve(self.server.desk.get)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= MAX_REQUEST_BYTES:
            self._reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"too large or empty")
            return
        body = json.loads(self.rfile.read(length))
        self._serve(functools.partial(self._post, body))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Nothing: a line for each request hides what matters."""

    def _post(self, body: Any, path: str) -> Any:
        return self.server.desk.post(path, body)

    def _serve(self, answer: Callable[[str], Any]) -> None:
        faults, number = NodeFaults(), 0
        if self.server.node >= 0:
            with self.server.network.lock:
                node = self.server.network.nodes[self.server.node]
                node.requests += 1
                faults, number = node.faults, node.requests
        time.sleep(faults.slow_seconds)
        if _hits(faults.down_every, number):
            self._hang_up()
            return
        if _hits(faults.status_every, number):
            self._reply(HTTPStatus(faults.status), b"no", retry_after=faults.status == HTTPStatus.TOO_MANY_REQUESTS)
            return
        try:
            status, body = HTTPStatus.OK, answer(urlsplit(self.path).path)
        except NotServedError:
            status, body = HTTPStatus.NOT_FOUND, "not found"
        except RpcProblemError as error:
            status, body = HTTPStatus.INTERNAL_SERVER_ERROR, error.errors
        raw = json.dumps(body).encode()
        if _hits(faults.garbage_every, number):
            raw = b'{"garbage": ["' + b"\xc3(" * 20 + b'"]}' if number % 2 else b'{"unexpected": []}'
        self._reply(status, raw, cut=_hits(faults.truncated_every, number))

    def _reply(self, status: HTTPStatus, body: bytes, *, cut: bool = False, retry_after: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if retry_after:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _hits(every: int, number: int) -> bool:
    return every > 0 and number % every == 0
