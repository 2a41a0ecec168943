"""PostgreSQL, one ledger service and one client, each a process of its own, on one machine."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ledger.store.admin import add_organisation
from sandbox.database import Database, Databases
from sandbox.issuer import Issuer
from sandbox.postgres import Postgres
from sandbox.processes import LOOPBACK, Process, accepts_connections, find_program, free_port
from sandbox.services import LedgerFiles

ORGANISATION = "bench"
_ROOT = Path(__file__).parents[1]
_CLIENT_SECONDS = 600
_READY_SECONDS = 60


class Stage:
    """The running servers."""

    def __init__(self, database: Database, address: str, token: str, directory: Path) -> None:
        self.database = database
        self.address = address
        self.token = token
        self.directory = directory

    def run(self, module: str, name: str, **settings: Any) -> dict[str, Any]:
        """Run one client or floor in a process of its own and return its figures."""
        settings = {"address": self.address, "token": self.token, "dsn": self.database.admin_dsn, **settings}
        finished = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{module}", name, json.dumps(settings)],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            timeout=_CLIENT_SECONDS,
            check=True,
        )
        figures: dict[str, Any] = json.loads(finished.stdout)
        return figures

    @contextmanager
    def echo_server(self) -> Iterator[str]:
        """The address of a server that answers empty calls."""
        address = f"{LOOPBACK}:{free_port()}"
        process = Process(
            "the echo server",
            [sys.executable, "-m", "benchmarks.floors", "echo", json.dumps({"address": address})],
            log=self.directory / "echo.log",
            cwd=_ROOT,
        )
        try:
            process.wait_ready(lambda: accepts_connections(int(address.rpartition(":")[2])), seconds=_READY_SECONDS)
            yield address
        finally:
            process.stop()


@contextmanager
def running_stage(directory: Path) -> Iterator[Stage]:
    """Start everything in `directory`, and stop it at the end."""
    directory.chmod(0o711)
    postgres = Postgres(directory / "postgres")
    try:
        postgres.start()
        database = Databases(postgres).migrated("ledger")
        add_organisation(database.admin_dsn, ORGANISATION, "Benchmark")
        issuer = Issuer(directory / "issuer")
        address = f"{LOOPBACK}:{free_port()}"
        service = _start_service(directory, database, issuer, address)
        try:
            yield Stage(database, address, issuer.mint(ORGANISATION, seconds=24 * 3600), directory)
        finally:
            service.stop()
    finally:
        postgres.stop()


def _start_service(directory: Path, database: Database, issuer: Issuer, address: str) -> Process:
    files = LedgerFiles.prepare(directory)
    service = Process(
        "the ledger service",
        # The API alone, as in a deployment where relay and anchoring run elsewhere: no NATS server, no authorities.
        [find_program("indelible"), "serve", "--only", "api"],
        log=files.log,
        env=files.environment(database, issuer, address),
    )
    try:
        service.wait_ready(lambda: accepts_connections(int(address.rpartition(":")[2])), seconds=_READY_SECONDS)
    except BaseException:
        service.stop()
        raise
    return service
