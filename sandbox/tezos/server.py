"""The HTTP side: a port for each node, and one by which tests and the demo move the network."""

import dataclasses
import functools
import json
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit

from sandbox.doubles import DoubleHandler, DoubleServer
from sandbox.tezos.faults import NodeFaults
from sandbox.tezos.network import Network
from sandbox.tezos.rpc import NotServedError, RpcProblemError

MAX_REQUEST_BYTES = 256 * 1024


class Server(DoubleServer):
    """One port. `desk` answers; `network` and `node` say whose faults apply (node -1: none)."""

    def __init__(self, desk: "Desk", network: Network, node: int) -> None:
        super().__init__(_Handler)
        self.desk = desk
        self.network = network
        self.node = node


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


class _Handler(DoubleHandler):
    server: Server
    max_request_bytes = MAX_REQUEST_BYTES

    def answer_get(self) -> None:
        self._serve(self.server.desk.get)

    def answer_post(self, body: bytes) -> None:
        self._serve(functools.partial(self._post, json.loads(body)))

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
            self.hang_up()
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
        headers = {"Retry-After": "0"} if retry_after else None
        self.reply(status, body, media_type="application/json", cut=cut, headers=headers)


def _hits(every: int, number: int) -> bool:
    return every > 0 and number % every == 0
