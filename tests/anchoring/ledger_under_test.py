"""A real store on a real database with authorities to anchor at, and what the tests ask of them."""

import asyncio
import contextlib
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from ledger.anchoring.authorities import load_authorities
from ledger.anchoring.metrics import AnchoringMetrics
from ledger.anchoring.port import BackendSource
from ledger.anchoring.worker import AnchoringWorker
from ledger.chain.receipt import ReceiptSigner
from ledger.store import LedgerStore
from ledger.store.admin import add_organisation
from ledger.store.values import AnchorStatus, AnchorTarget, NewEvent
from sandbox.authorities import Authorities
from sandbox.database import Database

# Longer than the worker waits for a database that is away, on a machine that is busy with other things.
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The store, and the database's own door for what no role of the product may do."""

    store: LedgerStore
    database: Database
    organisation: str

    async def closed_session(self, chain_id: str, events: int = 2) -> None:
        await self.store.open_chain(self.organisation, chain_id, b"{}")
        new = [NewEvent(kind="door.opened", payload=b'{"door":1}') for _ in range(events)]
        await self.store.append_events(self.organisation, chain_id, new, "first")
        await self.store.close_chain(self.organisation, chain_id)

    async def anchors(self, chain_id: str) -> dict[str, AnchorStatus]:
        listed = await self.store.list_anchors(self.organisation, chain_id, limit=100, after=None)
        return {status.authority: status for status in listed}

    async def wait_for(self, chain_id: str, authority: str, *, state: str) -> AnchorStatus:
        """The anchor's status once it is in `state`."""
        return await self._wait(chain_id, authority, lambda status: status.state == state)

    async def wait_for_failure(self, chain_id: str, authority: str) -> AnchorStatus:
        """The anchor's status once an attempt has failed."""
        return await self._wait(chain_id, authority, lambda status: status.last_error != "")

    async def _wait(self, chain_id: str, authority: str, arrived: Callable[[AnchorStatus], bool]) -> AnchorStatus:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                status = (await self.anchors(chain_id))[authority]
                if arrived(status):
                    return status
                await asyncio.sleep(0.05)

    async def sql(self, statement: str, *parameters: object) -> Sequence[tuple[object, ...]]:
        async with await psycopg.AsyncConnection.connect(self.database.admin_dsn, autocommit=True) as connection:
            cursor = await connection.execute(statement.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def let_retries_come_due(self) -> None:
        """As if the pauses before next attempts, and all leases, had passed."""
        await self.sql("UPDATE indelible.anchor_jobs SET next_attempt_at = now(), leased_until = now()")

    async def sever(self) -> None:
        """End every connection to the database and accept no new one."""
        await self._on_the_server(
            f"ALTER DATABASE {self.database.name} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.database.name}'",
        )

    async def reconnect(self) -> None:
        """Accept connections again."""
        await self._on_the_server(f"ALTER DATABASE {self.database.name} ALLOW_CONNECTIONS true")

    async def _on_the_server(self, *statements: str) -> None:
        dsn = psycopg.conninfo.make_conninfo(self.database.admin_dsn, dbname="postgres")
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            for statement in statements:
                await connection.execute(statement.encode())


@contextlib.asynccontextmanager
async def open_ledger(
    database: Database, targets: Sequence[AnchorTarget], *, organisation: str = ""
) -> AsyncIterator[Ledger]:
    """A ledger that anchors at `targets`, with an organisation of its own and no job left behind in the end.

    With `organisation`, one that is there already, and the jobs stay.
    """
    kept = organisation != ""
    organisation = organisation or f"acme-{secrets.token_hex(4)}"
    await asyncio.to_thread(add_organisation, database.admin_dsn, organisation, "Acme Security")
    store = await LedgerStore.open(
        runtime_dsn=database.runtime_dsn,
        append_dsn=database.append_dsn,
        worker_dsn=database.worker_dsn,
        signer=ReceiptSigner(key=Ed25519PrivateKey.generate(), name="ledger.test"),
        anchor_targets=targets,
    )
    ledger = Ledger(store=store, database=database, organisation=organisation)
    try:
        yield ledger
    finally:
        await store.close()
        if not kept:
            await ledger.sql("DELETE FROM indelible.anchor_jobs")


def write_authorities(authorities: Authorities, path: Path, *, timeout_seconds: int = 5) -> Path:
    """An authorities file for both, where one that is slow on purpose is given up long before it answers."""
    timeout = f"timeout_seconds = {timeout_seconds}\n"
    path.write_text("\n".join(f"{authority.configuration()}{timeout}" for authority in authorities))
    return path


def targets_of(path: Path) -> Sequence[AnchorTarget]:
    return load_authorities(path).targets


@contextlib.asynccontextmanager
async def working(store: LedgerStore, source: BackendSource) -> AsyncIterator[CollectorRegistry]:
    """A worker that works until the block ends."""
    registry = CollectorRegistry()
    stop = asyncio.Event()
    worker = asyncio.create_task(AnchoringWorker(store, source, metrics=AnchoringMetrics(registry)).run(stop))
    try:
        yield registry
    finally:
        stop.set()
        await worker


async def start_worker(
    ledger: Ledger, path: Path, *options: str, output: int | IO[bytes]
) -> asyncio.subprocess.Process:
    """A worker in a process of its own, to be killed."""
    database = ledger.database
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.anchoring.worker_process", str(path)),
        *(database.runtime_dsn, database.append_dsn, database.worker_dsn, *options),
        stdout=output,
        stderr=None if output == asyncio.subprocess.PIPE else output,
        cwd=Path(__file__).parents[2],
    )
