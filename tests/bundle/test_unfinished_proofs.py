"""OpenTimestamps proofs in bundles: as far as they are, later the whole, and never twice."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.anchoring.opentimestamps.timestamp import Leaf, write_proof
from ledger.bundle import write_bundle, writer
from ledger.store.values import AnchorJob, AnchorTarget, Evidence, NewEvent
from sandbox.database import Database
from tests.bundle.opened import Ledger, open_ledger
from tests.bundle.test_writing_bundles import exported, files_of
from verifier.opentimestamps.proof import BITCOIN_TAG, PENDING_TAG

CALENDARS = AnchorTarget(backend="opentimestamps", authority="bitcoin")
OTHER = AnchorTarget(backend="rfc3161", authority="one")
PROOF_AT = "2099-01-02T03:04:05.000006Z"  # later than anything else, so that it dates the bundle
PROOF = "data/anchors/2-opentimestamps-bitcoin.ots"


@pytest.fixture
async def ledger(database: Database) -> AsyncIterator[Ledger]:
    async with open_ledger(database, (CALENDARS, OTHER)) as ledger:
        await ledger.store.open_chain("acme", "gate", b"{}")
        await ledger.store.close_chain("acme", "gate")
        yield ledger


async def lease(ledger: Ledger, chain_id: str = "gate") -> AnchorJob:
    jobs = await ledger.store.lease_anchor_jobs(
        owner="test", lease=timedelta(minutes=1), limit=100, authorities=[CALENDARS]
    )
    return next(job for job in jobs if job.chain_id == chain_id)


def promise(digest: bytes) -> bytes:
    return write_proof(digest, [Leaf(steps=(b"\x08",), tag=PENDING_TAG, payload=b"\x10https://cal.test", message=None)])


async def begin(ledger: Ledger, **state: object) -> AnchorJob:
    """A round of the backend that leaves a state behind."""
    job = await lease(ledger)
    whole: dict[str, Any] = {"proof": base64.b64encode(promise(job.digest)).decode(), "proof_at": PROOF_AT} | state
    await ledger.store.fail_anchor_job(
        job, error="2 of 2 calendars promised", next_attempt_at=datetime.now(tz=UTC), state=whole
    )
    return job


async def complete(ledger: Ledger, *headers: bytes) -> bytes:
    job = await lease(ledger)
    evidence = tuple(Evidence(kind="header", der=line) for line in headers)
    proof = write_proof(job.digest, [Leaf(steps=(), tag=BITCOIN_TAG, payload=b"\x07", message=None)])
    assert await ledger.store.complete_anchor_job(
        job, request=bytes(32), response=proof, anchored_at=datetime(2026, 1, 2, tzinfo=UTC), evidence=evidence
    )
    return proof


def statement_of(bundle: bytes) -> dict[str, Any]:
    statement: dict[str, Any] = json.loads(files_of(bundle)["data/bundle.json"])
    return statement


async def test_before_any_calendar_answered_the_job_is_listed_as_pending(ledger: Ledger) -> None:
    statement = statement_of(await exported(ledger.store))
    assert statement["anchors"] == []
    assert [entry["backend"] for entry in statement["pending"]] == ["opentimestamps", "rfc3161"]


async def test_a_proof_that_has_begun_is_in_the_bundle_dated_by_its_last_change(ledger: Ledger) -> None:
    job = await begin(ledger)
    bundle = await exported(ledger.store)
    statement = statement_of(bundle)
    assert statement["anchors"] == [
        {
            "aggregation": None,
            "authority": "bitcoin",
            "backend": "opentimestamps",
            "digest": job.digest.hex(),
            "files": {"proof": PROOF},
            "obtained_at": PROOF_AT,
            "sequence": 2,
        }
    ]
    assert statement["pending"] == [{"authority": "one", "backend": "rfc3161", "sequence": 2}]
    assert statement["exported_at"] == PROOF_AT
    assert files_of(bundle)[PROOF] == promise(job.digest)


async def test_rounds_that_change_nothing_leave_the_bundle_byte_for_byte_as_it_was(ledger: Ledger) -> None:
    await begin(ledger)
    first = await exported(ledger.store)
    await begin(ledger, progress="the same after another look", short_rounds=7)
    assert await exported(ledger.store) == first


async def test_the_finished_proof_takes_the_place_of_the_promise(ledger: Ledger) -> None:
    await begin(ledger)
    proof = await complete(ledger)
    bundle = await exported(ledger.store)
    statement = statement_of(bundle)
    assert files_of(bundle)[PROOF] == proof
    assert [entry["backend"] for entry in statement["anchors"]] == ["opentimestamps"]
    assert statement["anchors"][0]["obtained_at"] < PROOF_AT
    assert "not finished" not in files_of(bundle)["data/README.txt"].decode()


async def test_a_state_without_a_proof_stays_pending(ledger: Ledger) -> None:
    job = await lease(ledger)
    await ledger.store.fail_anchor_job(
        job, error="", next_attempt_at=datetime.now(tz=UTC), state={"progress": "nothing yet"}
    )
    assert [entry["backend"] for entry in statement_of(await exported(ledger.store))["pending"]] == [
        "opentimestamps",
        "rfc3161",
    ]


async def test_the_summary_counts_an_unfinished_proof_as_pending(ledger: Ledger, tmp_path: Any) -> None:
    await begin(ledger)
    with (tmp_path / "bundle.zip").open("w+b") as target:
        summary = await write_bundle(ledger.store, "acme", "gate", include_disclosures=False, target=target)
    assert (summary.anchor_count, summary.pending_count) == (0, 2)


async def test_the_readme_says_how_to_finish_a_proof_by_hand(ledger: Ledger) -> None:
    job = await begin(ledger)
    readme = files_of(await exported(ledger.store))["data/README.txt"].decode()
    assert f"ots verify -d {job.digest.hex()}" in readme
    assert "not finished when the bundle was written" in readme
    assert "ots upgrade" in readme


async def test_unfinished_proofs_count_towards_the_number_of_anchors_a_bundle_may_have(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.store.open_chain("acme", "long", b"{}")
    for number in range(3):
        event = NewEvent(kind="door.opened", payload=b"{}")
        await ledger.store.append_events("acme", "long", [event], f"event {number}")
        await ledger.store.checkpoint_chain("acme", "long")
    jobs = await ledger.store.lease_anchor_jobs(
        owner="test", lease=timedelta(minutes=1), limit=100, authorities=[CALENDARS]
    )
    for job in jobs:
        state = {"proof": base64.b64encode(promise(job.digest)).decode(), "proof_at": PROOF_AT}
        await ledger.store.fail_anchor_job(job, error="", next_attempt_at=datetime.now(tz=UTC), state=state)
    monkeypatch.setattr(writer, "MAX_ANCHORS", 2)
    files = files_of(await exported(ledger.store, "long"), "long")
    assert [entry["sequence"] for entry in json.loads(files["data/bundle.json"])["anchors"]] == [5, 7]


async def test_the_headers_that_proofs_lead_to_are_listed_by_height_and_contradictions_left_out(ledger: Ledger) -> None:
    lines = [b"100 cc\n", b"99 bb\n", b"7 aa\n", b"99 dd\n"]
    await complete(ledger, *lines)
    assert files_of(await exported(ledger.store))["data/evidence/bitcoin-headers.txt"] == b"7 aa\n100 cc\n"


async def test_a_bundle_without_finished_proofs_has_no_headers(ledger: Ledger) -> None:
    await begin(ledger)
    assert not any("/evidence/" in name for name in files_of(await exported(ledger.store)))
