"""What callers ask of recordings: consent, start, stop, hand over, read. As the callers' role.

Consents of a session and starts in it take the session's lock (migrations/sql/0005_recording_guards.sql): whichever
commits first is seen by the other.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from ledger.database.connections import Connection, Pool
from media.errors import MediaError, Reason
from media.records.clips import MAX_PAGE
from media.records.kept import RECORDING
from media.records.outbox import OF_SESSION, keep_notes
from media.records.recording_reads import SELECT_RECORDINGS, consents_in, recording_in, recordings_of
from media.records.recording_rows import files_in
from media.records.recording_values import (
    Consent,
    HandedOver,
    NewRecording,
    Recording,
    RecordingFilter,
)
from media.records.recording_work import RecordingFile
from media.records.transactions import organisation_transaction
from media.records.values import Note, NoteState
from media.storage.keys import recording_prefix

_LOCK_SESSION = "SELECT pg_advisory_xact_lock(hashtextextended(%s || '/' || %s, 5))"
_CONSENT = """
INSERT INTO evidence.recording_consents (consent_id, organisation_id, session_chain_id, participant, role, act, notice,
                                         idempotency_key, recorded_by, recorded_at)
VALUES (%(consent_id)s, %(organisation_id)s, %(session_chain_id)s, %(participant)s, %(role)s, %(act)s, %(notice)s,
        %(idempotency_key)s, %(recorded_by)s, %(recorded_at)s)
"""
_CONSENT_BY_KEY = """
SELECT consent_id, organisation_id, session_chain_id, participant, role, act, notice, recorded_by, recorded_at
  FROM evidence.recording_consents
 WHERE organisation_id = %(organisation_id)s AND session_chain_id = %(session_chain_id)s
   AND idempotency_key = %(idempotency_key)s
"""
_BEGIN = """
INSERT INTO evidence.recordings (recording_id, organisation_id, session_chain_id, room, operator, composite,
                                 annotations_expected, stream_copy, key_prefix, requested_by, started_at)
VALUES (%(recording_id)s, %(organisation_id)s, %(session_chain_id)s, %(room)s, %(operator)s, %(composite)s,
        %(annotations_expected)s, %(stream_copy)s, %(key_prefix)s, %(requested_by)s, %(started_at)s)
"""
_MEMBER = """
INSERT INTO evidence.recording_participants (recording_id, organisation_id, participant, role, tile, first_seen_at)
VALUES (%s, %s, %s, %s, %s, %s)
"""
_OF_SESSION = f"""{SELECT_RECORDINGS}
 WHERE recording.organisation_id = %(organisation_id)s AND recording.session_chain_id = %(session_chain_id)s
   AND recording.state IN ('STARTING', 'RECORDING', 'STOPPING')
 ORDER BY recording.started_at
"""
_PAGE = f"""{SELECT_RECORDINGS}
 WHERE recording.organisation_id = %(organisation_id)s
   AND (%(session_chain_id)s::text IS NULL OR recording.session_chain_id = %(session_chain_id)s)
   AND (%(states)s::text[] IS NULL OR recording.state = ANY (%(states)s::text[]))
   AND (%(started_from)s::bigint IS NULL OR recording.started_at >= %(started_from)s)
   AND (%(started_to)s::bigint IS NULL OR recording.started_at < %(started_to)s)
   AND (%(held)s::boolean IS NULL OR %(held)s = {RECORDING.has_hold})
   AND (%(after_at)s::bigint IS NULL
        OR (recording.started_at, recording.recording_id) < (%(after_at)s, %(after_id)s::uuid))
 ORDER BY recording.started_at DESC, recording.recording_id DESC
 LIMIT %(limit)s
"""
_STOP = """
UPDATE evidence.recordings
   SET state = 'STOPPING', stopped_at = %(stopped_at)s, stopped_by = %(stopped_by)s, stop_reason = %(stop_reason)s,
       next_attempt_at = now()
 WHERE organisation_id = %(organisation_id)s AND recording_id = %(recording_id)s AND state IN ('STARTING', 'RECORDING')
"""
_LOCK = """
SELECT state FROM evidence.recordings
 WHERE organisation_id = %(organisation_id)s AND recording_id = %(recording_id)s FOR NO KEY UPDATE
"""
_HANDED_OVER = """
SELECT document, handed_by, handed_at FROM evidence.recording_annotations
 WHERE organisation_id = %(organisation_id)s AND recording_id = %(recording_id)s
