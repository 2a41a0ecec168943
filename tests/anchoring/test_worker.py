import asyncio
import hashlib
import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.anchoring.authorities import load_authorities
from ledger.store.values import AnchorJob
from sandbox.authorities import Authorities, Fault
from sandbox.database import Database
from tests.anchoring.ledger_under_test import (
    Ledger,
    open_ledger,
    start_worker,
    targets_of,
    working,
    write_authorities,
)
from verifier.rfc3161 import TimestampTrust, load_certificates, verify_token


@pytest.fixture
def authorities_file(rogues: Authorities, tmp_path: Path) -> Path:
    return write_authorities(rogues, tmp_path / "authorities.toml")


@pytest.fixture
async def ledger(module_database: Database, authorities_file: Path) -> AsyncIterator[Ledger]:
    async with open_ledger(module_database, targets_of(authorities_file)) as opened:
        yield opened


async def stored_responses(ledger: Ledger, chain_id: str) -> dict[str, bytes]:
    stored = await ledger.store.stored_anchors(ledger.organisation, chain_id)
    return {anchor.authority: anchor.response for anchor in stored}


async def notes_of_anchors(ledger: Ledger, chain_id: str) -> list[dict[str, object]]:
    """What the operations chain says about anchors of `chain_id`."""
    events = await ledger.store.list_events(
        ledger.organisation, "operations", from_sequence=1, limit=1000, kinds=["ledger.anchor_obtained"]
    )
    payloads = [json.loads(event.payload) for event in events]
    return [payload for payload in payloads if payload["chain_id"] == chain_id]


async def test_a_closed_session_is_anchored_at_every_authority_and_noted(
    ledger: Ledger, authorities_file: Path, rogues: Authorities
) -> None:
    await ledger.closed_session("s1")
    chain = await ledger.store.get_chain(ledger.organisation, "s1")
    async with working(ledger.store, load_authorities(authorities_file)):
        for authority in rogues:
            status = await ledger.wait_for("s1", authority.name, state="obtained")
            assert status.digest == chain.head
            assert status.anchored_at is not None
            assert abs(status.anchored_at - datetime.now(tz=UTC)) < timedelta(minutes=1)
    assert await ledger.sql("SELECT 1 FROM indelible.anchor_jobs") == []
    for anchor in await ledger.store.stored_anchors(ledger.organisation, "s1"):
        authority = next(one for one in rogues if one.name == anchor.authority)
        trust = TimestampTrust(roots=load_certificates(authority.root_pem))
        assert verify_token(anchor.response, digest=chain.head, trust=[trust], query=anchor.request).ok
        assert {item.kind for item in anchor.evidence} >= {"certificate", "crl"}
    notes = await notes_of_anchors(ledger, "s1")
    responses = await stored_responses(ledger, "s1")
    assert {note["authority"]: note["response_sha256"] for note in notes} == {
        name: hashlib.sha256(response).hexdigest() for name, response in responses.items()
    }
    assert (await ledger.store.check_chain(ledger.organisation, "operations")).ok


# Those that touch only the revocation list are not about the answer; they have their tests beside the backend's.
FAULTS = [fault for fault in Fault if fault not in {Fault.NONE, Fault.REVOKED} and not fault.startswith("crl-")]


async def test_no_fault_of_one_authority_loses_blocks_or_falsifies_anything(
    ledger: Ledger, authorities_file: Path, rogues: Authorities
) -> None:
    async with working(ledger.store, load_authorities(authorities_file)) as registry:
        await ledger.closed_session("before")  # a genuine answer, for the replay
        await ledger.wait_for("before", "sandbox-two", state="obtained")
        for fault in FAULTS:
            chain_id = f"s-{fault.value}"
            rogues.two.misbehave(fault)
            await ledger.closed_session(chain_id)
            await ledger.wait_for(chain_id, "sandbox-one", state="obtained")
            status = await ledger.wait_for_failure(chain_id, "sandbox-two")
            assert status.state == "pending"
            assert status.next_attempt_at is not None
            assert list(await stored_responses(ledger, chain_id)) == ["sandbox-one"]
            rogues.two.misbehave(Fault.NONE)
            await ledger.let_retries_come_due()
            await ledger.wait_for(chain_id, "sandbox-two", state="obtained")
            assert len(await notes_of_anchors(ledger, chain_id)) == 2
    assert await ledger.sql("SELECT 1 FROM indelible.anchor_jobs") == []
    labels = {"backend": "rfc3161", "authority": "sandbox-two"}
    outcomes = {
        outcome: registry.get_sample_value("indelible_anchoring_attempts_total", {**labels, "outcome": outcome})
        for outcome in ("obtained", "refused", "unavailable", "defect")
    }
    assert outcomes["obtained"] == len(FAULTS) + 1
    assert (outcomes["refused"] or 0) >= 15
    assert (outcomes["unavailable"] or 0) >= 4
    assert outcomes["defect"] is None


