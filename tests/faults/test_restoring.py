"""Backups as the operator's guide has them, restored on another server: nothing is missing, and the ledger goes on."""

import asyncio
import contextlib
import itertools
import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.chain.event import Event
from ledger.errors import LedgerError, Reason
from ledger.store import LedgerStore
from ledger.store.values import Chain, NewEvent, VerifyLink
from sandbox.database import Database, Databases
from sandbox.postgres import Postgres, _installation
from tests.store.conftest import TARGETS, open_store, register

SEALED = NewEvent(kind="person.seen", payload=b'{"name":"Ann","door":1}', sealed_members=("name",))


@pytest.fixture
def other_server(sandbox_directory: Path) -> Iterator[Postgres]:
    """A server that has not been started: where a backup is restored."""
    directory = Path(tempfile.mkdtemp(dir=sandbox_directory, prefix="restored-"))
    directory.chmod(0o711)
    server = Postgres(directory / "postgres")
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def run(program: str, *arguments: str | Path) -> None:
    subprocess.run(
        [_installation() / "bin" / program, *arguments], check=True, capture_output=True, timeout=120, cwd="/"
    )


@contextlib.asynccontextmanager
async def opened(database: Database) -> AsyncIterator[LedgerStore]:
    store = await open_store(database)
    try:
        yield store
    finally:
        await store.close()


async def fill(store: LedgerStore) -> VerifyLink:
    """Something of everything: sealed members, an anchor with a job still waiting, a closed chain, a link."""
    await store.open_chain("acme", "visit", b'{"case":7}')
    await store.append_events("acme", "visit", [SEALED] * 3, "first")
    await store.open_chain("acme", "closed", b"{}")
    await store.close_chain("acme", "closed")
    (job,) = await store.lease_anchor_jobs(owner="w", lease=timedelta(minutes=1), limit=1, authorities=TARGETS[:1])
    now = datetime.now(UTC)
    await store.complete_anchor_job(job, request=b"asked", response=b"answer", anchored_at=now, evidence=[])
    return await store.create_verify_link("acme", "visit", now + timedelta(days=1), "ann")


async def record(store: LedgerStore) -> list[tuple[Chain, list[Event]]]:
    chains = await store.list_chains("acme", limit=100, after=None, state=None)
    return [(chain, await store.list_events("acme", chain.chain_id, from_sequence=1, limit=1_000)) for chain in chains]


async def assert_it_goes_on(store: LedgerStore) -> None:
    for chain, _ in await record(store):
        assert (await store.check_chain("acme", chain.chain_id)).ok
    again = await store.append_events("acme", "visit", [SEALED] * 3, "first")
    assert again.replayed, "an idempotency key is honoured after a restore, too"
    with pytest.raises(LedgerError) as refused:
        await store.append_events("acme", "closed", [NewEvent(kind="a.b", payload=b"{}")], "late")
    assert refused.value.reason == Reason.CHAIN_CLOSED
    receipt = await store.append_events("acme", "visit", [NewEvent(kind="a.b", payload=b"{}")], "after the restore")
    assert not receipt.replayed
    await store.open_chain("acme", "new", b"{}")
    await store.close_chain("acme", "visit")
    assert (await store.check_chain("acme", "operations")).ok
    waiting = await store.lease_anchor_jobs(owner="w", lease=timedelta(minutes=1), limit=9, authorities=TARGETS)
    assert {job.chain_id for job in waiting} >= {"closed", "visit"}


async def test_a_dump_is_restored_with_everything_that_guards_it(
    own_postgres: Postgres, other_server: Postgres, tmp_path: Path
) -> None:
    database = Databases(own_postgres).migrated("ledger")
    register(database)
    async with opened(database) as store:
        link = await fill(store)
        before, disclosures = await record(store), await store.list_disclosures("acme", "visit")
    run("pg_dumpall", "--roles-only", "--no-role-passwords", "-d", database.admin_dsn, "-f", tmp_path / "roles.sql")
    run("pg_dump", "-Fc", "-d", database.admin_dsn, "-f", tmp_path / "ledger.dump")

    other_server.start()
    run("psql", "-d", other_server.dsn(), "-f", tmp_path / "roles.sql")
    run("psql", "-d", other_server.dsn(), "-c", "CREATE DATABASE ledger")
    run("pg_restore", "--exit-on-error", "-d", other_server.dsn("ledger"), tmp_path / "ledger.dump")
    restored = Databases(other_server).migrated("ledger")
    async with opened(restored) as store:
        assert await record(store) == before
        assert await store.list_disclosures("acme", "visit") == disclosures
        assert await store.find_verify_link("acme", link.link_id) == link
        await assert_it_goes_on(store)


async def test_a_base_backup_made_under_load_has_everything_acknowledged_before_it(
    own_postgres: Postgres, other_server: Postgres
) -> None:
    database = Databases(own_postgres).migrated("ledger")
    register(database)
    async with opened(database) as store:
        await fill(store)
        acknowledged: list[int] = []

        async def append() -> None:
            for number in itertools.count():
                event = NewEvent(kind="step.taken", payload=json.dumps({"number": number}).encode())
                acknowledged.append((await store.append_events("acme", "visit", [event], f"{number}")).last_sequence)

        load = asyncio.create_task(append())
        while len(acknowledged) < 20:  # noqa: ASYNC110 - each append is an event of its own
            await asyncio.sleep(0.01)
        before = acknowledged[-1]
        await asyncio.to_thread(take_base_backup, own_postgres, other_server)
        assert not load.done(), "the backup was made under load"
        load.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await load
        original = {chain.chain_id: events for chain, events in await record(store)}

    other_server.start()
    async with opened(Databases(other_server).migrated("ledger")) as store:
        events = await store.list_events("acme", "visit", from_sequence=1, limit=1_000)
        assert len(events) >= before
        assert events == original["visit"][: len(events)], "what is there is what was recorded"
        await assert_it_goes_on(store)


def take_base_backup(server: Postgres, target: Postgres) -> None:
    target.directory.mkdir()
    data = target.directory / "data"
    run("pg_basebackup", "-d", server.dsn(), "-D", data, "-X", "stream", "--checkpoint=fast")
    shutil.copy(server.directory / "superuser-password", target.directory)
    shutil.copy(server.directory.parent / "role-passwords.json", target.directory.parent)
    if os.geteuid() == 0:
        account = pwd.getpwnam("nobody")
        for path in (target.directory, *target.directory.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
