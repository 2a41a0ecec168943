"""The gateway and its worker in the sandbox, and the keys they sign with."""

import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from gateway.auth.signing import make_key, public_set, read_keys, write_keys
from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.processes import LOOPBACK, Process, find_program
from sandbox.services import READY_SECONDS, Ports, answers

GATEWAY_ISSUER = "https://gateway.sandbox.invalid"  # a name, never an address: nothing is fetched from it
_STOP_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayFiles:
    """The gateway's signing keys, their public halves for the services behind it, and the keys of webhook secrets."""

    keys: Path
    jwks: Path
    webhook_keys: Path

    @classmethod
    def prepare(cls, directory: Path) -> "GatewayFiles":
        """Make the keys that `directory` does not hold yet."""
        folder = directory / "keys"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = cls(
            keys=folder / "gateway.json",
            jwks=folder / "gateway-jwks.json",
            webhook_keys=folder / "gateway-webhooks.keys",
        )
        if not files.keys.exists():
            write_keys(files.keys, [make_key()])
        if not files.webhook_keys.exists():
            files.webhook_keys.touch(mode=0o600)
            files.webhook_keys.write_text(f"{Fernet.generate_key().decode()}\n")
        files.jwks.write_text(json.dumps(public_set(read_keys(files.keys))))
        return files

    def trust(self) -> dict[str, str]:
        """What the ledger and the evidence service are told, so that they believe the gateway."""
        return {"INDELIBLE_GATEWAY_ISSUER": GATEWAY_ISSUER, "INDELIBLE_GATEWAY_JWKS": str(self.jwks)}


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayNeighbours:
    """Whom the gateway works with."""

    database: Database
    issuer: Issuer
    ledger_address: str
    evidence_address: str

    def environment(self, files: GatewayFiles) -> dict[str, str]:
        """What neither the gateway nor its worker can do without."""
        return {
            "INDELIBLE_GATEWAY_DSN": self.database.gateway_dsn,
            "INDELIBLE_GATEWAY_WORKER_DSN": self.database.gateway_worker_dsn,
            "INDELIBLE_GATEWAY_ISSUER": GATEWAY_ISSUER,
            "INDELIBLE_GATEWAY_KEYS": str(files.keys),
            "INDELIBLE_GATEWAY_WEBHOOK_KEYS": str(files.webhook_keys),
            # In the sandbox, receivers are on this machine.
            "INDELIBLE_GATEWAY_WEBHOOK_NETWORKS": "127.0.0.0/8",
            "INDELIBLE_TOKEN_ISSUER": self.issuer.issuer,
            "INDELIBLE_TOKEN_AUDIENCE": self.issuer.audience,
            "INDELIBLE_TOKEN_JWKS": str(self.issuer.jwks_file),
            "INDELIBLE_LEDGER": self.ledger_address,
            "INDELIBLE_EVIDENCE": self.evidence_address,
        }


def start_gateway(directory: Path, files: GatewayFiles, neighbours: GatewayNeighbours, ports: Ports) -> Process:
    """Run `indelible gateway` for integrators and verify links, and wait until it answers. Raises StartError."""
    process = Process(
        "the gateway",
        [find_program("indelible"), "gateway", "--listen", f"{LOOPBACK}:{ports.gateway}"],
        log=directory / "logs" / "gateway.log",
        env=neighbours.environment(files),
        stop_seconds=_STOP_SECONDS,
    )
    process.wait_ready(lambda: answers(ports.gateway), seconds=READY_SECONDS)
    return process


def start_gateway_worker(directory: Path, files: GatewayFiles, neighbours: GatewayNeighbours, ports: Ports) -> Process:
    """Run `indelible gateway worker` and wait until it tells how it is. Raises StartError."""
    process = Process(
        "the gateway's worker",
        [find_program("indelible"), "gateway", "worker"],
        log=directory / "logs" / "gateway-worker.log",
        env={
            **neighbours.environment(files),
            "INDELIBLE_GATEWAY_METRICS_LISTEN": f"{LOOPBACK}:{ports.gateway_worker_metrics}",
        },
        stop_seconds=_STOP_SECONDS,
    )
    process.wait_ready(lambda: answers(ports.gateway_worker_metrics, "/metrics"), seconds=READY_SECONDS)
    return process
