"""A recording under a legal hold: whatever comes of it is held, nothing of it goes, and custody tells all of it."""

from typing import Any
from uuid import UUID

import pytest

from media.clips.dispose import decide_disposal, dispose_expired
from media.clips.hold import lift_hold, mirror_due, mirror_hold, place_hold
from media.errors import MediaError, Reason
from media.recordings.access import verify_stored_recording
from media.recordings.custody import recording_custody
from media.recordings.plan import owned
from media.recordings.upkeep import delete_disposed_recordings
from media.records.kept import RECORDING
from media.records.recording_jobs import UNDER_A_HOLD
from media.records.recording_work import RecordingWork
from media.records.values import DAY_US, DEFAULT_RETENTION_DAYS, Hold
from media.storage.errors import ObjectLockedError
from sandbox.objects_faults import Fault, LyingObjects
from tests.media.recordings.processing.staging import Left, Stage, now
from tests.media.records.stopping import stopped

SHORT = Left(tile=0, seconds=0.5)
OTHER = Left(tile=1, seconds=0.5)


async def hold(stage: Stage, recording_id: UUID, key: str = "k") -> Hold:
    return await place_hold(
        stage.records, "acme", recording_id=recording_id, by="rosa", reason="case 7", idempotency_key=key
    )


async def lift(stage: Stage, placed: Hold) -> None:
    await lift_hold(stage.records, "acme", placed.hold_id, by="rosa", reason="case closed")


async def expire(stage: Stage) -> int:
    """What the worker does once the retention is over; how many recordings were disposed of."""
    await dispose_expired(stage.records, RECORDING, now=now() + (DEFAULT_RETENTION_DAYS + 1) * DAY_US)
    return await delete_disposed_recordings(stage.records.recording_upkeep, stage.store)


def statuses(stage: Stage, work: RecordingWork) -> set[str]:
    bucket = stage.store.bucket
    found: set[str] = set()
    for stored in owned(work):
        answer = bucket.reader.get_object_legal_hold(
            Bucket=bucket.name, Key=stored.key, VersionId=stored.version_id or ""
        )
        found.add(answer["LegalHold"]["Status"])
    return found


async def custody(stage: Stage, recording_id: UUID) -> dict[str, Any]:
    return await recording_custody(stage.records, await stage.records.recordings.get("acme", recording_id))


async def test_what_comes_of_a_recording_that_was_held_before_is_held_and_its_raw_objects_stay(stage: Stage) -> None:
    recording_id = await stage.recorded(SHORT, OTHER)
    placed = await hold(stage, recording_id)
    assert not await mirror_hold(stage.records, stage.store, placed)  # there is nothing to hold yet
    work = await stage.processed(recording_id)
    assert (work.state, len(work.raws)) == ("COMPLETED", 2)
    assert {raw.kept_because for raw in work.raws} == {UNDER_A_HOLD}
    assert stage.payloads("recording.raw_dropped", "operations") == []
    assert await mirror_due(stage.records.recording_upkeep, stage.store) == 1
    assert statuses(stage, work) == {"ON"}
    for stored in owned(work):
        with pytest.raises(ObjectLockedError):
            stage.store.delete(stored)

    assert await expire(stage) == 0
    refused = decide_disposal(stage.records, RECORDING, "acme", recording_id, by="ann", reason="asked to")
    with pytest.raises(MediaError) as caught:
        await refused
    assert caught.value.reason is Reason.RECORDING_HELD
    assert len(stage.stored(recording_id)) == len(work.files) + 2

    await lift(stage, placed)
    assert await mirror_due(stage.records.recording_upkeep, stage.store) == 1
    assert statuses(stage, work) == {"OFF"}
    assert await expire(stage) == 1
    assert stage.stored(recording_id) == {}
    await stage.tell()
    (event,) = stage.payloads("recording.disposed", "operations")
    assert event["raw_count"] == 2
    told = stage.payloads("hold.placed", "operations") + stage.payloads("hold.lifted", "operations")
    assert [(one["hold_id"], one["recording_id"], "clip_id" in one) for one in told] == [
        (str(placed.hold_id), str(recording_id), False)
    ] * 2


async def test_a_hold_on_a_recording_that_has_ended_is_in_the_store_at_once_and_the_sweeper_keeps_off(
    stage: Stage,
) -> None:
    work = await stage.processed(await stage.recorded(SHORT))
    stray = f"{work.key_prefix}stray.mp4"
    stage.put(stray, b"whatever it is")
    first, second = await hold(stage, work.recording_id, "1"), await hold(stage, work.recording_id, "2")
    assert await mirror_hold(stage.records, stage.store, first)
    assert statuses(stage, work) == {"ON"}
    assert await stage.swept() == 0
    await lift(stage, first)
    await mirror_due(stage.records.recording_upkeep, stage.store)
    assert statuses(stage, work) == {"ON"}
    await lift(stage, second)
    # Whoever read the record before does not put the hold on again: the newest record is asked.
    assert not await mirror_hold(stage.records, stage.store, second)
    # Not mirrored yet, and disposed of all the same: the record decides.
    assert await expire(stage) == 1
    assert stray in stage.stored(work.recording_id)
    assert await stage.swept() == 1


