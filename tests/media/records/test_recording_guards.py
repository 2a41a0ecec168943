"""The records of recordings attacked directly, by everybody who could."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from media.errors import Reason
from media.recordings.session_events import (
    consent_note,
    started_note,
    stay_ended_note,
    stay_started_note,
    stopped_note,
)
from media.records.recording_values import Consent, Member, NewRecording, Recording, Stay, StayEnd, new_id
from media.records.records import Records
from media.storage.keys import raw_recording_key
from sandbox.database import Database
from tests.media.records.recording import now_us, reason_of, several_records
from tests.media.records.test_records_guards import ATTACKERS, ROLES

INSERT_ONLY = (
    *("recording_consents", "recording_participants", "recording_webhooks", "recording_remarks"),
    *("recording_annotations", "recording_raws", "recording_raw_ends", "recording_files", "recording_accesses"),
)
NEVER_REMOVED = ("recordings", "recording_stays", "recording_jobs")
WRITERS = ("worker's role", "owner", "superuser")
Attack = Callable[[str], psycopg.Connection]


async def consent(records: Records, who: str, act: Any = "GIVEN", *, session: str = "s-1", org: str = "acme") -> None:
    one = Consent(
        consent_id=uuid4(),
        organisation_id=org,
        session_chain_id=session,
        participant=who,
        role="OPERATOR" if who == "ann" else "FIELD",
        act=act,
        notice="banner 3",
        recorded_by="gateway",
        recorded_at=now_us(),
    )
    await records.recordings.add_consent(one, idempotency_key=str(one.consent_id), note=consent_note(one))


async def begin(records: Records, *, session: str = "s-1", org: str = "acme", room: str = "") -> Recording | None:
    wanted = NewRecording(
        recording_id=new_id(),
        organisation_id=org,
        session_chain_id=session,
        room=room or f"{org}:{session}",
        operator="ann",
        composite="FROM_FILES",
        annotations_expected=False,
        stream_copy=False,
        requested_by="gateway",
        started_at=now_us(),
        members=(
            Member(participant="ann", role="OPERATOR", tile=0, first_seen_at=1),
            Member(participant="bob", role="FIELD", tile=1, first_seen_at=1),
        ),
    )
    consents = await records.recordings.consents(org, session)
    note = started_note(wanted, consents) if {"ann", "bob"} <= consents.keys() else None
    return await records.recordings.begin(wanted, note=note)  # type: ignore[arg-type]  # refused before it is kept


async def running(records: Records, session: str = "s-1", org: str = "acme") -> Recording:
    for who in ("ann", "bob"):
        await consent(records, who, session=session, org=org)
    recording = await begin(records, session=session, org=org)
    assert recording is not None
    return recording


def stay_of(recording: Recording, who: str = "ann", number: int = 1) -> Stay:
    tile = 0 if who == "ann" else 1
    return Stay(
        stay_id=new_id(),
        recording_id=recording.recording_id,
        part="participant",
        participant=who,
        tile=tile,
        number=number,
        raw_key=raw_recording_key(recording.organisation_id, recording.recording_id, tile, number),
        asked_at=now_us(),
    )


async def recorded(records: Records, recording: Recording, who: str = "ann") -> Stay:
    stay = stay_of(recording, who)
    assert await records.attendance.ask(recording, stay)
    note = stay_started_note(recording, stay, None, egress_id=f"EG_{stay.stay_id}", started_at=1)
    await records.attendance.note_active(recording, stay, egress_id=f"EG_{stay.stay_id}", started_at=1, note=note)
    return stay


async def ended(records: Records, recording: Recording) -> Recording:
    stay = await recorded(records, recording)
    end = StayEnd(outcome="COMPLETE", ended_at=2)
    await records.attendance.end_stay(recording, stay, end, stay_ended_note(recording, stay, end))
    note = stopped_note(recording, by="x", reason="y", at=3)
    await records.attendance.stop(recording, by="x", reason="y", at=3, note=note)
    await records.attendance.hand_to_processing(recording)
    return await records.attendance.get(recording.recording_id)


@pytest.fixture(scope="module")
def made(module_database: Database) -> dict[str, Recording]:
    """A recording that runs with one egress, one that waits for processing, and one of another organisation."""

    async def fill() -> dict[str, Recording]:
        async with several_records(module_database, 1) as (records,):
            runs = await running(records, "runs")
            await recorded(records, runs)
            await records.attendance.remark(runs, "something", at=1)
            waits = await ended(records, await running(records, "waits"))
            await running(records, "runs", "zenith")
            return {"runs": await records.attendance.get(runs.recording_id), "waits": waits}

    return asyncio.run(fill())


@pytest.fixture
def attack(module_database: Database, made: dict[str, Recording]) -> Iterator[Attack]:
    """The connection of an attacker, in a transaction of acme's that is rolled back after the test."""
    with ExitStack() as stack:

        def start(attacker: str) -> psycopg.Connection:
            dsn, command = ATTACKERS[attacker]
            connection = stack.enter_context(psycopg.connect(getattr(module_database, dsn)))
            stack.callback(connection.rollback)
            connection.execute("SET LOCAL indelible.organisation = 'acme'")
            if command:
                connection.execute(command.encode())
            return connection

        yield start


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_nobody_removes_a_row_of_a_recording(attack: Attack, attacker: str) -> None:
    connection = attack(attacker)
    for table in (*INSERT_ONLY, *NEVER_REMOVED):
        for command in (f"DELETE FROM evidence.{table}", f"TRUNCATE evidence.{table} CASCADE"):
            with pytest.raises((errors.InsufficientPrivilege, errors.RestrictViolation)), connection.transaction():
                connection.execute(command.encode())


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_nobody_changes_who_consented_took_part_or_was_given_what(attack: Attack, attacker: str) -> None:
    connection = attack(attacker)
    for table in INSERT_ONLY:
        with pytest.raises((errors.InsufficientPrivilege, errors.RestrictViolation)), connection.transaction():
            connection.execute(f"UPDATE evidence.{table} SET organisation_id = 'x'".encode())


