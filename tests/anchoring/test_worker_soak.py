"""Workers killed at random moments under an authority that misbehaves at random, then the whole record checked."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.authorities import Authorities, Fault
from sandbox.database import Database
from tests.anchoring.ledger_under_test import Ledger, open_ledger, start_worker, targets_of, write_authorities

PATIENCE_SECONDS = 120.0
KILLS = int(os.environ.get("INDELIBLE_SOAK_KILLS", "100"))


@pytest.fixture
async def ledger(database: Database, rogues: Authorities, tmp_path: Path) -> AsyncIterator[Ledger]:
    # No authority is slow on purpose here, but the machine may be busy.
    path = write_authorities(rogues, tmp_path / "authorities.toml", timeout_seconds=30)
    async with open_ledger(database, targets_of(path)) as opened:
        yield opened


async def start_worker_logging(ledger: Ledger, path: Path, log: Path) -> asyncio.subprocess.Process:
    with log.open("ab") as output:
        return await start_worker(ledger, path, output=output)


@pytest.mark.soak
async def test_no_kill_and_no_fault_loses_or_doubles_an_anchor(
    ledger: Ledger, rogues: Authorities, tmp_path: Path
) -> None:
    path, log = tmp_path / "authorities.toml", tmp_path / "log"
    chains: list[str] = []
    faults = [fault for fault in Fault if fault is not Fault.SLOW]
    for kill in range(KILLS):
        worker = await start_worker_logging(ledger, path, log)
        try:
            for number in range(4):
                rogues.two.misbehave(random.choice(faults))
                chains.append(f"s{kill}-{number}")
                await ledger.closed_session(chains[-1])
                await asyncio.sleep(random.uniform(0.1, 0.8))
                await ledger.let_retries_come_due()
        finally:
            worker.kill()
            await worker.wait()

    rogues.two.misbehave(Fault.NONE)
    worker = await start_worker_logging(ledger, path, log)
    try:
        await _until_nothing_waits(ledger)
    finally:
        worker.kill()
        await worker.wait()

    assert b"Traceback" not in log.read_bytes()
    rows = await ledger.sql(
        "SELECT c.chain_id, count(*) FROM indelible.anchors AS a JOIN indelible.chains AS c USING (chain_key)"
        " GROUP BY c.chain_id"
    )
    assert {chain_id: count for chain_id, count in rows} == dict.fromkeys(chains, 2)  # noqa: C416  # rows are tuples of objects
    notes = await ledger.sql("SELECT payload FROM indelible.events WHERE kind = 'ledger.anchor_obtained'")
    assert len(notes) == len(set(notes)) == 2 * len(chains)
    assert (await ledger.store.check_chain(ledger.organisation, "operations")).ok


async def _until_nothing_waits(ledger: Ledger) -> None:
    """However busy the machine is, something must be obtained every PATIENCE_SECONDS."""
    left, since = 0, time.monotonic()
    while waiting := len(await ledger.sql("SELECT 1 FROM indelible.anchor_jobs")):
        if waiting != left:
            left, since = waiting, time.monotonic()
        assert time.monotonic() - since < PATIENCE_SECONDS, f"{left} anchors are not obtained"
        await ledger.let_retries_come_due()
        await asyncio.sleep(3.0)
