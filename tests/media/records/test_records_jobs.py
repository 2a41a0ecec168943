"""Jobs: leased to one worker at a time, taken over when it dies, and finished by whoever holds the lease."""

import asyncio
from datetime import datetime

import psycopg
import pytest
from psycopg import errors

from media.records.records import Records
from media.records.values import ClipState, Job, LeaseLostError
from sandbox.database import Database
from tests.media.records.recording import (
    ROLES,
    asked,
    claimed,
    expire_leases,
    failed,
    make_clip,
    noted,
    preserved,
    several_records,
)


async def storing(records: Records) -> Job:
    await records.request(asked())
    return await records.heartbeat(await claimed(records), "STORING")


async def test_workers_at_the_same_time_get_different_clips(database: Database) -> None:
    async with several_records(database, 3) as workers:
        for number in range(6):
            await workers[0].request(asked(f"inc-{number}"))
        jobs = await asyncio.gather(
            *(workers[number % 3].claim(worker=f"w{number}", lease_seconds=600) for number in range(9))
        )
    taken = [job.clip.clip_id for job in jobs if job is not None]
    assert len(taken) == len(set(taken)) == 6


async def test_a_leased_clip_is_taken_over_when_the_lease_has_run_out(records: Records, database: Database) -> None:
    await records.request(asked())
    first = await records.claim(worker="one", lease_seconds=600)
    assert first is not None
    assert await records.claim(worker="two", lease_seconds=60) is None
    expire_leases(database)
    second = await records.claim(worker="two", lease_seconds=60)
    assert second is not None
    assert (second.clip.clip_id, second.attempt) == (first.clip.clip_id, 2)


async def test_a_heartbeat_keeps_the_lease_and_says_how_far_the_job_is(records: Records, database: Database) -> None:
    await records.request(asked())
    job = await claimed(records)
    states: list[ClipState | None] = ["EXTRACTING", "STORING", None]
    for state in states:
        before = leased_until(database)
        job = await records.heartbeat(job, state)
        assert leased_until(database) > before
        assert await records.claim(worker="two", lease_seconds=60) is None
    assert (await records.get_clip("acme", job.clip.clip_id)).state == "STORING"


def leased_until(database: Database) -> datetime:
    with psycopg.connect(database.admin_dsn) as connection:
        ((until,),) = connection.execute("SELECT leased_until FROM evidence.clips").fetchall()
    assert isinstance(until, datetime)
    return until


async def test_whoever_lost_the_lease_changes_nothing_any_more(records: Records, database: Database) -> None:
    slow = await storing(records)
    clip = slow.clip
    expire_leases(database)
    successor = await claimed(records)
    for late in (
        records.heartbeat(slow),
        records.wait(slow, again_in_seconds=0, why=""),
        records.retry_later(slow, again_in_seconds=0, error="x"),
        records.finish(slow, preserved(clip), noted("clip.preserved", clip.clip_id)),
        records.fail(slow, failed(clip), noted("clip.failed", clip.clip_id)),
    ):
        with pytest.raises(LeaseLostError):
            await late
    await records.finish(
        await records.heartbeat(successor, "STORING"), preserved(clip), noted("clip.preserved", clip.clip_id)
    )
    found = await records.get_clip("acme", clip.clip_id)
    assert found.state == "PRESERVED"
    assert len(await records.clip_notes("acme", clip.clip_id)) == 1


async def test_a_lease_that_ran_out_is_lost_even_if_nobody_took_the_job_over(
    records: Records, database: Database
) -> None:
    job = await storing(records)
    expire_leases(database)
    with pytest.raises(LeaseLostError):
        await records.finish(job, preserved(job.clip), noted("clip.preserved", job.clip.clip_id))
    assert (await records.get_clip("acme", job.clip.clip_id)).artefacts == ()


async def test_waiting_for_footage_is_no_attempt_and_failing_is_one(records: Records) -> None:
    await records.request(asked())
    await records.wait(await claimed(records), again_in_seconds=0, why="the window reaches into the future")
    job = await claimed(records)
    assert (job.clip.state, job.attempt) == ("WAITING", 1)
    await records.retry_later(job, again_in_seconds=0, error="store\x00 away" + "x" * 10_000)
    again = await claimed(records)
    assert again.attempt == 2
    assert again.clip.last_error.startswith("store away")
    await records.retry_later(again, again_in_seconds=600, error="still away")
    assert await records.claim(worker="two", lease_seconds=60) is None


async def test_a_failed_clip_keeps_what_it_left_in_the_store(records: Records) -> None:
    job = await storing(records)
    await records.fail(job, failed(job.clip), noted("clip.failed", job.clip.clip_id))
    clip = await records.get_clip("acme", job.clip.clip_id)
    assert (clip.state, clip.failure_reason, clip.artefacts) == ("FAILED", "STORED_MISMATCH", ())
    assert clip.kept == failed(clip).kept
    assert [stored.key for stored in clip.stored] == [clip.key_prefix + "clip.mp4"]
    assert await records.claim(worker="two", lease_seconds=60) is None
    again, created = await records.request(asked())
    assert (again.clip_id, created) == (clip.clip_id, False)


@pytest.mark.parametrize("note", [None, ("clip.failed", "operations"), ("clip.preserved", "visit-7")])
async def test_no_clip_is_preserved_in_silence(records: Records, note: tuple[str, str] | None) -> None:
    job = await storing(records)
    notes = [] if note is None else noted(note[0], job.clip.clip_id, note[1])
    with pytest.raises(errors.IntegrityConstraintViolation, match=r"no note clip\.preserved"):
        await records.finish(job, preserved(job.clip), notes)
    assert (await records.get_clip("acme", job.clip.clip_id)).state == "STORING"


@pytest.mark.parametrize("missing", ["native.mp4", "clip.mp4", "metadata.json", "custody.json"])
async def test_no_clip_is_preserved_without_copy_clip_metadata_and_custody(records: Records, missing: str) -> None:
    job = await storing(records)
    names = tuple(name for name in ROLES if name != missing)
    with pytest.raises(errors.IntegrityConstraintViolation, match="must be stored first"):
        await records.finish(job, preserved(job.clip, names), noted("clip.preserved", job.clip.clip_id))
    assert (await records.get_clip("acme", job.clip.clip_id)).artefacts == ()


async def test_an_artefact_under_another_clips_key_is_refused(records: Records) -> None:
    other = await make_clip(records, "inc-0")
    job = await storing(records)
    with pytest.raises(errors.IntegrityConstraintViolation, match="not one of the clip"):
        await records.finish(job, preserved(other), noted("clip.preserved", job.clip.clip_id))


async def test_a_commit_whose_answer_was_lost_is_found_to_have_happened(records: Records, database: Database) -> None:
    job = await storing(records)
    await records.finish(job, preserved(job.clip), noted("clip.preserved", job.clip.clip_id))
    with pytest.raises(LeaseLostError):  # the worker repeats what it does not know to be done
        await records.finish(job, preserved(job.clip), noted("clip.preserved", job.clip.clip_id))
    with psycopg.connect(database.admin_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM evidence.notes").fetchone() == (1,)


async def test_what_waits_is_counted(records: Records) -> None:
    await make_clip(records)
    await records.request(asked("inc-2"))
    counts = await records.pending()
    assert (counts.clips, counts.notes, counts.disposals, counts.unprotected) == (1, 1, 0, 1)
    assert counts.oldest_clip_at == asked().requested_at