async def test_an_authority_that_is_stopped_is_served_when_it_is_back(
    ledger: Ledger, authorities_file: Path, rogues: Authorities
) -> None:
    rogues.two.stop()
    try:
        async with working(ledger.store, load_authorities(authorities_file)) as registry:
            await ledger.closed_session("s1")
            await ledger.wait_for("s1", "sandbox-one", state="obtained")
            status = await ledger.wait_for_failure("s1", "sandbox-two")
            assert status.last_error == "the connection failed (ConnectError)"
            rogues.two.start()
            await ledger.wait_for("s1", "sandbox-two", state="obtained")  # by its own retry, nothing pushed
            pending = registry.get_sample_value(
                "indelible_anchoring_pending", {"backend": "rfc3161", "authority": "sandbox-two"}
            )
            assert pending is not None
    finally:
        if rogues.two.process_id is None:
            rogues.two.start()


async def test_a_worker_killed_between_answer_and_storage_costs_nothing_but_a_second_question(
    ledger: Ledger, authorities_file: Path
) -> None:
    await ledger.closed_session("s1")
    killed = await start_worker(ledger, authorities_file, "before-storing", output=asyncio.subprocess.PIPE)
    assert killed.stdout is not None
    answered = {(await killed.stdout.readline()).decode().strip() for _ in range(2)}
    assert answered == {"sandbox-one", "sandbox-two"}
    killed.send_signal(signal.SIGKILL)
    await killed.wait()
    assert await stored_responses(ledger, "s1") == {}

    async with working(ledger.store, load_authorities(authorities_file)):
        await asyncio.sleep(1.2)
        assert await stored_responses(ledger, "s1") == {}, "a lease that still holds was not respected"
        await ledger.let_retries_come_due()
        for name in answered:
            await ledger.wait_for("s1", name, state="obtained")
    rows = await ledger.sql("SELECT authority, count(*) FROM indelible.anchors GROUP BY chain_key, sequence, authority")
    assert {count for _, count in rows} == {1}
    assert len(await notes_of_anchors(ledger, "s1")) == 2
    assert await ledger.sql("SELECT 1 FROM indelible.anchor_jobs") == []


async def test_many_workers_store_each_anchor_once(ledger: Ledger, authorities_file: Path, rogues: Authorities) -> None:
    chains = [f"s{number}" for number in range(8)]
    source = load_authorities(authorities_file)
    async with working(ledger.store, source), working(ledger.store, source), working(ledger.store, source):
        await asyncio.gather(*(ledger.closed_session(chain_id) for chain_id in chains))
        for chain_id in chains:
            for authority in rogues:
                await ledger.wait_for(chain_id, authority.name, state="obtained")
    rows = await ledger.sql(
        "SELECT count(*) FROM indelible.anchors AS a JOIN indelible.chains AS c USING (chain_key)"
        " WHERE c.type = 'session' AND c.organisation_id = %s",
        ledger.organisation,
    )
    assert rows == [(2 * len(chains),)]
    for chain_id in chains:
        assert len(await notes_of_anchors(ledger, chain_id)) == 2


async def test_a_late_second_answer_changes_nothing(
    ledger: Ledger, authorities_file: Path, rogues: Authorities
) -> None:
    await ledger.closed_session("s1")
    (late,) = await lease_one(ledger, rogues.two.name, authorities_file)
    await ledger.let_retries_come_due()  # the lease of the slow worker has run out
    async with working(ledger.store, load_authorities(authorities_file)):
        await ledger.wait_for("s1", rogues.two.name, state="obtained")
    before = await stored_responses(ledger, "s1")
    stored = await ledger.store.complete_anchor_job(
        late, request=b"late", response=b"late", anchored_at=datetime.now(tz=UTC), evidence=[]
    )
    assert stored is False
    assert await stored_responses(ledger, "s1") == before
    assert len(await notes_of_anchors(ledger, "s1")) == 2
    await ledger.store.fail_anchor_job(late, error="late", next_attempt_at=datetime.now(tz=UTC))
    assert (await ledger.anchors("s1"))[rogues.two.name].state == "obtained"


async def lease_one(ledger: Ledger, authority: str, authorities_file: Path) -> list[AnchorJob]:
    targets = [target for target in targets_of(authorities_file) if target.authority == authority]
    return await ledger.store.lease_anchor_jobs(owner="slow", lease=timedelta(minutes=5), limit=1, authorities=targets)