"""
_HAND_OVER = """
INSERT INTO evidence.recording_annotations (recording_id, organisation_id, document, sha256, handed_by, handed_at)
VALUES (%(recording_id)s, %(organisation_id)s, %(document)s, %(sha256)s, %(handed_by)s, %(handed_at)s)
"""
_DUE = """
UPDATE evidence.recordings SET next_attempt_at = now()
 WHERE organisation_id = %(organisation_id)s AND recording_id = %(recording_id)s AND state = 'WAITING'
"""


class RecordingRequests:
    """Recordings as callers of one organisation at a time see them; part of `Records`."""

    def __init__(self, callers: Pool) -> None:
        self._callers = callers

    async def add_consent(self, consent: Consent, *, idempotency_key: str, note: Note) -> tuple[Consent, bool]:
        """Put on record what somebody did; the same key for the same act gives the first one again, and False.

        Raises `MediaError` IDEMPOTENCY_CONFLICT.
        """
        values = {name: getattr(consent, name) for name in Consent.__dataclass_fields__}
        parameters = values | {"idempotency_key": idempotency_key}
        async with organisation_transaction(self._callers, consent.organisation_id) as connection:
            # First: a repetition that runs at the same time waits here, and then finds this one.
            await connection.execute(_LOCK_SESSION, (consent.organisation_id, consent.session_chain_id))
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_CONSENT_BY_KEY, parameters)
            found = await cursor.fetchone()
            if found is not None:
                return _same_consent(Consent(**found), consent), False
            await connection.execute(_CONSENT, parameters)
            await keep_notes(connection, consent.organisation_id, None, [note])
        return consent, True

    async def consents(self, organisation_id: str, session_chain_id: str) -> dict[str, Consent]:
        """What each participant of a session has decided last."""
        async with organisation_transaction(self._callers, organisation_id) as connection:
            return await consents_in(connection, organisation_id, session_chain_id)

    async def session_notes(self, organisation_id: str, session_chain_id: str, subject: UUID) -> list[NoteState]:
        """What became of the notes about `subject`: on the session's chain, or on the operations chain instead."""
        async with organisation_transaction(self._callers, organisation_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(OF_SESSION, (organisation_id, session_chain_id, subject))
            return [NoteState(**row) for row in await cursor.fetchall()]

    async def begin(self, wanted: NewRecording, *, note: Note) -> Recording | None:
        """Put a recording on record as STARTING, with those in the room; None when one runs already.

        The database refuses it unless the operator's newest act is a consent. Raises `MediaError` ROOM_BUSY when the
        room is being recorded for another session, CONSENT_MISSING when somebody withdrew at this moment.
        """
        names = [name for name in NewRecording.__dataclass_fields__ if name != "members"]
        parameters = {name: getattr(wanted, name) for name in names} | {
            "key_prefix": recording_prefix(wanted.organisation_id, wanted.started_at, wanted.recording_id)
        }
        try:
            async with organisation_transaction(self._callers, wanted.organisation_id) as connection:
                await connection.execute(_LOCK_SESSION, (wanted.organisation_id, wanted.session_chain_id))
                consents = await consents_in(connection, wanted.organisation_id, wanted.session_chain_id)
                lacking = lacking_consent(wanted, consents)
                if lacking:
                    raise consent_missing(lacking)
                await connection.execute(_BEGIN, parameters)
                for member in wanted.members:
                    about = (wanted.recording_id, wanted.organisation_id)
                    values = (member.participant, member.role, member.tile, member.first_seen_at)
                    await connection.execute(_MEMBER, (*about, *values))
                about_it = wanted.recording_id
                await keep_notes(connection, wanted.organisation_id, None, [note], recording_id=about_it)
                return await recording_in(connection, wanted.organisation_id, wanted.recording_id)
        except psycopg.errors.UniqueViolation as error:
            if error.diag.constraint_name == "recordings_running_session":
                return None
            if error.diag.constraint_name == "recordings_running_room":
                raise MediaError(
                    Reason.ROOM_BUSY, f"room {wanted.room!r} is being recorded for another session", {"field": "room"}
                ) from None
            raise

    async def open_recordings(self, organisation_id: str, session_chain_id: str) -> list[Recording]:
        """The session's recordings that LiveKit may still be busy with, oldest first."""
        parameters = {"organisation_id": organisation_id, "session_chain_id": session_chain_id}
        async with organisation_transaction(self._callers, organisation_id) as connection:
            return await recordings_of(connection, _OF_SESSION, parameters)

    async def get(self, organisation_id: str, recording_id: UUID) -> Recording:
        """One recording as it stands. Raises `MediaError` RECORDING_NOT_FOUND."""
        async with organisation_transaction(self._callers, organisation_id) as connection:
            return await recording_in(connection, organisation_id, recording_id)

    async def list(
        self, organisation_id: str, wanted: RecordingFilter, *, after: tuple[int, UUID] | None, limit: int
    ) -> Sequence[Recording]:
        """At most `limit` recordings, newest first, that come `after` the start and id the page before ended with."""
        parameters = {
            "organisation_id": organisation_id,
            "session_chain_id": wanted.session_chain_id,
            "states": None if wanted.states is None else [*wanted.states],
            "started_from": wanted.started_from,
            "started_to": wanted.started_to,
            "held": wanted.held,
            "after_at": after[0] if after else None,
            "after_id": after[1] if after else None,
            "limit": min(limit, MAX_PAGE + 1),
        }
        async with organisation_transaction(self._callers, organisation_id) as connection:
            return await recordings_of(connection, _PAGE, parameters)

    async def files(self, organisation_id: str, recording_id: UUID) -> tuple[RecordingFile, ...]:
        """The finished files of a recording, by name."""
        async with organisation_transaction(self._callers, organisation_id) as connection:
            return await files_in(connection, recording_id)

    async def stop(self, recording: Recording, *, by: str, reason: str, at: int, note: Note) -> bool:
        """Decide that a recording ends; whether it was running until now."""
        parameters: dict[str, Any] = _ids(recording.organisation_id, recording.recording_id) | {
            "stopped_at": at,
            "stopped_by": by,
            "stop_reason": reason,
        }
        async with organisation_transaction(self._callers, recording.organisation_id) as connection:
            if (await connection.execute(_STOP, parameters)).rowcount == 0:
                return False
            await keep_notes(connection, recording.organisation_id, None, [note], recording_id=recording.recording_id)
        return True

    async def hand_over(self, organisation_id: str, recording_id: UUID, handed: HandedOver) -> bool:
        """Keep what was drawn; the same document again gives False.

        Raises `MediaError` RECORDING_NOT_FOUND, IDEMPOTENCY_CONFLICT for another document than the first,
        ANNOTATIONS_LATE once processing has begun without one.
        """
        parameters: dict[str, Any] = _ids(organisation_id, recording_id) | {
            "document": handed.document,
            "sha256": hashlib.sha256(handed.document).digest(),
            "handed_by": handed.handed_by,
            "handed_at": handed.handed_at,
        }
        async with organisation_transaction(self._callers, organisation_id) as connection:
            # Waits for a worker that is deciding at this moment to process without it.
            row = await (await connection.execute(_LOCK, parameters)).fetchone()
            first = await _handed_over(connection, parameters)
            if row is not None and first is not None:
                if first.document != handed.document:
                    raise MediaError(
                        Reason.IDEMPOTENCY_CONFLICT,
                        "another document was handed over for this recording, and the first one counts",
                        {"field": "annotations", "recording_id": str(recording_id)},
                    )
                return False
            recording = await recording_in(connection, organisation_id, recording_id)
            if recording.state not in {"STARTING", "RECORDING", "STOPPING", "WAITING"}:
                raise MediaError(
                    Reason.ANNOTATIONS_LATE,
                    "the recording has been processed without annotations",
                    {"recording_id": str(recording_id), "state": recording.state},
                )
            await connection.execute(_HAND_OVER, parameters)
            await connection.execute(_DUE, parameters)
        return True


def lacking_consent(wanted: NewRecording, consents: dict[str, Consent]) -> list[str]:
    """Who of those in the room, the operator among them in any case, has not consented in the role they have."""
    roles = {member.participant: member.role for member in wanted.members} | {wanted.operator: "OPERATOR"}
    return [
        participant
        for participant, role in sorted(roles.items())
        if (one := consents.get(participant)) is None or (one.act, one.role) != ("GIVEN", role)
    ]


def consent_missing(participants: Sequence[str]) -> MediaError:
    """The refusal to record without everybody's consent."""
    return MediaError(
        Reason.CONSENT_MISSING,
        f"no consent is on record of {', '.join(participants)}",
        {"participants": json.dumps(list(participants))},
    )


async def _handed_over(connection: Connection, parameters: dict[str, Any]) -> HandedOver | None:
    row = await (await connection.execute(_HANDED_OVER, parameters)).fetchone()
    return None if row is None else HandedOver(document=bytes(row[0]), handed_by=row[1], handed_at=row[2])


def _same_consent(first: Consent, asked: Consent) -> Consent:
    if (first.participant, first.role, first.act, first.notice) != (
        *(asked.participant, asked.role, asked.act, asked.notice),
    ):
        raise MediaError(
            Reason.IDEMPOTENCY_CONFLICT,
            "this idempotency key was used for another consent of the session",
            {"field": "idempotency_key"},
        )
    return first


def _ids(organisation_id: str, recording_id: UUID) -> dict[str, Any]:
    return {"organisation_id": organisation_id, "recording_id": recording_id}
