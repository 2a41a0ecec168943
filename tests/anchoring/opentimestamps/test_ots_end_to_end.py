"""Closed chains of a real ledger, anchored by the real worker, exported while promised and when kept."""

import asyncio
import contextlib
import io
import json
import sys
import zipfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ledger.anchoring.port import AnchorBackend
from ledger.bundle import write_bundle
from ledger.store.values import AnchorTarget
from sandbox.calendar import CalendarFaults
from sandbox.database import Database
from tests.anchoring.ledger_under_test import PATIENCE_SECONDS, Ledger, open_ledger, start_worker, working
from tests.anchoring.opentimestamps.ots_under_test import Anchoring

CHAIN = "session-1"
NAME = "bitcoin"
TARGET = AnchorTarget(backend="opentimestamps", authority=NAME)
POLICY = """
format = "indelible-trust/1"
[authorities.bitcoin]
backend = "opentimestamps"
headers = "headers.txt"
"""


class OneAuthority:
    """Where the worker gets its backend from."""

    def __init__(self, anchoring: Anchoring) -> None:
        self._anchoring = anchoring

    @contextlib.asynccontextmanager
    async def open_backends(self) -> AsyncIterator[Sequence[AnchorBackend]]:
        async with self._anchoring.backend(first_look_seconds=0.2, look_seconds=0.2) as backend:
            yield [backend]


@pytest.fixture
async def ledger(module_database: Database) -> AsyncIterator[Ledger]:
    async with open_ledger(module_database, [TARGET]) as opened:
        await opened.closed_session(CHAIN)
        yield opened


async def exported(ledger: Ledger) -> bytes:
    target = io.BytesIO()
    await write_bundle(ledger.store, ledger.organisation, CHAIN, include_disclosures=False, target=target)
    return target.getvalue()


async def verified(*arguments: str) -> tuple[int, dict[str, Any]]:
    """What the verifier says as a process of its own: exit code and report."""
    command = [sys.executable, "-c", "from verifier.cli import main; main()", *arguments, "--json"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    report: dict[str, Any] = json.loads(output)
    return process.returncode or 0, report


async def test_a_bundle_holds_the_promise_first_and_the_path_to_a_block_later(
    ledger: Ledger, anchoring: Anchoring, tmp_path: Path
) -> None:
    bundle, policy = tmp_path / "bundle.zip", tmp_path / "policy.toml"
    policy.write_text(POLICY + 'network = "regtest"\n')
    (tmp_path / "headers.txt").write_text(anchoring.sandbox.headers())
    async with working(ledger.store, OneAuthority(anchoring)) as metrics:
        status = await ledger.wait_for_failure(CHAIN, NAME)
        assert status.state == "pending"
        assert "3 of 3 calendars promised" in status.last_error
        early = await exported(ledger)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (metrics.get_sample_value("indelible_anchoring_attempts_total", labels("in_progress")) or 0) < 3:  # noqa: ASYNC110 - a metric wakes nobody
                await asyncio.sleep(0.05)
        assert await exported(ledger) == early
        await anchoring.mine()
        await ledger.wait_for(CHAIN, NAME, state="obtained")
    late = await exported(ledger)

    bundle.write_bytes(early)
    code, report = await verified("bundle", str(bundle), "--trust", str(policy))
    assert (code, report["verdict"]) == (3, "INDETERMINATE")
    assert [token["status"] for token in report["tokens"]] == ["pending"]
    findings = {finding["code"]: finding["message"] for finding in report["tokens"][0]["findings"]}
    assert all(calendar in findings["ots-pending"] for calendar in anchoring.sandbox.calendars)

    bundle.write_bytes(late)
    code, report = await verified("bundle", str(bundle), "--trust", str(policy))
    assert (code, report["tokens"][0]["status"]) == (3, "unconfirmed")
    assert "ots-header-hint" in [finding["code"] for finding in report["tokens"][0]["findings"]]
    (tmp_path / "headers.txt").write_text(anchoring.sandbox.headers())
    code, report = await verified("bundle", str(bundle), "--trust", str(policy))
    assert (code, report["verdict"], report["tokens"][0]["block"]) == (0, "VERIFIED", str(anchoring.sandbox.height()))
    assert "ots-test-network" in [finding["code"] for finding in report["tokens"][0]["findings"]]

    with zipfile.ZipFile(io.BytesIO(late)) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".ots")]
        (tmp_path / "proof.ots").write_bytes(archive.read(name))
        digest = json.loads(archive.read(f"{CHAIN}/data/bundle.json"))["anchors"][0]["digest"]
    code, report = await verified("ots", str(tmp_path / "proof.ots"), "--digest", digest)
    assert (code, report["tokens"][0]["block"]) == (3, str(anchoring.sandbox.height()))


