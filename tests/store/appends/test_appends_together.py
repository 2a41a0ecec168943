"""Many writers, of one process and of several."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from ledger.database import connections
from ledger.errors import LedgerError, Reason
from ledger.store import LedgerStore, append
from ledger.store.values import NewEvent, Receipt
from sandbox.database import Database
from tests.store.appends.events import EVENT, OTHER, SEALED, payloads
from tests.store.conftest import open_store


async def test_writers_in_two_processes_share_a_chain_without_gaps_or_forks(
    store: LedgerStore, other_store: LedgerStore, visit: str
) -> None:
    writers = [store, other_store] * 60
    receipts = await asyncio.gather(
        *(writer.append_events("acme", visit, [EVENT] * (n % 3 + 1), f"{n}") for n, writer in enumerate(writers))
    )
    places = sorted(place for receipt in receipts for place in range(receipt.first_sequence, receipt.last_sequence + 1))
    assert places == list(range(2, 2 + len(places)))
    check = await store.check_chain("acme", visit)
    assert (check.ok, check.event_count) == (True, len(places) + 1)


async def test_groups_that_lock_the_same_chains_do_not_wait_in_a_circle(
    store: LedgerStore, other_store: LedgerStore
) -> None:
    chains = [f"chain-{n}" for n in range(8)]
    for chain_id in chains:
        await store.open_chain("acme", chain_id, b"{}")
    await asyncio.gather(
        *(store.append_events("acme", chain_id, [EVENT], f"a{n}") for n in range(10) for chain_id in chains),
        *(
            other_store.append_events("acme", chain_id, [EVENT], f"b{n}")
            for n in range(10)
            for chain_id in chains[::-1]
        ),
    )
    for chain_id in chains:
        check = await store.check_chain("acme", chain_id)
        assert (check.ok, check.event_count) == (True, 21)


async def test_only_one_of_many_writers_gets_the_sequence_they_all_expect(
    store: LedgerStore, other_store: LedgerStore, visit: str
) -> None:
    outcomes = await asyncio.gather(
        *(
            writer.append_events("acme", visit, [EVENT], f"{n}", expected_sequence=2)
            for n, writer in enumerate([store, other_store] * 5)
        ),
        return_exceptions=True,
    )
    errors = [outcome for outcome in outcomes if isinstance(outcome, LedgerError)]
    assert len(errors) == 9
    assert {error.reason for error in errors} == {Reason.SEQUENCE_MISMATCH}
    assert {error.metadata["actual_sequence"] for error in errors} == {"3"}


async def test_refused_appends_take_nothing_from_the_others_of_their_group(store: LedgerStore, visit: str) -> None:
    await store.open_chain("acme", "closed", b"{}")
    await store.close_chain("acme", "closed")
    await store.append_events("acme", visit, [EVENT], "used")
    outcomes = await asyncio.gather(
        store.append_events("acme", visit, [EVENT], "one"),
        store.append_events("acme", "closed", [EVENT], "two"),
        store.append_events("acme", visit, [EVENT], "three", expected_sequence=77),
        store.append_events("acme", visit, [OTHER], "used"),
        store.append_events("acme", visit, [SEALED], "four"),
        return_exceptions=True,
    )
    assert [outcome.reason if isinstance(outcome, LedgerError) else "" for outcome in outcomes] == [
        "",
        Reason.CHAIN_CLOSED,
        Reason.SEQUENCE_MISMATCH,
        Reason.IDEMPOTENCY_CONFLICT,
        "",
    ]
    assert len(await payloads(store, visit)) == 3
    assert (await store.check_chain("acme", visit)).ok


async def test_an_append_that_the_database_refuses_fails_alone(
    store: LedgerStore, visit: str, database: Database
) -> None:
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("ALTER TABLE indelible.events ADD CHECK (payload NOT LIKE '%poison%')")
    poison = NewEvent(kind="a.b", payload=b'{"poison":1}')
    outcomes = await asyncio.gather(
        *(store.append_events("acme", visit, [poison if n == 3 else EVENT], f"{n}") for n in range(8)),
        return_exceptions=True,
    )
    assert [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, Receipt)] == [3]
    assert getattr(outcomes[3], "reason", None) == Reason.INTERNAL
    check = await store.check_chain("acme", visit)
    assert (check.ok, check.event_count) == (True, 8)


@pytest.fixture
async def impatient_store(
    database: Database, store: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LedgerStore]:
    monkeypatch.setitem(connections._SETTINGS, "lock_timeout", "1s")
    store = await open_store(database)
    yield store
    await store.close()


async def test_a_chain_that_another_process_holds_does_not_hold_up_other_chains(
    impatient_store: LedgerStore, store: LedgerStore, visit: str, database: Database
) -> None:
    other, _ = await store.open_chain("acme", "other", b"{}")
    with psycopg.connect(database.append_dsn) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", (other.chain_key,))
        outcomes = await asyncio.gather(
            *(
                impatient_store.append_events("acme", chain_id, [EVENT], f"{n}")
                for n in range(3)
                for chain_id in (visit, "other")
            ),
            return_exceptions=True,
        )
    assert all(isinstance(outcome, Receipt) for outcome in outcomes[0::2])
    assert {getattr(outcome, "reason", None) for outcome in outcomes[1::2]} == {Reason.OVERLOADED}
    assert not (await impatient_store.append_events("acme", "other", [EVENT], "0")).replayed


async def test_a_cancelled_caller_does_not_disturb_its_group(store: LedgerStore, visit: str) -> None:
    tasks = [asyncio.create_task(store.append_events("acme", visit, [EVENT], f"{n}")) for n in range(20)]
    for turns in range(10):
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[turns].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, Receipt) for outcome in outcomes[10:])
    # Whatever became of a cancelled append, repeating it gives one event in the end.
    for n in range(20):
        await store.append_events("acme", visit, [EVENT], f"{n}")
    check = await store.check_chain("acme", visit)
    assert (check.ok, check.event_count) == (True, 21)


async def test_a_full_queue_is_said_at_once(store: LedgerStore, visit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append, "MAX_WAITING_APPENDS", 5)
    outcomes = await asyncio.gather(
        *(store.append_events("acme", visit, [EVENT], f"{n}") for n in range(20)), return_exceptions=True
    )
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    assert 5 <= len(accepted) < 20
    assert {getattr(o, "reason", Reason.OVERLOADED) for o in outcomes} == {Reason.OVERLOADED}
    assert (await store.get_chain("acme", visit)).event_count == len(accepted) + 1
