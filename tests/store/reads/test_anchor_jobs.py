import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ledger.store import LedgerStore
from ledger.store.values import AnchorJob, AnchorTarget, Evidence, NewEvent
from sandbox.database import Database

ONE = AnchorTarget(backend="rfc3161", authority="one")
TWO = AnchorTarget(backend="rfc3161", authority="two")
MINUTE = timedelta(minutes=1)
ANCHORED_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


async def closed_chain(store: LedgerStore, chain_id: str = "gate") -> bytes:
    await store.open_chain("acme", chain_id, b"{}")
    chain, _ = await store.close_chain("acme", chain_id)
    return chain.head


async def lease(store: LedgerStore, *, owner: str = "worker", limit: int = 10) -> list[AnchorJob]:
    return await store.lease_anchor_jobs(owner=owner, lease=MINUTE, limit=limit, authorities=[ONE, TWO])


async def complete(store: LedgerStore, job: AnchorJob, response: bytes = b"token") -> bool:
    return await store.complete_anchor_job(
        job,
        request=b"question",
        response=response,
        anchored_at=ANCHORED_AT,
        evidence=[Evidence(kind="certificate", der=b"certificate"), Evidence(kind="crl", der=b"list")],
    )


async def test_closing_a_chain_asks_every_authority_for_its_head(store: LedgerStore) -> None:
    head = await closed_chain(store)
    jobs = await lease(store)
    assert {(job.authority, job.digest, job.chain_id, job.attempts) for job in jobs} == {
        ("one", head, "gate", 1),
        ("two", head, "gate", 1),
    }


async def test_a_leased_job_is_given_to_nobody_else(store: LedgerStore, other_store: LedgerStore) -> None:
    for number in range(10):
        await closed_chain(store, f"gate-{number}")
    batches = await asyncio.gather(
        *(lease(worker, owner=str(n), limit=4) for n, worker in enumerate([store, other_store] * 4))
    )
    leased = [(job.chain_key, job.authority) for batch in batches for job in batch]
    assert len(leased) == len(set(leased)) == 20


async def test_a_worker_that_died_loses_its_lease_with_time(store: LedgerStore, database: Database) -> None:
    await closed_chain(store)
    short = await lease(store, owner="dead")
    assert await lease(store) == []
    with psycopg.connect(database.admin_dsn) as connection:
        # The minute has passed.
        connection.execute("UPDATE indelible.anchor_jobs SET leased_until = leased_until - %s", (MINUTE,))
    again = await lease(store, owner="alive")
    assert len(again) == len(short) == 2
    assert {(job.attempts, job.lease_owner) for job in again} == {(2, "alive")}


async def test_only_jobs_of_the_named_authorities_are_given(store: LedgerStore) -> None:
    await closed_chain(store)
    jobs = await store.lease_anchor_jobs(owner="worker", lease=MINUTE, limit=10, authorities=[TWO])
    assert [job.authority for job in jobs] == ["two"]
    assert await store.lease_anchor_jobs(owner="worker", lease=MINUTE, limit=10, authorities=[]) == []


async def test_a_failed_job_waits_for_its_next_attempt_and_says_why(store: LedgerStore) -> None:
    await closed_chain(store)
    job = next(job for job in await lease(store) if job.authority == "one")
    later = datetime.now(UTC) + timedelta(hours=1)
    await store.fail_anchor_job(job, error="refused\x00 " + "x" * 10_000, next_attempt_at=later, state={"step": 2})
    assert await lease(store) == []
    status = (await store.list_anchors("acme", "gate", limit=10, after=None))[0]
    assert (status.authority, status.state, status.attempts) == ("one", "pending", 1)
    assert status.last_error.startswith("refused x")
    assert len(status.last_error) <= 500
    assert status.next_attempt_at == later
    await store.fail_anchor_job(job, error="late", next_attempt_at=datetime.now(UTC))
    unchanged = (await store.list_anchors("acme", "gate", limit=10, after=None))[0]
    assert unchanged.next_attempt_at == later, "a job that was given back is no longer the old holder's to move"


async def test_a_backends_own_progress_comes_back_with_the_job(store: LedgerStore) -> None:
    await closed_chain(store)
    job = (await lease(store, limit=1))[0]
    await store.fail_anchor_job(job, error="wait", next_attempt_at=datetime.now(UTC), state={"operation": "oo1"})
    again = next(found for found in await lease(store) if found.authority == job.authority)
    assert again.state == {"operation": "oo1"}


