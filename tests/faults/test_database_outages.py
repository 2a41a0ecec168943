"""Connections are cut and PostgreSQL is restarted while everything is going on; then the whole store is checked."""

import asyncio
import io
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from ledger.anchoring.authorities import Authorities as Backends
from ledger.anchoring.authorities import load_authorities
from ledger.anchoring.metrics import AnchoringMetrics
from ledger.anchoring.rfc3161.configuration import DEFAULT_TIMEOUT_SECONDS
from ledger.anchoring.rfc3161.evidence import BUDGET_SECONDS
from ledger.anchoring.worker import LEASE_MARGIN_SECONDS, AnchoringWorker
from ledger.bundle import write_bundle
from ledger.errors import LedgerError, Reason
from ledger.store import LedgerStore
from ledger.store.values import NewEvent, Receipt
from sandbox.authorities import Authorities
from sandbox.database import Database, Databases
from sandbox.postgres import Postgres
from tests.bundle.opened import Ledger, open_ledger
from verifier.policy import load_policy
from verifier.verify import verify_bundle

T = TypeVar("T")

CHAINS = 4
STRIKES = 8
RECOVERY_SECONDS = 120.0
# The longest that asking one authority for one anchor, with the evidence about it, may take.
ATTEMPT_SECONDS = DEFAULT_TIMEOUT_SECONDS + BUDGET_SECONDS + 10


@pytest.fixture
def backends(authorities: Authorities, tmp_path: Path) -> Backends:
    authorities.write_configuration(tmp_path / "authorities.toml")
    return load_authorities(tmp_path / "authorities.toml")


@pytest.fixture
async def ledger(database: Database, backends: Backends) -> AsyncIterator[Ledger]:
    async with open_ledger(database, backends.targets) as ledger:
        yield ledger


async def stubbornly(store: LedgerStore, chain_id: str, key: str) -> Receipt:
    """Append as a client does: again with the same key for as long as the database cannot be reached."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        while True:
            try:
                return await store.append_events(
                    "acme", chain_id, [NewEvent(kind="step.taken", payload=f'{{"key":"{key}"}}'.encode())], key
                )
            except LedgerError as error:
                if error.reason not in {Reason.DATABASE_UNAVAILABLE, Reason.OVERLOADED}:
                    raise
                await asyncio.sleep(0.05)


async def until_it_works(action: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(RECOVERY_SECONDS):
        while True:
            try:
                return await action()
            except LedgerError as error:
                if error.reason not in {Reason.DATABASE_UNAVAILABLE, Reason.OVERLOADED}:
                    raise
                await asyncio.sleep(0.05)


class Saboteur:
    """Ends connections of every role at random moments."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.strikes = 0

    async def run(self, strikes: int) -> None:
        async with await psycopg.AsyncConnection.connect(self._database.admin_dsn, autocommit=True) as administrator:
            while self.strikes < strikes:
                await asyncio.sleep(random.uniform(0.1, 0.6))
                await administrator.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s AND usename LIKE 'indelible%%' AND random() < 0.5",
                    (self._database.name,),
                )
                self.strikes += 1


@pytest.mark.timeout(900)  # for all of these limits together
async def test_cut_connections_lose_nothing_and_double_nothing(
    ledger: Ledger, backends: Backends, authorities: Authorities, tmp_path: Path
) -> None:
    store = ledger.store
    names = [f"chain-{number}" for number in range(CHAINS)]
    for name in names:
        await store.open_chain("acme", name, b"{}")
    stop_worker = asyncio.Event()
    worker = AnchoringWorker(store, backends, metrics=AnchoringMetrics(CollectorRegistry()))
    working = asyncio.create_task(worker.run(stop_worker))
    saboteur = Saboteur(ledger.database)
    sabotage = asyncio.create_task(saboteur.run(STRIKES))

    async def live(name: str) -> list[Receipt]:
        receipts: list[Receipt] = []
        while saboteur.strikes < STRIKES - 2:
            receipts.append(await stubbornly(store, name, f"{name} {len(receipts)}"))
        await until_it_works(lambda: store.checkpoint_chain("acme", name))
        await until_it_works(lambda: store.close_chain("acme", name))
        return receipts

    acknowledged = dict(zip(names, await asyncio.gather(*map(live, names)), strict=True))
    await sabotage
    # A job that was leased by a transaction whose answer was cut off is nobody's until the lease ends.
    async with asyncio.timeout(ATTEMPT_SECONDS + LEASE_MARGIN_SECONDS + RECOVERY_SECONDS):
        while await store.pending_anchor_counts():  # noqa: ASYNC110 - the worker has no event to wait for
            await asyncio.sleep(0.1)
    stop_worker.set()
    await working

    authorities.write_trust_policy(tmp_path / "trust.toml")
    for name, receipts in acknowledged.items():
        check = await store.check_chain("acme", name)
        assert check.ok, check.divergence
        events = [e async for batch in store.stream_events("acme", name, from_sequence=1, follow=False) for e in batch]
        stored = {event.sequence: event.hash for event in events}
        for receipt in receipts:
            assert stored[receipt.last_sequence] == receipt.event_hashes[-1], "an acknowledged event is not there"
        assert Counter(event.kind for event in events) == {
            "chain.opened": 1,
            "step.taken": len(receipts),
            "chain.checkpointed": 1,
            "chain.closed": 1,
        }
        target = io.BytesIO()
        await write_bundle(store, "acme", name, include_disclosures=False, target=target)
        report = verify_bundle(target, policy=load_policy(tmp_path / "trust.toml"), workers=1)
        assert report.verdict == "VERIFIED", report
        assert len(report.tokens) == 4
        assert all(token.ok for token in report.tokens)
    assert (await store.check_chain("acme", "operations")).ok
    noted = await store.list_events("acme", "operations", from_sequence=1, limit=1_000)
    kinds = Counter(event.kind for event in noted)
    assert kinds["ledger.chain_opened"] == kinds["ledger.chain_closed"] == CHAINS
    assert kinds["ledger.anchor_obtained"] == 4 * CHAINS
    published = await store.read_outbox(100_000)
    queued = {(entry.chain_id, n) for entry in published for n in range(entry.first_sequence, entry.last_sequence + 1)}
    total = sum([(await store.get_chain("acme", name)).event_count for name in [*names, "operations"]])
    assert len(queued) == total, "every committed event waits to be published"


