"""Legal holds on recordings, asked for properly and attacked: a held recording stays whole, whoever wants it gone."""

import asyncio
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors

from media.errors import MediaError, Reason
from media.records.kept import RECORDING
from media.records.recording_values import Recording
from media.records.records import Records
from media.records.values import Hold
from sandbox.database import Database
from tests.media.records.recording import DISPOSAL, hold, lift, make_clip, noted, now_us, reason_of, several_records
from tests.media.records.test_recording_guards import ended, running
from tests.media.records.test_records_guards import ATTACKERS

WRITERS = ("worker's role", "owner", "superuser")
SETTLE = 0.5


async def failed(records: Records, database: Database, session: str = "s-1") -> Recording:
    """A recording that has ended: one of which nothing came has no files, but may be held and disposed of like any."""
    recording = await ended(records, await running(records, session))
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute(FAIL, {"recording_id": recording.recording_id})
        connection.execute(
            """INSERT INTO evidence.notes (organisation_id, chain_id, kind, subject_id, recording_id, payload)
               VALUES ('acme', 'operations', 'recording.failed', %(id)s, %(id)s, '{}')""",
            {"id": recording.recording_id},
        )
    return await found(records, recording)


async def found(records: Records, recording: Recording) -> Recording:
    return await records.recordings.get(recording.organisation_id, recording.recording_id)


async def dispose(records: Records, recording: Recording, organisation_id: str = "acme") -> Recording:
    await records.begin_disposal(RECORDING, organisation_id, recording.recording_id, DISPOSAL)
    return await found(records, recording)


async def test_a_recording_is_kept_until_the_last_of_its_holds_is_lifted(records: Records, database: Database) -> None:
    recording = await failed(records, database)
    first, second = await hold(records, recording), await hold(records, recording, reason="case 8")
    assert await reason_of(dispose(records, recording)) is Reason.RECORDING_HELD
    assert await records.due_for_disposal(RECORDING, now=now_us() + 10**18, limit=9) == []
    lifted = await lift(records, recording, first)
    assert [one.hold_id for one in (await found(records, recording)).holds] == [second.hold_id]
    assert await reason_of(dispose(records, recording)) is Reason.RECORDING_HELD
    await lift(records, recording, second)
    assert await records.due_for_disposal(RECORDING, now=now_us() + 10**18, limit=9) == [
        ("acme", recording.recording_id)
    ]
    assert (await dispose(records, recording)).state == "DISPOSING"
    assert (await dispose(records, recording)).disposal == DISPOSAL
    assert (await records.holds(RECORDING, "acme", recording.recording_id))[0] == lifted
    notes = await records.recording_accounts.notes("acme", recording.recording_id)
    assert [note.kind for note in notes][-4:] == ["hold.placed", "hold.placed", "hold.lifted", "hold.lifted"]
    assert await reason_of(hold(records, recording)) is Reason.RECORDING_DISPOSED


async def test_a_recording_is_held_while_it_runs_and_is_not_disposed_of_before_its_end(
    records: Records, database: Database
) -> None:
    recording = await running(records)
    await hold(records, recording)
    assert await reason_of(dispose(records, recording)) is Reason.RECORDING_NOT_COMPLETED
    assert len((await found(records, recording)).holds) == 1


async def test_one_key_gives_one_hold_whatever_it_is_on(records: Records) -> None:
    recording, clip = await running(records), await make_clip(records)
    answers = await asyncio.gather(*(hold(records, recording, key="k") for _ in range(4)))
    assert len({one.hold_id for one in answers}) == 1
    assert await reason_of(hold(records, clip, key="k")) is Reason.IDEMPOTENCY_CONFLICT
    assert await reason_of(hold(records, recording, key="k", reason="another")) is Reason.IDEMPOTENCY_CONFLICT


async def test_another_organisation_can_neither_hold_nor_lift_nor_dispose_nor_look(
    records: Records, database: Database
) -> None:
    recording = await failed(records, database)
    placed = await hold(records, recording)
    theirs = Hold(hold_id=uuid4(), recording_id=recording.recording_id, reason="x", placed_by="x", placed_at=1)
    refused = records.place_hold("zenith", theirs, idempotency_key="k", notes=noted("hold.placed", theirs.hold_id))
    assert await reason_of(refused) is Reason.RECORDING_NOT_FOUND
    assert await reason_of(dispose(records, recording, "zenith")) is Reason.RECORDING_NOT_FOUND
    assert await reason_of(records.get_hold("zenith", placed.hold_id)) is Reason.HOLD_NOT_FOUND
    assert await records.holds(RECORDING, "zenith", recording.recording_id) == []
    assert await records.recording_accounts.notes("zenith", recording.recording_id) == []
    assert await reason_of(records.recording_accounts.work("zenith", recording.recording_id)) is (
        Reason.RECORDING_NOT_FOUND
    )


async def test_a_hold_and_a_disposal_at_once_never_both_succeed(database: Database) -> None:
    async with several_records(database, 2) as (one, two):
        for number in range(8):
            recording = await failed(one, database, f"s-{number}")
            acts = [hold(one, recording), dispose(two, recording)]
            outcome = await asyncio.gather(*(acts if number % 2 else acts[::-1]), return_exceptions=True)
            now = await found(one, recording)
            assert bool(now.holds) != (now.state == "DISPOSING")
            (refused,) = [answer for answer in outcome if isinstance(answer, MediaError)]
            assert refused.reason in {Reason.RECORDING_HELD, Reason.RECORDING_DISPOSED}


