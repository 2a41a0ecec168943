"""Notes for the ledger in order, locks and holds to be mirrored, uploads nobody owns, and turns."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from psycopg import errors

from media.records.kept import CLIP
from media.records.records import Records
from media.records.values import Clip, OutboxNote, Protection
from media.storage.values import ListedObject
from sandbox.database import Database
from tests.media.records.recording import (
    DISPOSAL,
    asked,
    claimed,
    dispose,
    failed,
    hold,
    lift,
    make_clip,
    noted,
    preserved,
    retention_of,
)

HASH = "cd" * 32


async def sent(records: Records, note: OutboxNote, sequence: int = 1) -> None:
    await records.note_sent(note.note_id, sequence=sequence, event_hash=HASH)


async def protection(records: Records, clip_id: UUID) -> Protection:
    found = await records.protection(clip_id)
    assert found is not None
    return found


def later() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


async def test_notes_are_due_in_the_order_things_happened_with_a_key_that_stays(records: Records) -> None:
    clip = await make_clip(records)
    placed = await hold(records, clip)
    await lift(records, clip, placed)
    due = await records.due_notes(10)
    assert [note.idempotency_key for note in due] == [
        f"clip.preserved:{clip.clip_id}",
        f"hold.placed:{placed.hold_id}",
        f"hold.lifted:{placed.hold_id}",
    ]
    assert {(note.organisation_id, note.chain_id) for note in due} == {("acme", "operations")}
    assert await records.due_notes(10) == due  # until they are sent: a relay may die after each
    assert await records.due_notes(1) == due[:1]


async def test_a_note_that_was_sent_keeps_its_place_on_the_chain_and_never_changes(
    records: Records, database: Database
) -> None:
    clip = await make_clip(records)
    (note,) = await records.due_notes(10)
    await sent(records, note, 41)
    await sent(records, note, 42)  # a relay that did not know
    await records.note_refused(note.note_id, "too late")
    await records.note_failed(note.note_id, error="too late", again_at=later())
    assert await records.due_notes(10) == []
    (state,) = await records.clip_notes("acme", clip.clip_id)
    assert (state.sequence, state.event_hash, state.refusal) == (41, HASH, None)
    assert state.payload == {"subject": str(clip.clip_id)}
    with psycopg.connect(database.evidence_worker_dsn) as worker, pytest.raises(errors.RestrictViolation):
        worker.execute("UPDATE evidence.notes SET sequence = 7")


async def test_what_follows_a_note_that_cannot_be_sent_waits_for_it_on_that_chain_only(records: Records) -> None:
    clip = await make_clip(records)
    await hold(records, clip)
    other = await make_clip(records, organisation_id="zenith")
    first = (await records.due_notes(10))[0]
    await records.note_failed(first.note_id, error="the ledger is away", again_at=later())
    assert [note.idempotency_key for note in await records.due_notes(10)] == [f"clip.preserved:{other.clip_id}"]
    await records.note_failed(first.note_id, error="", again_at=datetime.now(UTC))
    again = await records.due_notes(10)
    assert (len(again), again[0].attempts) == (3, 2)


async def test_a_closed_session_chain_refuses_a_note_for_good_and_holds_nothing_up(records: Records) -> None:
    await records.request(asked(session_chain_id="visit-7"))
    job = await records.heartbeat(await claimed(records), "STORING")
    clip = job.clip
    notes = [*noted("clip.preserved", clip.clip_id), *noted("clip.preserved", clip.clip_id, "visit-7")]
    await records.finish(job, preserved(clip), notes)
    operations, session = await records.due_notes(10)
    await records.note_refused(session.note_id, "the chain is closed")
    assert [note.note_id for note in await records.due_notes(10)] == [operations.note_id]
    states = await records.clip_notes("acme", clip.clip_id)
    assert [(state.chain_id, state.refusal) for state in states] == [
        ("operations", None),
        ("visit-7", "the chain is closed"),
    ]


async def test_the_operations_chain_cannot_refuse(records: Records) -> None:
    await make_clip(records)
    (note,) = await records.due_notes(10)
    with pytest.raises(errors.RestrictViolation):
        await records.note_refused(note.note_id, "never mind")
    assert await records.due_notes(10) == [note]


async def test_a_clip_is_to_be_locked_once_made_and_again_whenever_a_hold_or_the_retention_changes(
    records: Records,
) -> None:
    clip = await make_clip(records)

    async def mirrored() -> list[tuple[bool, str, int]]:
        found = [await protection(records, clip_id) for clip_id in await records.unprotected(10)]
        for one in found:
            assert one.objects == clip.stored
            await records.protected(one, enforced=True)
        return [(one.held, one.lock_mode, one.retain_until - (clip.ended_at or 0)) for one in found]

    day = 86_400_000_000
    assert await mirrored() == [(False, "GOVERNANCE", 2_557 * day)]
    assert await mirrored() == []
    placed = await hold(records, clip)
    assert await mirrored() == [(True, "GOVERNANCE", 2_557 * day)]
    await lift(records, clip, placed)
    assert await mirrored() == [(False, "GOVERNANCE", 2_557 * day)]
    await retention_of(records, days=10, lock_mode="COMPLIANCE")
    assert await mirrored() == [(False, "COMPLIANCE", 10 * day)]
    assert (await records.get_clip("acme", clip.clip_id)).protection_enforced


async def test_a_hold_placed_while_the_store_is_being_told_is_told_next(records: Records) -> None:
    clip = await make_clip(records)
    before = await protection(records, clip.clip_id)
    await hold(records, clip)
    await records.protected(before, enforced=True)
    assert await records.unprotected(10) == [clip.clip_id]
    after = await protection(records, clip.clip_id)
    assert (before.held, after.held) == (False, True)
    await records.protected(after, enforced=True)
    await records.protected(before, enforced=True)  # a slow worker, afterwards
    assert await records.unprotected(10) == []


async def test_what_is_being_made_or_disposed_of_is_not_to_be_locked(records: Records) -> None:
    asked_for, _ = await records.request(asked())
    assert await records.protection(asked_for.clip_id) is None
    clip = await make_clip(records)
    await dispose(records, clip)
    assert await records.protection(clip.clip_id) is None
    assert await records.unprotected(10) == []


async def test_a_store_that_does_not_answer_is_told_later(records: Records) -> None:
    clip = await make_clip(records)
    await records.postpone_protection(clip.clip_id, error="away", again_at=later())
    assert await records.unprotected(10) == []
    await records.postpone_protection(clip.clip_id, error="away", again_at=datetime.now(UTC))
    assert len(await records.unprotected(10)) == 1


def listed(clip: Clip, name: str, version_id: str | None) -> ListedObject:
    return ListedObject(
        key=clip.key_prefix + name, version_id=version_id, size=1, modified_at=0, is_delete_marker=False
    )


async def test_only_what_an_ended_clip_left_and_nobody_owns_may_be_swept(records: Records) -> None:
    clip = await make_clip(records)
    indexed = listed(clip, "clip.mp4", "v1")
    orphans = [listed(clip, "clip.mp4", "v0"), listed(clip, "clip.mp4", None), listed(clip, "native-2.mp4", "v1")]
    strangers = [
        replace(indexed, key=key) for key in ("acme/clip.mp4", "clip.mp4", "zenith/2026/11/18/gate/inc-1/clip.mp4")
    ]
    everything = [indexed, *orphans, *strangers]
    assert await records.unowned(everything) == orphans
    placed = await hold(records, clip)
    assert await records.unowned(everything) == []
    await lift(records, clip, placed)
    assert await records.unowned(everything) == orphans
    assert await records.unowned([]) == []


async def test_what_a_clip_in_the_making_has_uploaded_is_never_swept_even_after_its_lease(records: Records) -> None:
    clip, _ = await records.request(asked())
    upload = listed(clip, "clip.mp4", "v1")
    assert await records.unowned([upload]) == []
    job = await records.claim(worker="one", lease_seconds=0.1)
    assert job is not None
    await asyncio.sleep(0.2)
    assert await records.unowned([upload]) == []


async def test_what_a_failed_clip_keeps_for_inspection_is_never_swept(records: Records) -> None:
    await records.request(asked())
    job = await claimed(records)
    clip = job.clip
    await records.fail(job, failed(clip), noted("clip.failed", clip.clip_id))
    kept, orphan = listed(clip, "clip.mp4", "v1"), listed(clip, "clip.mp4", "v2")
    assert await records.unowned([kept, orphan]) == [orphan]


async def test_whatever_appears_under_a_clip_that_was_disposed_of_is_swept(records: Records) -> None:
    clip = await make_clip(records)
    late = listed(clip, "clip.mp4", "v1")
    await records.begin_disposal(CLIP, "acme", clip.clip_id, DISPOSAL)
    assert await records.unowned([late]) == []
    await records.finish_disposal(clip, disposed_at=1, notes=noted("clip.disposed", clip.clip_id))
    assert await records.unowned([late]) == [late]


async def test_one_worker_at_a_time_has_a_turn_and_a_dead_one_loses_it(records: Records) -> None:
    answers = await asyncio.gather(*(records.take_turn("sweep", owner=f"w{number}", seconds=60) for number in range(6)))
    assert sum(answers) == 1
    winner = f"w{answers.index(True)}"
    assert await records.take_turn("sweep", owner=winner, seconds=0.2)
    assert await records.take_turn("relay", owner="other", seconds=60)
    await asyncio.sleep(0.3)
    assert await records.take_turn("sweep", owner="other", seconds=60)
    assert not await records.take_turn("sweep", owner=winner, seconds=60)
    await records.end_turn("sweep", owner=winner)  # not its turn to end
    assert not await records.take_turn("sweep", owner=winner, seconds=60)
    await records.end_turn("sweep", owner="other")
    assert await records.take_turn("sweep", owner=winner, seconds=60)
