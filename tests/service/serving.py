"""`indelible serve` as a real process on a real database, for tests of the service and of its callers."""

import json
import os
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from indelible.ledger.v1 import ledger_pb2_grpc

from ledger.chain.receipt import ReceiptSigner
from ledger.client import BlockingLedgerClient, LedgerClient
from ledger.store.admin import add_organisation
from sandbox.database import Database
from sandbox.issuer import EVERY_SCOPE, Issuer
from sandbox.processes import Process, find_program, free_port
from sandbox.services import is_healthy

ORGANISATION = "acme"
FOREIGN_ORGANISATION = "other"
KEY_NAME = "ledger.test"
START_SECONDS = 120.0


class Service:
    """One ledger service that a test may stop, kill and start again."""

    def __init__(
        self, directory: Path, database: Database, issuer: Issuer, extra: Mapping[str, str] | None = None
    ) -> None:
        self.directory = directory
        self.database = database
        self.issuer = issuer
        self.address = f"127.0.0.1:{free_port()}"
        self.metrics_port = free_port()
        self.log = directory / "ledger.log"
        self.arguments: tuple[str, ...] = ()
        receipt_key = Ed25519PrivateKey.generate()
        self.receipt_key = ReceiptSigner(key=receipt_key, name=KEY_NAME).verifier_key
        self.process: Process | None = None
        (directory / "receipt.pem").write_bytes(
            receipt_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        (directory / "links.toml").write_text(f'[keys]\ntest = "{"QUJD" * 12}"\n')
        self.environment = {
            "INDELIBLE_RUNTIME_DSN": database.runtime_dsn,
            "INDELIBLE_APPEND_DSN": database.append_dsn,
            "INDELIBLE_WORKER_DSN": database.worker_dsn,
            "INDELIBLE_LISTEN": self.address,
            "INDELIBLE_TOKEN_ISSUER": issuer.issuer,
            "INDELIBLE_TOKEN_AUDIENCE": issuer.audience,
            "INDELIBLE_TOKEN_JWKS": str(issuer.jwks_file),
            "INDELIBLE_RECEIPT_KEY": str(directory / "receipt.pem"),
            "INDELIBLE_RECEIPT_KEY_NAME": KEY_NAME,
            "INDELIBLE_LINK_KEYS": str(directory / "links.toml"),
            "INDELIBLE_PUBLIC_URL": "https://verify.example.org",
            "INDELIBLE_METRICS_LISTEN": f"127.0.0.1:{self.metrics_port}",
            **(extra or {}),
        }
        for organisation_id in (ORGANISATION, FOREIGN_ORGANISATION):
            add_organisation(database.admin_dsn, organisation_id, organisation_id.title())

    def start(self, probe: Callable[[], bool] | None = None) -> "Service":
        self.process = Process(
            "the ledger",
            [find_program("indelible"), "serve", *self.arguments],
            log=self.log,
            env=self.environment,
            stop_seconds=60,
        )
        self.process.wait_ready(probe or self.is_healthy, seconds=START_SECONDS)
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def is_healthy(self) -> bool:
        return is_healthy(self.address)

    def token(self, organisation_id: str = ORGANISATION, scopes: Sequence[str] = EVERY_SCOPE) -> str:
        return self.issuer.mint(organisation_id, scopes=scopes, subject="tester")

    def client(self, organisation_id: str = ORGANISATION, **options: Any) -> LedgerClient:
        options = {"receipt_key": self.receipt_key, **options}
        return LedgerClient(self.address, token=self.token(organisation_id), **options)

    def blocking_client(self, organisation_id: str = ORGANISATION, **options: Any) -> BlockingLedgerClient:
        options = {"receipt_key": self.receipt_key, **options}
        return BlockingLedgerClient(self.address, token=self.token(organisation_id), **options)

    @contextmanager
    def stub(self) -> Iterator[ledger_pb2_grpc.LedgerServiceStub]:
        """The bare service, for requests that no client of ours would send."""
        with grpc.insecure_channel(self.address) as channel:
            yield ledger_pb2_grpc.LedgerServiceStub(channel)

    def headers(self, token: str | None = None) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token() if token is None else token}"),)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
            return text

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


def make_directory(parent: Path) -> Path:
    directory = parent / os.urandom(4).hex()
    directory.mkdir()
    return directory


@contextmanager
def running_service(
    parent: Path, database: Database, issuer: Issuer, extra: Mapping[str, str] | None = None
) -> Iterator[Service]:
    service = Service(make_directory(parent), database, issuer, extra)
    try:
        yield service.start()
    finally:
        service.stop()