INSERT_HOLD = """
INSERT INTO evidence.holds (hold_id, recording_id, organisation_id, idempotency_key, reason, placed_by, placed_at)
VALUES (%(hold_id)s, %(recording_id)s, 'acme', 'k', 'case', 'rosa', 0)
"""
INSERT_NOTE = """
INSERT INTO evidence.notes (organisation_id, chain_id, kind, subject_id, recording_id, payload)
VALUES ('acme', 'operations', 'hold.placed', %(hold_id)s, %(recording_id)s, '{}')
"""
BEGIN = """
UPDATE evidence.recordings SET state = 'DISPOSING', disposal_by = 'x', disposal_reason = 'y', disposal_decided_at = 0
 WHERE recording_id = %(recording_id)s
"""
FAIL = """
UPDATE evidence.recordings SET state = 'FAILED', failure_reason = 'x', failure_message = 'y', ended_at = 1
 WHERE recording_id = %(recording_id)s
"""
DROP = """
INSERT INTO evidence.recording_raw_ends (raw_id, recording_id, organisation_id, fate, why, decided_at)
VALUES (uuidv7(), %(recording_id)s, 'acme', 'DROPPED', 'x', 1)
"""


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("wanted", [BEGIN, DROP], ids=["a disposal", "the end of a raw object"])
async def test_what_waits_for_an_uncommitted_hold_is_refused_once_it_is_there(
    records: Records, database: Database, isolation: str, wanted: str
) -> None:
    recording = await failed(records, database)
    about = {"recording_id": recording.recording_id, "hold_id": uuid4()}
    async with (
        await psycopg.AsyncConnection.connect(database.evidence_dsn) as holder,
        await psycopg.AsyncConnection.connect(database.evidence_worker_dsn, autocommit=True) as disposer,
    ):
        await disposer.execute(f"BEGIN ISOLATION LEVEL {isolation}".encode())
        # The snapshot is taken now: what commits later is invisible to this transaction.
        await disposer.execute("SELECT count(*) FROM evidence.holds")
        await holder.execute("SELECT set_config('indelible.organisation', 'acme', true)")
        await holder.execute(INSERT_HOLD, about)
        await holder.execute(INSERT_NOTE, about)
        waiting = asyncio.create_task(disposer.execute(wanted.encode(), about))
        await asyncio.sleep(SETTLE)
        assert not waiting.done()
        await holder.commit()
        with pytest.raises(
            (errors.IntegrityConstraintViolation, errors.SerializationFailure), match=r"legal hold stands|serialize"
        ):
            await waiting
        await disposer.execute("ROLLBACK")
    assert (await found(records, recording)).state == "FAILED"


@pytest.fixture(scope="module")
def held(module_database: Database) -> dict[str, UUID]:
    """A held recording that waits for processing, its hold, and another recording without one."""

    async def fill() -> dict[str, UUID]:
        async with several_records(module_database, 1) as (records,):
            recording = await ended(records, await running(records, "held"))
            placed = await hold(records, recording)
            other = await ended(records, await running(records, "other"))
            return {
                "recording_id": recording.recording_id,
                "hold_id": placed.hold_id,
                "other_id": other.recording_id,
            }

    return asyncio.run(fill())


@pytest.mark.parametrize("attacker", WRITERS)
def test_nobody_disposes_of_a_held_recording_or_drops_its_raw_objects(
    module_database: Database, held: dict[str, UUID], attacker: str
) -> None:
    dsn, command = ATTACKERS[attacker]
    with psycopg.connect(getattr(module_database, dsn)) as connection:
        connection.execute("SET LOCAL indelible.organisation = 'acme'")
        if command:
            connection.execute(command.encode())
        connection.execute(FAIL, held)
        for attack in (BEGIN, DROP):
            with (
                pytest.raises(errors.IntegrityConstraintViolation, match="a legal hold stands"),
                connection.transaction(),
            ):
                connection.execute(attack.encode(), held)
        connection.rollback()


LIFT = """
INSERT INTO evidence.hold_lifts (hold_id, {names}, organisation_id, reason, lifted_by, lifted_at)
VALUES (%(hold_id)s, {values}, 'acme', 'x', 'y', 1)
"""


@pytest.mark.parametrize("attacker", ["callers' role", "owner", "superuser"])
@pytest.mark.parametrize(
    ("statement", "refused"),
    [
        (LIFT.format(names="recording_id", values="%(other_id)s"), errors.ForeignKeyViolation),
        (LIFT.format(names="clip_id", values="NULL"), errors.CheckViolation),
        (LIFT.format(names="recording_id, clip_id", values="%(recording_id)s, uuidv7()"), errors.IntegrityError),
        (LIFT.format(names="recording_id", values="%(recording_id)s"), errors.IntegrityConstraintViolation),
        (INSERT_HOLD.replace("%(hold_id)s", "uuidv7()"), errors.IntegrityConstraintViolation),
    ],
    ids=["by way of another recording", "on nothing", "on two things", "lifted in silence", "placed in silence"],
)
def test_a_hold_on_a_recording_is_neither_slipped_off_nor_changed_in_silence(
    module_database: Database,
    held: dict[str, UUID],
    attacker: str,
    statement: str,
    refused: type[psycopg.Error],
) -> None:
    dsn, command = ATTACKERS[attacker]
    if attacker == "superuser" and refused is errors.ForeignKeyViolation:
        command = ""  # foreign keys are ordinary triggers: who plays a replica switches them off, for clips as well
    with psycopg.connect(getattr(module_database, dsn)) as connection:
        connection.execute("SET LOCAL indelible.organisation = 'acme'")
        if command:
            connection.execute(command.encode())
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        with pytest.raises(refused):
            connection.execute(statement.encode(), held)
        connection.rollback()
