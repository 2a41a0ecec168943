"""A ledger whose anchors the tests make up: what lies in a bundle is the writer's business, not what it proves."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from ledger.store import LedgerStore
from ledger.store.values import AnchorTarget, Evidence
from sandbox.database import Database
from tests.bundle.opened import Ledger, open_ledger

TARGETS = (
    AnchorTarget(backend="rfc3161", authority="one"),
    AnchorTarget(backend="rfc3161", authority="two"),
)


@pytest.fixture
async def ledger(database: Database) -> AsyncIterator[Ledger]:
    async with open_ledger(database, TARGETS) as ledger:
        yield ledger


@pytest.fixture
def store(ledger: Ledger) -> LedgerStore:
    return ledger.store


async def anchor(store: LedgerStore, authority: str, *, evidence: tuple[Evidence, ...] = ()) -> None:
    """Obtain every anchor that waits for `authority`, with bytes that name the digest."""
    target = AnchorTarget(backend="rfc3161", authority=authority)
    jobs = await store.lease_anchor_jobs(owner="test", lease=timedelta(minutes=1), limit=100, authorities=[target])
    for job in jobs:
        assert await store.complete_anchor_job(
            job,
            request=b"question " + job.digest,
            response=b"answer " + job.digest,
            anchored_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            evidence=evidence,
        )