async def test_an_obtained_anchor_is_stored_with_its_evidence_and_noted(store: LedgerStore) -> None:
    head = await closed_chain(store)
    job = (await lease(store, limit=1))[0]
    assert await complete(store, job)
    stored = await store.stored_anchors("acme", "gate")
    assert [(anchor.digest, anchor.request, anchor.response) for anchor in stored] == [(head, b"question", b"token")]
    assert [item.kind for item in stored[0].evidence] == ["certificate", "crl"]
    assert stored[0].anchored_at == ANCHORED_AT
    noted = await store.list_events("acme", "operations", from_sequence=1, limit=10, kinds=["ledger.anchor_obtained"])
    assert [json.loads(event.payload) for event in noted] == [
        {
            "anchored_at": "2026-01-02T03:04:05.678901Z",
            "authority": job.authority,
            "backend": "rfc3161",
            "chain_id": "gate",
            "digest": head.hex(),
            "response_sha256": hashlib.sha256(b"token").hexdigest(),
            "sequence": job.sequence,
        }
    ]


async def test_a_job_done_twice_is_stored_and_noted_once(store: LedgerStore, other_store: LedgerStore) -> None:
    await closed_chain(store)
    job = (await lease(store, limit=1))[0]
    outcomes = await asyncio.gather(
        complete(store, job, b"first"), complete(other_store, job, b"second"), complete(store, job, b"third")
    )
    assert sorted(outcomes) == [False, False, True]
    assert len(await store.stored_anchors("acme", "gate")) == 1
    noted = await store.list_events("acme", "operations", from_sequence=1, limit=10, kinds=["ledger.anchor_obtained"])
    assert len(noted) == 1
    assert len(await lease(store)) == 1, "the job is gone; only the other authority's is left"


async def test_the_anchors_of_a_chain_are_listed_page_by_page(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    for number in range(3):
        event = NewEvent(kind="door.opened", payload=b"{}")
        await store.append_events("acme", "gate", [event], f"key {number}")
        await store.checkpoint_chain("acme", "gate")
    assert await complete(store, (await lease(store, limit=1))[0])
    seen: list[tuple[int, str, str]] = []
    after: tuple[int, str, str] | None = None
    while page := await store.list_anchors("acme", "gate", limit=2, after=after):
        seen += [(status.sequence, status.backend, status.authority) for status in page]
        after = seen[-1]
    assert seen == [(n, "rfc3161", authority) for n in (3, 5, 7) for authority in ("one", "two")]


async def test_what_waits_is_counted_and_dated(store: LedgerStore) -> None:
    assert await store.oldest_unanchored() == {}
    before = datetime.now(UTC)
    await closed_chain(store, "gate-1")
    await closed_chain(store, "gate-2")
    assert await store.pending_anchor_counts() == {ONE: 2, TWO: 2}
    oldest = await store.oldest_unanchored()
    assert set(oldest) == {ONE, TWO}
    assert all(abs(asked_for - before) < timedelta(seconds=30) for asked_for in oldest.values())


async def test_an_anchor_without_a_job_cannot_be_stored_by_the_worker_role(
    store: LedgerStore, database: Database
) -> None:
    await closed_chain(store)
    with psycopg.connect(database.worker_dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("INSERT INTO indelible.anchors SELECT * FROM indelible.anchors")


async def test_a_chain_is_due_for_a_checkpoint_by_age_or_by_count(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    await store.append_events("acme", "gate", [NewEvent(kind="door.opened", payload=b"{}")] * 9, "one")
    hour = timedelta(hours=1)
    assert await store.due_checkpoints(max_age=hour, max_events=11) == []
    assert await store.due_checkpoints(max_age=hour, max_events=10) == [("acme", "gate")]
    old = await store.due_checkpoints(max_age=timedelta(0), max_events=1_000)
    assert sorted(old) == [("acme", "gate"), ("acme", "operations")]
    await store.checkpoint_chain("acme", "gate")
    assert ("acme", "gate") not in await store.due_checkpoints(max_age=timedelta(0), max_events=1)


async def test_a_closed_chain_is_never_due(store: LedgerStore) -> None:
    await closed_chain(store)
    assert await store.due_checkpoints(max_age=timedelta(0), max_events=1) == [("acme", "operations")]


async def test_anchors_of_the_operations_chain_alone_cause_no_further_checkpoint(store: LedgerStore) -> None:
    await closed_chain(store)
    for job in await lease(store):
        assert await complete(store, job)
    everything = {"max_age": timedelta(0), "max_events": 1}
    assert await store.due_checkpoints(**everything) == [("acme", "operations")]  # type: ignore[arg-type]  # by name
    await store.checkpoint_chain("acme", "operations")
    for job in await lease(store):
        assert job.chain_id == "operations"
        assert await complete(store, job)
    assert await store.due_checkpoints(**everything) == []  # type: ignore[arg-type]  # by name
