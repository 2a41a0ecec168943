"""Holds and disposal: whichever comes first is whole, and the other one is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest

from media.errors import MediaError, Reason
from media.records.kept import CLIP
from media.records.records import Records
from media.records.values import Clip, Hold
from sandbox.database import Database
from tests.media.records.recording import (
    access,
    asked,
    claimed,
    dispose,
    failed,
    hold,
    lift,
    make_clip,
    noted,
    now_us,
    reason_of,
    several_records,
)


async def test_a_clip_is_kept_until_the_last_of_its_holds_is_lifted(records: Records) -> None:
    clip = await make_clip(records)
    first, second = await hold(records, clip), await hold(records, clip, reason="case 8")
    assert await reason_of(dispose(records, clip)) is Reason.CLIP_HELD
    await lift(records, clip, first)
    assert [one.hold_id for one in (await records.get_clip("acme", clip.clip_id)).holds] == [second.hold_id]
    assert await reason_of(dispose(records, clip)) is Reason.CLIP_HELD
    await lift(records, clip, second)
    assert (await dispose(records, clip)).state == "DISPOSING"


async def test_what_was_placed_and_lifted_stays_on_record(records: Records) -> None:
    clip = await make_clip(records)
    placed = await hold(records, clip)
    lifted = await lift(records, clip, placed)
    assert await records.holds(CLIP, "acme", clip.clip_id) == [lifted]
    assert (lifted.reason, lifted.placed_by, lifted.lift_reason, lifted.lifted_by) == (
        "case 7",
        "rosa",
        "settled",
        "rosa",
    )
    assert [note.kind for note in await records.clip_notes("acme", clip.clip_id)] == [
        "clip.preserved",
        "hold.placed",
        "hold.lifted",
    ]


async def test_a_hold_is_lifted_once_and_asking_again_gives_the_first_answer(records: Records) -> None:
    clip = await make_clip(records)
    placed = await hold(records, clip)
    answers = await asyncio.gather(
        *(
            records.lift_hold(
                "acme",
                placed.hold_id,
                by=f"user {number}",
                reason="settled",
                at=number,
                notes=noted("hold.lifted", placed.hold_id),
            )
            for number in range(6)
        )
    )
    assert sum(now for _, now in answers) == 1
    assert len({one.lifted_by for one, _ in answers}) == 1
    assert await reason_of(records.get_hold("zenith", placed.hold_id)) is Reason.HOLD_NOT_FOUND
    assert await reason_of(records.get_hold("acme", uuid4())) is Reason.HOLD_NOT_FOUND


async def test_the_same_key_gives_the_first_hold_and_cannot_be_used_for_another(records: Records) -> None:
    clip, other = await make_clip(records), await make_clip(records, "inc-2")
    answers = await asyncio.gather(*(hold(records, clip, key="k") for _ in range(6)))
    assert len({one.hold_id for one in answers}) == 1
    assert len(await records.holds(CLIP, "acme", clip.clip_id)) == 1
    assert await reason_of(hold(records, other, key="k")) is Reason.IDEMPOTENCY_CONFLICT
    assert await reason_of(hold(records, clip, key="k", reason="case 9")) is Reason.IDEMPOTENCY_CONFLICT


@pytest.mark.parametrize(
    ("reason", "by"), [("", "rosa"), (" \n", "rosa"), ("x" * 1_001, "rosa"), ("a\x00b", "rosa"), ("case", " ")]
)
async def test_a_hold_without_a_reason_or_a_user_is_refused(records: Records, reason: str, by: str) -> None:
    clip = await make_clip(records)
    one = Hold(hold_id=uuid4(), clip_id=clip.clip_id, reason=reason, placed_by=by, placed_at=now_us())
    refused = records.place_hold("acme", one, idempotency_key="k", notes=noted("hold.placed", one.hold_id))
    assert await reason_of(refused) is Reason.INVALID_ARGUMENT


async def test_a_clip_is_held_before_it_is_made_and_after_it_failed_but_never_once_disposal_began(
    records: Records,
) -> None:
    done = await make_clip(records, "inc-2")
    clip, _ = await records.request(asked())
    await hold(records, clip)
    job = await claimed(records)
    await records.fail(job, failed(clip), noted("clip.failed", clip.clip_id))
    await hold(records, clip)
    assert len((await records.get_clip("acme", clip.clip_id)).holds) == 2
    await dispose(records, done)
    assert await reason_of(hold(records, done)) is Reason.CLIP_DISPOSED
    await records.finish_disposal(done, disposed_at=now_us(), notes=noted("clip.disposed", done.clip_id))
    assert await reason_of(hold(records, done)) is Reason.CLIP_DISPOSED


async def test_another_organisation_can_neither_hold_nor_dispose_nor_look(records: Records) -> None:
    clip = await make_clip(records)
    placed = await hold(records, clip)
    stranger = replace(clip, organisation_id="zenith")
    assert await reason_of(hold(records, stranger)) is Reason.CLIP_NOT_FOUND
    assert await reason_of(dispose(records, stranger)) is Reason.CLIP_NOT_FOUND
    assert await reason_of(access(records, stranger)) is Reason.CLIP_NOT_FOUND
    assert await reason_of(lift(records, stranger, placed)) is Reason.HOLD_NOT_FOUND
    assert await records.holds(CLIP, "zenith", clip.clip_id) == []
    assert await records.accesses("zenith", clip.clip_id) == []
    assert await records.clip_notes("zenith", clip.clip_id) == []


Act = Callable[[Records, Clip], Awaitable[object]]


@pytest.mark.parametrize(("first", "then"), [(hold, dispose), (dispose, hold)])
async def test_a_hold_and_a_disposal_at_once_never_both_succeed(database: Database, first: Act, then: Act) -> None:
    """Twelve clips, each attacked by both from different processes' pools, in either order of arrival."""
    outcomes = []
    async with several_records(database, 2) as (one, two):
        for number in range(12):
            clip = await make_clip(one, f"inc-{number}")
            outcomes.append(await asyncio.gather(first(one, clip), then(two, clip), return_exceptions=True))
            state = await one.get_clip("acme", clip.clip_id)
            assert bool(state.holds) != (state.state == "DISPOSING")
    for outcome in outcomes:
        refused = [answer for answer in outcome if isinstance(answer, MediaError)]
        assert [answer.reason for answer in refused] in ([Reason.CLIP_HELD], [Reason.CLIP_DISPOSED])