OF_RECORDING = (
    *("session_chain_id = 'x'", "room = 'x'", "operator = 'x'", "composite = 'ROOM'", "requested_by = 'x'"),
    *("annotations_expected = true", "stream_copy = true", "started_at = 0", "key_prefix = 'x'"),
    *("state = 'WAITING'", "state = 'COMPLETED'", "state = 'FAILED'", "state = 'DISPOSED'", "state = 'STOPPING'"),
    *("stopped_at = 1", "ended_at = 1", "facts = '{}'", "failure_reason = 'x'", "disposed_at = 1"),
    *("disposal_by = 'x'", "protection_done = 1", "protection_wanted = -1"),
)
OF_STAY = (
    *("participant = 'x'", "tile = 1", "number = 9", "raw_key = 'x'", "asked_at = 0", "egress_id = 'EG_x'"),
    *("started_at = 9", "state = 'ASKED'", "state = 'STOPPING'", "outcome = 'COMPLETE'", "file_size = 1"),
    *("error = 'x'", "state = 'ENDED'"),
)
OF_ENDED_STAY = ("outcome = 'FAILED'", "file_size = 7", "state = 'ACTIVE'", "ended_at = 9", "error = 'x'")


@pytest.mark.parametrize("attacker", WRITERS)
@pytest.mark.parametrize(
    ("table", "of", "changes"),
    [
        ("recordings", "runs", OF_RECORDING),
        ("recording_stays", "runs", OF_STAY),
        ("recording_stays", "waits", OF_ENDED_STAY),
    ],
)
def test_nobody_rewrites_what_was_asked_for_or_what_came_of_it(
    attack: Attack, attacker: str, table: str, of: str, changes: tuple[str, ...], made: dict[str, Recording]
) -> None:
    connection = attack(attacker)
    for change in changes:
        with (
            pytest.raises((errors.InsufficientPrivilege, errors.IntegrityConstraintViolation, errors.CheckViolation)),
            connection.transaction(),
        ):
            connection.execute(
                f"UPDATE evidence.{table} SET {change} WHERE recording_id = %s".encode(), (made[of].recording_id,)
            )


@pytest.mark.parametrize("attacker", WRITERS)
def test_a_recording_is_not_processed_while_an_egress_has_no_outcome(
    attack: Attack, attacker: str, made: dict[str, Recording]
) -> None:
    connection = attack(attacker)
    by_id = {"id": made["runs"].recording_id}
    connection.execute(
        """UPDATE evidence.recordings SET state = 'STOPPING', stopped_at = 1, stopped_by = 'x', stop_reason = 'y'
            WHERE recording_id = %(id)s""",
        by_id,
    )
    with pytest.raises(errors.IntegrityConstraintViolation, match="no outcome yet"):
        connection.execute("UPDATE evidence.recordings SET state = 'WAITING' WHERE recording_id = %(id)s", by_id)


@pytest.mark.parametrize("attacker", WRITERS)
def test_a_recording_without_files_is_not_completed(attack: Attack, attacker: str) -> None:
    with pytest.raises(errors.IntegrityConstraintViolation, match="files must be stored first"):
        attack(attacker).execute(
            "UPDATE evidence.recordings SET state = 'COMPLETED', ended_at = 1 WHERE session_chain_id = 'waits'"
        )


IN_SILENCE = {
    "a consent": """INSERT INTO evidence.recording_consents (consent_id, organisation_id, session_chain_id, participant,
                        role, act, notice, idempotency_key, recorded_by, recorded_at)
                    VALUES (uuidv7(), 'acme', 's', 'x', 'FIELD', 'GIVEN', 'n', 'k', 'y', 1)""",
    "a stop": """UPDATE evidence.recordings SET state = 'STOPPING', stopped_at = 1, stopped_by = 'x', stop_reason = 'y'
                  WHERE session_chain_id = 'runs' AND organisation_id = 'acme'""",
    "an end": """UPDATE evidence.recording_stays SET state = 'ENDED', outcome = 'FAILED', ended_at = 1
                  WHERE state = 'ACTIVE'""",
    "an access": """INSERT INTO evidence.recording_accesses
                    SELECT uuidv7(), recording_id, organisation_id, 'link', 'x', NULL, '{}', 1 FROM evidence.recordings
                     WHERE session_chain_id = 'waits'""",
    "a failure": """UPDATE evidence.recordings SET state = 'FAILED', failure_reason = 'x', failure_message = 'y',
                           ended_at = 1 WHERE session_chain_id = 'waits'""",
    "a raw object": """INSERT INTO evidence.recording_raws
                       SELECT uuidv7(), stay_id, recording_id, organisation_id, raw_key, NULL, 1, sha256(''), true, 1
                         FROM evidence.recording_stays WHERE state = 'ENDED'""",
}