def labels(outcome: str) -> dict[str, str]:
    return {"backend": TARGET.backend, "authority": TARGET.authority, "outcome": outcome}


async def test_blocks_of_a_test_network_are_no_blocks_of_bitcoin(
    ledger: Ledger, anchoring: Anchoring, tmp_path: Path
) -> None:
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "headers.txt").write_text(anchoring.sandbox.headers())
    (tmp_path / "bundle.zip").write_bytes(await exported(ledger))
    command = [sys.executable, "-c", "from verifier.cli import main; main()", "bundle", str(tmp_path / "bundle.zip")]
    process = await asyncio.create_subprocess_exec(
        *command, "--trust", str(tmp_path / "policy.toml"), stderr=asyncio.subprocess.PIPE
    )
    _, complaint = await process.communicate()
    assert process.returncode == 2
    assert b"impossible difficulty" in complaint


async def test_a_worker_killed_between_promise_and_path_costs_nothing(
    ledger: Ledger, anchoring: Anchoring, tmp_path: Path
) -> None:
    path, log = tmp_path / "authorities.toml", tmp_path / "log"
    path.write_text(anchoring.sandbox.configuration(NAME, look_seconds=0.2))
    given = [len(digests) for digests in anchoring.sandbox.submitted()]
    with log.open("wb") as output:
        first = await start_worker(ledger, path, output=output)
        await ledger.wait_for_failure(CHAIN, NAME)
        first.kill()
        await first.wait()
        await anchoring.mine()
        await ledger.let_retries_come_due()
        second = await start_worker(ledger, path, output=output)
        try:
            await ledger.wait_for(CHAIN, NAME, state="obtained")
        finally:
            second.kill()
            await second.wait()
    assert [len(digests) for digests in anchoring.sandbox.submitted()] == [count + 1 for count in given]
    assert b"Traceback" not in log.read_bytes()


async def test_a_worker_killed_while_calendars_take_their_time_hands_the_head_in_once_more(
    ledger: Ledger, anchoring: Anchoring, tmp_path: Path
) -> None:
    path, log = tmp_path / "authorities.toml", tmp_path / "log"
    path.write_text(anchoring.sandbox.configuration(NAME, look_seconds=0.2))
    anchoring.sandbox.misbehave(CalendarFaults(slow_seconds=30.0), calendars=[2])
    given = len(anchoring.sandbox.submitted()[0])
    with log.open("wb") as output:
        first = await start_worker(ledger, path, output=output)
        while len(anchoring.sandbox.submitted()[0]) == given:  # noqa: ASYNC110  # another process is waited for
            await asyncio.sleep(0.05)
        first.kill()
        await first.wait()
        assert await ledger.sql("SELECT state FROM indelible.anchor_jobs") == [(None,)]
        anchoring.sandbox.heal()
        await ledger.let_retries_come_due()
        second = await start_worker(ledger, path, output=output)
        try:
            await ledger.wait_for_failure(CHAIN, NAME)
            await anchoring.mine()
            await ledger.wait_for(CHAIN, NAME, state="obtained")
        finally:
            second.kill()
            await second.wait()
    stored = await ledger.store.stored_anchors(ledger.organisation, CHAIN)
    assert [anchoring.check(anchor.response, anchor.digest).status for anchor in stored] == ["valid"]


async def test_an_answer_that_was_held_when_the_worker_died_is_fetched_again(
    ledger: Ledger, anchoring: Anchoring, tmp_path: Path
) -> None:
    path = tmp_path / "authorities.toml"
    path.write_text(anchoring.sandbox.configuration(NAME, look_seconds=0.2))
    worker = await start_worker(ledger, path, "before-storing", output=asyncio.subprocess.PIPE)
    await ledger.wait_for_failure(CHAIN, NAME)
    await anchoring.mine()
    assert worker.stdout is not None
    await asyncio.wait_for(worker.stdout.readline(), PATIENCE_SECONDS)
    worker.kill()
    await worker.communicate()
    await ledger.let_retries_come_due()
    async with working(ledger.store, OneAuthority(anchoring)):
        await ledger.wait_for(CHAIN, NAME, state="obtained")
    stored = await ledger.store.stored_anchors(ledger.organisation, CHAIN)
    assert len(stored) == 1