async def test_a_hold_placed_while_an_older_record_is_applied_is_in_the_store_at_the_end_of_that_pass(
    stage: Stage,
) -> None:
    work = await stage.processed(await stage.recorded(SHORT))
    upkeep = stage.records.recording_upkeep

    async def place() -> None:
        assert await mirror_hold(stage.records, stage.store, await hold(stage, work.recording_id))

    with stopped(stage.store, place) as guarded:
        assert await mirror_due(upkeep, stage.store) == 1
    assert {is_held for _, is_held in guarded} == {True, False}
    assert statuses(stage, work) == {"ON"}
    assert await upkeep.unprotected(10) == []


async def test_custody_tells_who_did_what_to_a_recording_from_its_start_to_its_disposal(stage: Stage) -> None:
    work = await stage.processed(await stage.recorded(SHORT))
    recording = await stage.records.recordings.get("acme", work.recording_id)
    placed = await hold(stage, work.recording_id)
    checks, _ = await verify_stored_recording(stage.records, stage.store, recording, who="eve")
    assert [check.name for check in checks] == [file.name for file in work.files]
    assert all(check.ok for check in checks)
    await lift(stage, placed)
    await decide_disposal(stage.records, RECORDING, "acme", work.recording_id, by="ann", reason="asked to")
    await delete_disposed_recordings(stage.records.recording_upkeep, stage.store)
    untold = await custody(stage, work.recording_id)
    assert untold["entries"][-1]["detail"] == {"event": None}
    await stage.tell()
    document = await custody(stage, work.recording_id)
    entries = document["entries"]
    assert (document["format"], document["recording_id"]) == ("indelible-recording-custody/1", str(work.recording_id))
    stored = ["stored and read back"] * len(work.files)
    assert [entry["action"] for entry in entries] == [
        *("requested", "stopped", "acquired", *stored, "completed", "dropped"),
        *("hold placed", "verified", "hold lifted", "disposal decided"),
        *["deleted"] * len(work.files),
    ]
    assert [entry["number"] for entry in entries] == list(range(1, len(entries) + 1))
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    gone = {entry["object"]: entry["digest_before"] for entry in entries if entry["action"] == "deleted"}
    assert gone == {file.name: file.stored.sha256 for file in work.files}
    by_action = {entry["action"]: entry for entry in entries}
    assert by_action["verified"]["actor"] == {"kind": "person", "name": "eve"}
    assert by_action["hold lifted"]["detail"]["reason"] == "case closed"
    # Each names the event that tells of it, which is on the chain.
    kinds = {entry["action"]: entry["detail"].get("event") for entry in entries}
    assert {action for action, event in kinds.items() if event is None} == {"disposal decided"}
    named = {"hold placed": "hold.placed", "verified": "recording.accessed", "deleted": "recording.disposed"}
    for action, kind in named.items():
        chain, told, _ = stage.told[kinds[action]["sequence"] - 1]
        assert (chain, told) == ("operations", kind)


async def test_a_check_of_what_is_stored_finds_every_byte_that_changed_and_what_is_missing(
    stage: Stage, liar: LyingObjects
) -> None:
    cut = Left(tile=1, outcome="FAILED", is_told=False, uploads=(b"not a film", b"nor is this"))
    work = await stage.processed(await stage.recorded(SHORT, cut))
    recording = await stage.records.recordings.get("acme", work.recording_id)
    gone, changed = work.files[0], work.files[1]
    stage.store.delete(gone.stored)
    liar.lie(Fault.FLIP_ON_READ, key=changed.stored.key)
    liar.lie(Fault.SHORT_READ, key=f"{work.recording_id}/1-1.mp4", times=1)
    checks, _ = await verify_stored_recording(stage.records, stage.store, recording, who="eve")
    names = [check.name for check in checks]
    assert names == [*(file.name for file in work.files), "raw/1-1.mp4", "raw/1-1.mp4 (2)"]
    assert {check.name for check in checks if not check.ok} == {gone.name, changed.name, "raw/1-1.mp4"}
    (access,) = await stage.records.recording_accounts.accesses("acme", work.recording_id)
    assert (access.kind, access.who, access.detail["ok"]) == ("verify", "eve", False)


async def test_nothing_of_a_recording_in_the_making_or_disposed_of_is_read_back(stage: Stage) -> None:
    recording_id = await stage.recorded(SHORT)
    running = await stage.records.recordings.get("acme", recording_id)
    with pytest.raises(MediaError, match="not completed"):
        await verify_stored_recording(stage.records, stage.store, running, who="eve")
    work = await stage.processed(recording_id)
    done = await stage.records.recordings.get("acme", work.recording_id)
    assert await expire(stage) == 1
    # Read before the disposal, asked for after it: the access is refused where it is recorded.
    with pytest.raises(MediaError) as caught:
        await verify_stored_recording(stage.records, stage.store, done, who="eve")
    assert caught.value.reason is Reason.RECORDING_DISPOSED