@pytest.mark.parametrize("attacker", ["owner", "superuser"])
@pytest.mark.parametrize("what", IN_SILENCE)
def test_nothing_of_a_recording_happens_in_silence(attack: Attack, attacker: str, what: str) -> None:
    connection = attack(attacker)
    assert connection.execute(IN_SILENCE[what].encode()).rowcount > 0
    with pytest.raises(errors.IntegrityConstraintViolation, match="is refused: no note"):
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.mark.parametrize("role", [*ROLES, "superuser"])
def test_a_raw_object_is_not_dropped_before_the_recording_is_completed(
    attack: Attack, role: str, made: dict[str, Recording]
) -> None:
    with pytest.raises((errors.InsufficientPrivilege, errors.IntegrityConstraintViolation)):
        attack(role).execute(
            """INSERT INTO evidence.recording_raw_ends (raw_id, recording_id, organisation_id, fate, why, decided_at)
               VALUES (uuidv7(), %s, 'acme', 'DROPPED', 'x', 1)""",
            (made["waits"].recording_id,),
        )


def test_the_callers_role_sees_recordings_of_the_organisation_it_names_and_no_other(
    module_database: Database, made: dict[str, Recording]
) -> None:
    assert made
    with psycopg.connect(module_database.evidence_dsn) as connection:
        for table in ("recordings", "recording_consents", "recording_stays", "recording_participants"):
            query = f"SELECT DISTINCT organisation_id FROM evidence.{table}".encode()
            assert connection.execute(query).fetchall() == []
            connection.execute("SET LOCAL indelible.organisation = 'acme'")
            assert connection.execute(query).fetchall() == [("acme",)]
            connection.rollback()


async def test_the_database_refuses_a_recording_whose_operator_does_not_consent(module_database: Database) -> None:
    async with several_records(module_database, 1) as (records,):
        await consent(records, "bob", session="s-2")
        assert await reason_of(begin(records, session="s-2")) is Reason.CONSENT_MISSING
        for act in ("", "BANNER_SHOWN", "REFUSED", "GIVEN", "WITHDRAWN"):
            if act:
                await consent(records, "ann", act, session="s-2")
            if act == "GIVEN":
                continue
            with (
                psycopg.connect(module_database.admin_dsn) as connection,
                pytest.raises(errors.IntegrityConstraintViolation, match="has not consented"),
                connection.transaction(),
            ):
                connection.execute(
                    """INSERT INTO evidence.recordings (recording_id, organisation_id, session_chain_id, room, operator,
                           composite, annotations_expected, stream_copy, key_prefix, requested_by, started_at)
                       SELECT id, 'acme', 's-2', 'acme:s-2', 'ann', 'ROOM', false, false,
                              'acme/recordings/2026/11/22/' || id || '/', 'x', 1 FROM uuidv7() AS id"""
                )


async def test_the_database_refuses_an_egress_of_whoever_does_not_consent_or_is_recorded_already(
    module_database: Database,
) -> None:
    async with several_records(module_database, 1) as (records,):
        recording = await running(records, "s-3")
        await recorded(records, recording, "ann")
        # Twice at a time, in another's tile, and where somebody else's file is.
        assert not await records.attendance.ask(recording, stay_of(recording, "ann", 2))
        assert not await records.attendance.ask(recording, replace(stay_of(recording, "bob"), tile=0))
        assert not await records.attendance.ask(recording, replace(stay_of(recording, "bob"), raw_key="acme/x.mp4"))
        await consent(records, "bob", "WITHDRAWN", session="s-3")
        assert not await records.attendance.ask(recording, stay_of(recording, "bob"))
        await consent(records, "bob", session="s-3")
        assert await records.attendance.ask(recording, stay_of(recording, "bob"))
        note = stopped_note(recording, by="x", reason="y", at=1)
        await records.attendance.stop(recording, by="x", reason="y", at=1, note=note)
        assert not await records.attendance.ask(recording, stay_of(recording, "bob", 2))


async def test_a_session_and_a_room_have_one_running_recording_each(module_database: Database) -> None:
    async with several_records(module_database, 3) as several:
        for session in ("s-4", "s-5"):
            for who in ("ann", "bob"):
                await consent(several[0], who, session=session)
        begun = await asyncio.gather(*(begin(records, session="s-4") for records in several * 2))
        assert sum(one is not None for one in begun) == 1
        assert await reason_of(begin(several[0], session="s-5", room="acme:s-4")) is Reason.ROOM_BUSY
        assert await begin(several[0], session="s-5") is not None