async def test_a_follower_who_comes_back_after_an_outage_misses_nothing(ledger: Ledger) -> None:
    store = ledger.store
    await store.open_chain("acme", "gate", b"{}")
    seen: list[int] = []

    async def follow() -> None:
        while True:
            try:
                stream = store.stream_events("acme", "gate", from_sequence=len(seen) + 1, follow=True)
                async with aclosing(stream):
                    async for batch in stream:
                        seen.extend(event.sequence for event in batch)
            except LedgerError as error:
                if error.reason is not Reason.DATABASE_UNAVAILABLE:
                    raise
                await asyncio.sleep(0.05)
            else:
                return

    following = asyncio.create_task(follow())
    saboteur = Saboteur(ledger.database)
    sabotage = asyncio.create_task(saboteur.run(STRIKES))
    appended = 0
    while saboteur.strikes < STRIKES:
        await stubbornly(store, "gate", str(appended))
        appended += 1
    await sabotage
    await until_it_works(lambda: store.close_chain("acme", "gate"))
    await asyncio.wait_for(following, RECOVERY_SECONDS)
    assert seen == list(range(1, appended + 3))


async def test_every_read_says_that_the_database_is_away_and_works_again_by_itself(own_postgres: Postgres) -> None:
    database = await asyncio.to_thread(Databases(own_postgres).migrated, "outage")
    async with open_ledger(database, []) as ledger:
        store = ledger.store
        await store.open_chain("acme", "gate", b"{}")
        before = io.BytesIO()
        await write_bundle(store, "acme", "gate", include_disclosures=True, target=before)
        await asyncio.to_thread(own_postgres.stop)
        reads: dict[str, Callable[[], Awaitable[object]]] = {
            "get_chain": lambda: store.get_chain("acme", "gate"),
            "list_chains": lambda: store.list_chains("acme", limit=1, after=None, state=None),
            "list_events": lambda: store.list_events("acme", "gate", from_sequence=1, limit=1),
            "list_anchors": lambda: store.list_anchors("acme", "gate", limit=1, after=None),
            "list_disclosures": lambda: store.list_disclosures("acme", "gate"),
            "find_verify_link": lambda: store.find_verify_link("acme", "6f1c1f0e-8a35-4f7e-9a55-2f9f8d1c7b11"),
            "check_chain": lambda: store.check_chain("acme", "gate"),
            "oldest_unanchored": store.oldest_unanchored,
            "read_outbox": lambda: store.read_outbox(1),
            "write_bundle": lambda: write_bundle(store, "acme", "gate", include_disclosures=False, target=io.BytesIO()),
        }
        outcomes = await asyncio.gather(*(read() for read in reads.values()), return_exceptions=True)
        for name, outcome in zip(reads, outcomes, strict=True):
            assert isinstance(outcome, LedgerError), f"{name}: {outcome!r}"
            assert outcome.reason is Reason.DATABASE_UNAVAILABLE, name
        await asyncio.to_thread(own_postgres.start)
        assert (await until_it_works(lambda: store.get_chain("acme", "gate"))).event_count == 1

        async def export() -> bytes:
            after = io.BytesIO()
            await write_bundle(store, "acme", "gate", include_disclosures=True, target=after)
            return after.getvalue()

        assert await until_it_works(export) == before.getvalue()


async def test_the_first_read_after_a_restart_of_postgresql_succeeds_at_once(own_postgres: Postgres) -> None:
    database = await asyncio.to_thread(Databases(own_postgres).migrated, "restart")
    async with open_ledger(database, []) as ledger:
        store = ledger.store
        await store.open_chain("acme", "gate", b"{}")
        # Leaves as many idle connections behind as the pool keeps; the restart kills them all.
        await asyncio.gather(*(store.get_chain("acme", "gate") for _ in range(40)))
        await asyncio.to_thread(own_postgres.stop)
        await asyncio.to_thread(own_postgres.start)
        async with asyncio.timeout(RECOVERY_SECONDS):
            assert (await store.get_chain("acme", "gate")).event_count == 1
