"""Workers killed at every boundary, several workers at once, and a store that lies: it always ends the same."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from media.metrics import WorkerMetrics
from media.recordings.lanes import Lanes
from media.recordings.process import process
from media.records.recording_work import RecordingJob, RecordingWork
from media.records.values import LeaseLostError
from media.storage.client import StoreSettings
from sandbox.database import Database
from sandbox.objects_faults import Fault, LyingObjects
from tests.media.recordings.processing.dying_worker import BOUNDARIES
from tests.media.recordings.processing.staging import Left, Stage, stroke
from tests.media.recordings.processing.test_processing import RAW, nothing_is_lost

KILLED_SECONDS = 600
SHORT = Left(tile=0, seconds=0.5)


def digests(work: RecordingWork) -> dict[str, str]:
    """Of what has no times of its making in it."""
    return {file.name: file.stored.sha256 for file in work.files if file.name != "recording.json"}


@pytest.mark.timeout(KILLED_SECONDS + 300)
async def test_a_worker_killed_at_any_step_is_taken_over_and_it_ends_the_same(
    stage: Stage, module_database: Database, store_settings: StoreSettings
) -> None:
    undisturbed = await stage.processed(await stage.recorded(SHORT, annotations=stroke()))
    stage.told.clear()
    recording_id = await stage.recorded(SHORT, annotations=stroke())
    given = {
        "evidence_dsn": module_database.evidence_dsn,
        "worker_dsn": module_database.evidence_worker_dsn,
        "store": asdict(store_settings),
        "directory": str(stage.directory),
        "recording_id": str(recording_id),
    }
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs here meanwhile
        [sys.executable, Path(__file__).with_name("dying_worker.py")],
        input=json.dumps(given) + "\n",
        env={"PYTHONPATH": str(Path(__file__).parents[4])},
        stdout=subprocess.PIPE,
        text=True,
        timeout=KILLED_SECONDS,
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if line.partition(":")[0] in BOUNDARIES]
    assert said == [f"{boundary}: killed" for boundary in BOUNDARIES], done.stdout
    work = await stage.work_of(recording_id)
    assert (work.state, work.task("settle", None) is not None) == ("COMPLETED", True)
    assert digests(work) == digests(undisturbed)
    assert noted(module_database, recording_id) == noted(module_database, undisturbed.recording_id)

    # What the killed ones left in the store is swept, and what the record owns is all that stays.
    await stage.swept()
    assert {key: len(versions) for key, versions in stage.stored(recording_id).items()} == {
        file.stored.key: 1 for file in work.files
    }


def noted(database: Database, recording_id: UUID) -> Counter[tuple[str, str]]:
    """How often each kind of event about a recording is on each chain."""
    with psycopg.connect(database.admin_dsn) as connection:
        rows = connection.execute(
            "SELECT chain_id, kind FROM evidence.notes WHERE recording_id = %s AND sent_at IS NOT NULL", (recording_id,)
        ).fetchall()
    return Counter((str(chain_id), str(kind)) for chain_id, kind in rows)


async def test_many_workers_at_once_make_each_file_once_and_unexpected_errors_lose_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([ZeroDivisionError("a defect"), OSError("the disk is full"), ZeroDivisionError("again")])

    async def failing(job: RecordingJob, *arguments: object) -> object:
        error = next(failures, None)
        if error is not None:
            raise error
        return await process(job, *arguments)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr("media.recordings.lanes.process", failing)
    recording_id = await stage.recorded(SHORT)
    others = [Stage(stage.records, stage.store, stage.directory, stage.told, stage.keys) for _ in range(2)]
    works = await asyncio.gather(*(one.processed(recording_id) for one in (stage, *others)))
    nothing_is_lost(stage, works[0])


async def claimed(stage: Stage, lease_seconds: float) -> RecordingJob:
    await stage.advance()
    job = await stage.records.recording_jobs.claim(worker="slow", lease_seconds=lease_seconds)
    assert job is not None
    return job


async def test_neither_a_worker_without_its_lease_nor_one_gone_mad_changes_the_record(
    stage: Stage, module_database: Database
) -> None:
    recording_id = await stage.recorded(SHORT)
    slow = await claimed(stage, 0.2)
    await asyncio.sleep(0.25)
    job = await claimed(stage, 60)
    assert job.attempt == 2
    with pytest.raises(LeaseLostError):
        await stage.records.recording_jobs.acquired(slow, [], [], at=1)
    work = await stage.work_of(recording_id)
    assert (work.raws, [task.state for task in work.tasks]) == ((), ["OPEN"])

    lanes = Lanes(stage.studio, WorkerMetrics(CollectorRegistry()), name="one", lease_seconds=60)
    await lanes.work(job)
    while (await stage.work_of(recording_id)).state != "COMPLETED":
        await lanes.work(await claimed(stage, 60))
    # Completed, and nothing told yet: the database itself refuses to drop a raw object.
    raw = (await stage.work_of(recording_id)).raws[0]
    with (
        psycopg.connect(module_database.evidence_worker_dsn) as connection,
        pytest.raises(psycopg.errors.IntegrityError, match="not told of"),
    ):
        connection.execute(
            "INSERT INTO evidence.recording_raw_ends (raw_id, recording_id, organisation_id, fate, why, decided_at)"
            " VALUES (%s, %s, 'acme', 'DROPPED', 'mad', 1)",
            (raw.raw_id, recording_id),
        )
    assert len(stage.stored(recording_id)[raw.stored.key]) == 1
    nothing_is_lost(stage, await stage.processed(recording_id))


@pytest.mark.parametrize(
    ("fault", "key"),
    [
        (Fault.FLIP_ON_READ, RAW),
        (Fault.IGNORE_PUT, "composite.mp4"),
    ],
)
async def test_a_lie_of_the_store_that_ends_is_survived(
    stage: Stage, liar: LyingObjects, fault: Fault, key: str
) -> None:
    recording_id = await stage.recorded(SHORT)
    stage.store.capabilities()
    liar.lie(fault, times=1, key=key)
    work = await stage.processed(recording_id)
    liar.stop_lying()
    assert (await stage.swept()) in {0, 1}
    nothing_is_lost(stage, work)


async def test_a_file_that_never_reads_back_costs_only_itself_and_keeps_every_raw_object(
    stage: Stage, liar: LyingObjects
) -> None:
    recording_id = await stage.recorded(SHORT)
    stage.store.capabilities()
    liar.lie(Fault.FLIP_ON_READ, key="composite.mp4")
    work = await stage.processed(recording_id)
    liar.stop_lying()
    await stage.swept()
    assert "composite.mp4" not in nothing_is_lost(stage, work)
    (end,) = stage.payloads("recording.completed")
    (egress,) = end["egresses"]
    assert [raw["kept"] for raw in egress["raws"]] == ["the composite could not be made"]
    assert any(note.startswith("the composite could not be made: ") for note in end["notes"])
