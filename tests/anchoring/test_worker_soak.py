"""Workers killed at random moments under an authority that misbehaves at random, then the whole record checked."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.authorities import Authorities, Fault
from sandbox.database import Database
from tests.anchoring.ledger_under_test import Ledger, open_ledger, start_worker, targets_of, write_authorities

KILLS = int(os.environ.get("INDELIBLE_SOAK_KILLS", "100"))


@pytest.fixture
async def ledger(database: Database, rogues: Authorities, tmp_path: Path) -> AsyncIterator[Ledger]:
    path = write_authorities(rogues, tmp_path / "authorities.toml")
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
        for number in range(4):
            rogues.two.misbehave(random.choice(faults))
            chains.append(f"s{kill}-{number}")
            await ledger.closed_session(chains[-1])
            await asyncio.sleep(random.uniform(0.1, 0.8))
            await ledger.let_retries_come_due()
        worker.kill()
        await worker.wait()

    rogues.two.misbehave(Fault.NONE)
    worker = await start_worker_logging(ledger, path, log)
    async with asyncio.timeout(300):
        while await ledger.sql("SELECT 1 FROM indelible.anchor_jobs LIMIT 1"):
            await ledger.let_retries_come_due()
            await asyncio.sleep(3.0)
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
