"""A node's RPC on the loopback, honest unless told otherwise."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class NodeDouble:
    """What the node says; `raw` answers every request with these bytes as they are."""

    chain_id: str
    hashes: dict[int, str]
    head: int
    raw: bytes | None = None
    pause: float = 0.0
    trickle: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def header(self, block: str) -> dict[str, Any] | None:
        level = self.head if block == "head" else int(block)
        if level > self.head:
            return None
        other = "BLockGenesisGenesisGenesisGenesisGenesisf79b5d1CoW2"
        return {"chain_id": self.chain_id, "hash": self.hashes.get(level, other), "level": level, **self.changes}

    @contextmanager
    def running(self) -> Iterator["NodeDouble"]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


def _handler(node: NodeDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            node.asked.append(self.path)
            time.sleep(node.pause)
            if node.trickle:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                for _ in range(1_200):
                    self.wfile.write(b"X-More: x\r\n")
                    self.wfile.flush()
                    time.sleep(0.05)
                return
            if node.raw is not None:
                self.wfile.write(node.raw)
                self.close_connection = True
                return
            header = node.header(self.path.split("/")[-2])
            body = json.dumps(header).encode()
            self.send_response(200 if header else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                """The client went away, which some tests are about."""

    return Handler