SETTLE = 0.5


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
async def test_a_disposal_that_waits_for_an_uncommitted_hold_is_refused_once_it_is_there(
    records: Records, database: Database, isolation: str
) -> None:
    clip = await make_clip(records)
    hold_id = uuid4()
    async with (
        await psycopg.AsyncConnection.connect(database.evidence_dsn) as holder,
        await psycopg.AsyncConnection.connect(database.evidence_worker_dsn, autocommit=True) as disposer,
    ):
        await disposer.execute(f"BEGIN ISOLATION LEVEL {isolation}".encode())
        # The snapshot is taken now: what commits later is invisible to this transaction.
        await disposer.execute("SELECT count(*) FROM evidence.holds")
        await insert_hold(holder, clip, hold_id)
        waiting = asyncio.create_task(begin(disposer, clip))
        await asyncio.sleep(SETTLE)
        assert not waiting.done()
        await holder.commit()
        with pytest.raises((psycopg.errors.IntegrityConstraintViolation, psycopg.errors.SerializationFailure)):
            await waiting
        await disposer.execute("ROLLBACK")
    assert (await records.get_clip("acme", clip.clip_id)).state == "PRESERVED"


async def test_a_hold_that_waits_for_an_uncommitted_disposal_is_refused_once_it_is_there(
    records: Records, database: Database
) -> None:
    clip = await make_clip(records)
    async with await psycopg.AsyncConnection.connect(database.evidence_worker_dsn) as disposer:
        await begin(disposer, clip)
        waiting = asyncio.create_task(hold(records, clip))
        await asyncio.sleep(SETTLE)
        assert not waiting.done()
        await disposer.commit()
        assert await reason_of(waiting) is Reason.CLIP_DISPOSED


async def insert_hold(connection: psycopg.AsyncConnection, clip: Clip, hold_id: object) -> None:
    await connection.execute("SELECT set_config('indelible.organisation', 'acme', true)")
    await connection.execute(
        "INSERT INTO evidence.holds VALUES (%s, %s, 'acme', 'k', 'case', 'rosa', 0)", (hold_id, clip.clip_id)
    )
    await connection.execute(
        """INSERT INTO evidence.notes (organisation_id, chain_id, kind, subject_id, clip_id, payload)
           VALUES ('acme', 'operations', 'hold.placed', %s, %s, '{}')""",
        (hold_id, clip.clip_id),
    )


async def begin(connection: psycopg.AsyncConnection, clip: Clip) -> None:
    await connection.execute(
        """UPDATE evidence.clips SET state = 'DISPOSING', disposal_by = 'x', disposal_reason = 'y',
                  disposal_decided_at = 0 WHERE clip_id = %s""",
        (clip.clip_id,),
    )


async def test_every_access_is_on_record_with_its_note(records: Records) -> None:
    clip = await make_clip(records)
    one = await access(records, clip)
    assert await records.accesses("acme", clip.clip_id) == [one]
    notes = await records.clip_notes("acme", clip.clip_id)
    assert [note.subject_id for note in notes if note.kind == "clip.accessed"] == [one.access_id]


async def test_no_access_is_granted_once_disposal_began(records: Records) -> None:
    clip = await make_clip(records)
    await dispose(records, clip)
    assert await reason_of(access(records, clip)) is Reason.CLIP_DISPOSED
    await records.finish_disposal(clip, disposed_at=now_us(), notes=noted("clip.disposed", clip.clip_id))
    assert await reason_of(access(records, clip)) is Reason.CLIP_DISPOSED
    assert await records.accesses("acme", clip.clip_id) == []


async def test_an_access_that_waits_for_an_uncommitted_disposal_is_refused_once_it_is_there(
    records: Records, database: Database
) -> None:
    clip = await make_clip(records)
    async with await psycopg.AsyncConnection.connect(database.evidence_worker_dsn) as disposer:
        await begin(disposer, clip)
        waiting = asyncio.create_task(access(records, clip))
        await asyncio.sleep(SETTLE)
        assert not waiting.done()
        await disposer.commit()
        assert await reason_of(waiting) is Reason.CLIP_DISPOSED
