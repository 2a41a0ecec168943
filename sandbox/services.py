"""The product's own services as child processes, configured as an operator would: by environment and command line."""

import base64
import http.client
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.processes import LOOPBACK, Process, StartError, accepts_connections, find_program, free_port

RECEIPT_KEY_NAME = "ledger.sandbox.invalid"
READY_SECONDS = 60.0
_PROBE_SECONDS = 2.0
# What is under way when a service is told to stop may take this long to finish.
_DRAIN_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """Where the services listen; free ports unless named."""

    ledger: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)
    gateway: int = field(default_factory=free_port)
    page: int = field(default_factory=free_port)
    evidence: int = field(default_factory=free_port)
    evidence_metrics: int = field(default_factory=free_port)
    worker_metrics: int = field(default_factory=free_port)
    gateway_worker_metrics: int = field(default_factory=free_port)

    def require_free(self) -> None:
        """Raises StartError when something listens on one of them already, or two are the same."""
        names = ("ledger", "metrics", "gateway", "page", "evidence")
        for number, name in enumerate(names):
            port = getattr(self, name)
            if port in (getattr(self, other) for other in names[:number]):
                raise StartError(f"port {port} is wanted twice; choose another one with --{name}-port")
            if accepts_connections(port):
                raise StartError(f"port {port} is taken by another program; choose another one with --{name}-port")


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerFiles:
    """What a ledger service reads at its start, in one directory."""

    receipt_key: Path
    link_keys: Path
    authorities: Path
    log: Path

    @classmethod
    def prepare(cls, directory: Path) -> "LedgerFiles":
        """Make the keys that `directory` does not hold yet."""
        keys = directory / "keys"
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = cls(
            receipt_key=keys / "receipt.pem",
            link_keys=keys / "links.toml",
            authorities=directory / "authorities.toml",
            log=directory / "logs" / "ledger.log",
        )
        if not files.receipt_key.exists():
            key = Ed25519PrivateKey.generate()
            files.receipt_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        if not files.link_keys.exists():
            secret = base64.b64encode(secrets.token_bytes(32)).decode()
            files.link_keys.write_text(f'current = "sandbox"\n\n[keys]\nsandbox = "{secret}"\n')
        return files

    def environment(self, database: Database, issuer: Issuer, address: str) -> dict[str, str]:
        """What no ledger service can do without."""
        return {
            "INDELIBLE_RUNTIME_DSN": database.runtime_dsn,
            "INDELIBLE_APPEND_DSN": database.append_dsn,
            "INDELIBLE_WORKER_DSN": database.worker_dsn,
            "INDELIBLE_LISTEN": address,
            "INDELIBLE_TOKEN_ISSUER": issuer.issuer,
            "INDELIBLE_TOKEN_AUDIENCE": issuer.audience,
            "INDELIBLE_TOKEN_JWKS": str(issuer.jwks_file),
            "INDELIBLE_RECEIPT_KEY": str(self.receipt_key),
            "INDELIBLE_RECEIPT_KEY_NAME": RECEIPT_KEY_NAME,
            "INDELIBLE_LINK_KEYS": str(self.link_keys),
        }


def start_ledger(  # noqa: PLR0913 - what it works with
    files: LedgerFiles, database: Database, issuer: Issuer, nats_url: str, ports: Ports, *, trust: Mapping[str, str]
) -> Process:
    """Run `indelible serve`, which is to `trust` a gateway, and wait until it says it is healthy. Raises StartError."""
    address = f"{LOOPBACK}:{ports.ledger}"
    process = Process(
        "the ledger service",
        [find_program("indelible"), "serve"],
        log=files.log,
        env={
            **files.environment(database, issuer, address),
            **trust,
            "INDELIBLE_AUTHORITIES": str(files.authorities),
            "INDELIBLE_PUBLIC_URL": f"http://{LOOPBACK}:{ports.page}",
            "INDELIBLE_NATS_URL": nats_url,
            "INDELIBLE_METRICS_LISTEN": f"{LOOPBACK}:{ports.metrics}",
        },
        stop_seconds=_DRAIN_SECONDS,
    )
    process.wait_ready(lambda: is_healthy(address), seconds=READY_SECONDS)
    return process


def start_page(directory: Path, trust_policy: Path, ports: Ports) -> Process:
    """Run `indelible-verify serve` against the gateway and wait until it answers. Raises StartError."""
    process = Process(
        "the verify page",
        [
            *(find_program("indelible-verify"), "serve"),
            *("--gateway", f"http://{LOOPBACK}:{ports.gateway}", "--trust", trust_policy),
            *("--host", LOOPBACK, "--port", str(ports.page)),
        ],
        log=directory / "logs" / "page.log",
    )
    process.wait_ready(lambda: answers(ports.page), seconds=READY_SECONDS)
    return process


def is_healthy(address: str) -> bool:
    """Whether the gRPC service there says that it serves."""
    # A channel to a port where nobody listens yet costs much more than this question, and waits a second to ask again.
    if not accepts_connections(int(address.rpartition(":")[2])):
        return False
    with grpc.insecure_channel(address) as channel:
        try:
            check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # its type stubs omit it
            answer = check(health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS, wait_for_ready=True)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def answers(port: int, path: str = "/healthz") -> bool:
    """Whether an HTTP server answers there."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
