"""Recordings that have ended: locked in the store, disposed of at the end of their retention, told on the chain."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from media.clips.dispose import dispose_expired
from media.clips.hold import mirror_due
from media.recordings.upkeep import delete_disposed_recordings
from media.records.kept import RECORDING
from media.records.recording_work import RecordingWork
from media.records.values import DAY_US, DEFAULT_RETENTION_DAYS, Note, Retention
from media.storage.values import ListedObject
from tests.media.recordings.processing.staging import Left, Stage, film

SHORT = Left(tile=0, seconds=0.5)
KEPT = Left(tile=1, uploads=(film(1)[:900],), outcome="FAILED", is_told=False)


async def ended(stage: Stage) -> RecordingWork:
    """A completed recording one of whose raw objects is kept."""
    return await stage.processed(await stage.recorded(SHORT, KEPT))


def locked_until(stage: Stage, work: RecordingWork) -> dict[str, datetime]:
    bucket = stage.store.bucket
    until = {}
    for stored in [file.stored for file in work.files] + [raw.stored for raw in work.raws if raw.kept_because]:
        answer = bucket.reader.get_object_retention(
            Bucket=bucket.name, Key=stored.key, VersionId=stored.version_id or ""
        )
        until[stored.key] = answer["Retention"]["RetainUntilDate"]
    return until


async def retain(stage: Stage, days: int) -> None:
    changed = Retention(
        organisation_id="acme",
        days=days,
        lock_mode="GOVERNANCE",
        change_id=uuid4(),
        reason="a new policy",
        changed_by="ann",
        changed_at=time.time_ns() // 1000,
    )
    assert changed.change_id is not None
    note = Note(kind="retention.changed", payload={"days": days}, subject_id=changed.change_id)
    await stage.records.set_retention(changed, [note])


async def test_what_a_recording_keeps_is_locked_for_its_retention_and_longer_when_that_grows(stage: Stage) -> None:
    work = await ended(stage)
    assert await mirror_due(stage.records.recording_upkeep, stage.store) == 1
    assert await mirror_due(stage.records.recording_upkeep, stage.store) == 0
    first = locked_until(stage, work)
    assert len(first) == len(work.files) + 1
    for until in first.values():
        assert abs((until - datetime.now(UTC)).days - DEFAULT_RETENTION_DAYS) <= 1
    await retain(stage, DEFAULT_RETENTION_DAYS + 100)
    assert await mirror_due(stage.records.recording_upkeep, stage.store) == 1
    for key, until in locked_until(stage, work).items():
        assert (until - first[key]).days == 100


async def test_at_the_end_of_its_retention_the_bytes_go_and_the_digests_stay(stage: Stage) -> None:
    work = await ended(stage)
    upkeep = stage.records.recording_upkeep
    await mirror_due(upkeep, stage.store)
    await dispose_expired(stage.records, RECORDING)
    await delete_disposed_recordings(upkeep, stage.store)
    assert len(stage.stored(work.recording_id)) == len(work.files) + 1

    later = time.time_ns() // 1000 + (DEFAULT_RETENTION_DAYS + 1) * DAY_US
    for _ in range(2):
        await dispose_expired(stage.records, RECORDING, now=later)
    # Nothing is given out any more, and a worker that dies here leaves a decision that the next one carries out.
    assert (await stage.work_of(work.recording_id)).state == "DISPOSING"
    assert await delete_disposed_recordings(upkeep, stage.store) == 1
    assert await delete_disposed_recordings(upkeep, stage.store) == 0
    await stage.tell()
    disposed = await stage.work_of(work.recording_id)
    assert (disposed.state, disposed.files) == ("DISPOSED", work.files)
    assert stage.stored(work.recording_id) == {}
    (event,) = stage.payloads("recording.disposed", "operations")
    assert {one["sha256"] for one in event["artefacts"]} == {file.stored.sha256 for file in work.files}
    assert [one["sha256"] for one in event["raws"]] == [raw.stored.sha256 for raw in work.raws if raw.kept_because]
    assert (event["decided_by"], event["reason"]) == ("retention", "its retention is over")


async def test_the_sweeper_takes_only_what_no_record_of_an_ended_recording_owns(stage: Stage) -> None:
    work = await ended(stage)
    running = await stage.recorded(SHORT)
    of_running = f"acme/recordings/2026/11/18/{running}/participant-0.mp4"
    left_over = f"{work.key_prefix}composite.mp4"
    for key in (left_over, f"{work.key_prefix}stray.mp4", of_running, "acme/recordings/2026/11/18/unknown/x.mp4"):
        stage.put(key, b"left by a worker that died")
    before = sorted(stage.stored(work.recording_id))
    assert await stage.swept() == 2
    assert sorted(stage.stored(work.recording_id)) == [key for key in before if not key.endswith("stray.mp4")]
    assert [len(versions) for versions in stage.stored(work.recording_id).values()] == [1] * (len(before) - 1)
    # A recording that is still being processed owns whatever lies under its keys.
    assert of_running in stage.stored(running)
    unknown = list(stage.store.list_objects("acme/recordings/2026/11/18/unknown/"))
    assert len(unknown) == 1

    # Nor are a marker and an object that nobody asked for files that came late: nobody knows what they are, they stay.
    key = f"acme/recordings/raw/{work.recording_id}/EG_manifest.json"
    stage.put(key, film(0)[:10])
    (listed,) = list(stage.store.list_objects(key))
    marker = replace(listed, key=work.raws[0].stored.key, is_delete_marker=True)
    assert isinstance(marker, ListedObject)
    assert await stage.records.recording_upkeep.late([listed, marker]) == []
    await stage.swept()
    assert key in stage.stored(work.recording_id)
