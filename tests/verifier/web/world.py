"""The page over bundles of that ledger, and a gateway that hands them out."""

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import URLSafeSerializer

from tests.verifier.web.small_ledger import Authority, Chain
from verifier.web.app import create_app
from verifier.web.settings import WebSettings


@dataclass(frozen=True, kw_only=True)
class World:
    """Two authorities, a policy that trusts them, a folder of bundles and a key for links."""

    folder: Path
    policy: Path
    key_file: Path
    authorities: tuple[Authority, Authority]
    secret: bytes

    def store(self, chain: Chain, *, name: str | None = None, disclosures: Sequence[tuple[int, str]] = ()) -> bytes:
        """Put the chain's bundle, stamped by both authorities, into the folder and return its bytes."""
        content = chain.bundle(*self.authorities, disclosures=disclosures)
        (self.folder / f"{name or chain.chain_id}.zip").write_bytes(content)
        return content

    def link(self, chain: Chain, /, *, head: bytes | None = None, secret: bytes | None = None, **claims: Any) -> str:
        """A verify link as docs/spec has the ledger make it."""
        body = {
            "chain": chain.chain_id,
            "org": chain.organisation["id"],
            "head": (head or chain.hashes[-1]).hex(),
            "exp": int((datetime.now(tz=UTC) + timedelta(days=90)).timestamp()),
            "id": "link-1",
            **claims,
        }
        serializer = URLSafeSerializer(
            secret or self.secret,
            salt="indelible-verify-link/1",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
        return "k1." + str(serializer.dumps(body))

    def app(self, **changes: Any) -> Flask:
        """The page over the folder with link keys; `changes` are settings."""
        settings: dict[str, Any] = {"bundles": self.folder, "trust": self.policy, "link_keys": self.key_file}
        return create_app(WebSettings(**{**settings, "burst": 10_000, **changes}))

    def client(self, **changes: Any) -> FlaskClient:
        return self.app(**changes).test_client()

    def report(self, path: str, client: FlaskClient | None = None) -> dict[str, Any]:
        """The JSON report of a page."""
        answer = (client or self.client()).get(path, headers={"Accept": "application/json"})
        report: dict[str, Any] = json.loads(answer.text)
        return report


@dataclass(kw_only=True)
class GatewayScript:
    """What the test's gateway answers, and the paths it was asked for."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/zip"
    announced: int | None = None
    cut_off: bool = False
    asked: list[str] = field(default_factory=list)


@contextmanager
def running_gateway(script: GatewayScript) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            script.asked.append(self.path)
            self.send_response(script.status)
            self.send_header("Content-Type", script.content_type)
            if script.cut_off:
                # A chunk that is announced and never comes: what a gateway does when its own source fails.
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n%s\r\n10\r\n" % (len(script.body), script.body))
                self.close_connection = True
                return
            self.send_header("Content-Length", str(len(script.body) if script.announced is None else script.announced))
            self.end_headers()
            self.wfile.write(script.body)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
