"""What LiveKit does for recordings, as it is put on record: as the worker's role, for every organisation."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg

from ledger.database.connections import Pool
from media.records.outbox import keep_notes
from media.records.recording_reads import SELECT_RECORDINGS, consents_in, recording_in, recordings_of
from media.records.recording_values import Consent, Member, Recording, Stay, StayEnd, Webhook
from media.records.transactions import short, worker_transaction
from media.records.values import Note

_DUE = """
SELECT recording_id FROM evidence.recordings
 WHERE state IN ('STARTING', 'RECORDING', 'STOPPING') AND next_attempt_at <= now()
 ORDER BY next_attempt_at
 LIMIT %s
"""
_AGAIN = """
UPDATE evidence.recordings SET next_attempt_at = now() + %s, last_error = %s
 WHERE recording_id = %s AND state IN ('STARTING', 'RECORDING', 'STOPPING')
"""
_EMPTY = "UPDATE evidence.recordings SET empty_since = %s WHERE recording_id = %s AND empty_since IS DISTINCT FROM %s"
_RUNS = "UPDATE evidence.recordings SET state = 'RECORDING' WHERE recording_id = %s AND state = 'STARTING'"
_STOP = """
UPDATE evidence.recordings
   SET state = 'STOPPING', stopped_at = %(at)s, stopped_by = %(by)s, stop_reason = %(reason)s, next_attempt_at = now()
 WHERE recording_id = %(recording_id)s AND state IN ('STARTING', 'RECORDING')
"""
_WAITS = """
UPDATE evidence.recordings SET state = 'WAITING', next_attempt_at = now(), last_error = ''
 WHERE recording_id = %s AND state = 'STOPPING'
"""
_MEMBER = """
INSERT INTO evidence.recording_participants (recording_id, organisation_id, participant, role, tile, first_seen_at)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
_ASK = """
INSERT INTO evidence.recording_stays (stay_id, recording_id, organisation_id, part, participant, tile, number, raw_key,
                                      asked_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_TRY = """
UPDATE evidence.recording_stays SET attempts = attempts + 1, tried_at = %s
 WHERE stay_id = %s AND state = 'ASKED' AND egress_id IS NULL AND tried_at IS NOT DISTINCT FROM %s
"""
_NOT_TRIED = """
UPDATE evidence.recording_stays SET tried_at = NULL WHERE stay_id = %s AND state = 'ASKED' AND egress_id IS NULL
"""
_ACTIVE = """
UPDATE evidence.recording_stays
   SET state = CASE state WHEN 'ASKED' THEN 'ACTIVE' ELSE state END, egress_id = %(egress_id)s,
       started_at = %(started_at)s
 WHERE stay_id = %(stay_id)s AND state <> 'ENDED' AND egress_id IS NULL
"""
_STOPPING = """
UPDATE evidence.recording_stays SET state = 'STOPPING', stop_reason = %s, stopped_at = %s
 WHERE stay_id = %s AND state IN ('ASKED', 'ACTIVE')
"""
_END = """
UPDATE evidence.recording_stays
   SET state = 'ENDED', outcome = %(outcome)s, ended_at = %(ended_at)s, error = %(error)s,
       file_started_at = %(file_started_at)s, file_ended_at = %(file_ended_at)s,
       file_duration_us = %(file_duration_us)s, file_size = %(file_size)s, file_location = %(file_location)s
 WHERE stay_id = %(stay_id)s AND state <> 'ENDED'
"""
_REMARK = """
INSERT INTO evidence.recording_remarks (recording_id, organisation_id, text, at) VALUES (%s, %s, %s, %s)
ON CONFLICT (recording_id, text) DO NOTHING
"""
_WEBHOOK = """
INSERT INTO evidence.recording_webhooks (event_id, recording_id, organisation_id, event, egress_id, participant,
                                         body_sha256, received_at)
VALUES (%(event_id)s, %(recording_id)s, %(organisation_id)s, %(event)s, %(egress_id)s, %(participant)s,
        %(body_sha256)s, %(received_at)s)
ON CONFLICT (event_id) DO NOTHING
"""
_SEEN = "SELECT EXISTS (SELECT FROM evidence.recording_webhooks WHERE event_id = %s)"
_BY_EGRESS = """
SELECT recording_id, stay_id FROM evidence.recording_stays
 WHERE egress_id = %(egress_id)s OR raw_key = ANY (%(keys)s::text[])
 LIMIT 1
"""
_BY_ROOM = f"""{SELECT_RECORDINGS}
 WHERE recording.room = %(room)s AND recording.state IN ('STARTING', 'RECORDING')
"""
_COUNT = """
SELECT count(*) FILTER (WHERE state IN ('STARTING', 'RECORDING')),
       count(*) FILTER (WHERE state = 'STOPPING'), min(stopped_at) FILTER (WHERE state = 'STOPPING')
  FROM evidence.recordings
 WHERE state IN ('STARTING', 'RECORDING', 'STOPPING')
"""


class RecordingAttendance:
    """Recordings as whoever attends to them sees them; part of `Records`."""

    def __init__(self, worker: Pool) -> None:
        self._worker = worker

    async def due(self, limit: int) -> list[UUID]:
        """Recordings that LiveKit may be busy with and that somebody should look after now."""
        async with worker_transaction(self._worker) as connection:
            return [row[0] for row in await (await connection.execute(_DUE, (limit,))).fetchall()]

    async def look_again(self, recording_id: UUID, *, in_seconds: float, error: str = "") -> None:
        """Somebody should look after it then; `error` is what kept this one from it."""
        async with worker_transaction(self._worker) as connection:
            await connection.execute(_AGAIN, (timedelta(seconds=in_seconds), short(error), recording_id))

    async def get(self, recording_id: UUID) -> Recording:
        """One recording of any organisation. Raises `MediaError` RECORDING_NOT_FOUND."""
        async with worker_transaction(self._worker) as connection:
            return await recording_in(connection, None, recording_id)

    async def consents(self, recording: Recording) -> dict[str, Consent]:
        """What each participant of its session has decided last."""
        async with worker_transaction(self._worker) as connection:
            return await consents_in(connection, recording.organisation_id, recording.session_chain_id)

    async def of_egress(self, egress_id: str, keys: Sequence[str]) -> tuple[Recording, Stay] | None:
        """The recording and the stay that an egress of LiveKit's belongs to, by its id or by where it writes."""
        parameters = {"egress_id": egress_id, "keys": list(keys)}
        async with worker_transaction(self._worker) as connection:
            row = await (await connection.execute(_BY_EGRESS, parameters)).fetchone()
            if row is None:
                return None
            recording = await recording_in(connection, None, row[0])
        return recording, next(stay for stay in recording.stays if stay.stay_id == row[1])

    async def of_room(self, room: str) -> Recording | None:
        """The running recording of a room."""
        async with worker_transaction(self._worker) as connection:
            found = await recordings_of(connection, _BY_ROOM, {"room": room})
            return found[0] if found else None

    async def note_empty(self, recording: Recording, since: int | None) -> None:
        """Since when nobody has been seen in the room; None while somebody is."""
        async with worker_transaction(self._worker) as connection:
            await connection.execute(_EMPTY, (since, recording.recording_id, since))

    async def note_running(self, recording: Recording) -> None:
        """LiveKit records it now."""
        async with worker_transaction(self._worker) as connection:
            await connection.execute(_RUNS, (recording.recording_id,))

    async def stop(self, recording: Recording, *, by: str, reason: str, at: int, note: Note) -> bool:
        """Decide that a recording ends; whether it was running until now."""
        parameters = {"recording_id": recording.recording_id, "by": by, "reason": reason, "at": at}
        async with worker_transaction(self._worker) as connection:
            if (await connection.execute(_STOP, parameters)).rowcount == 0:
                return False
            await _keep(connection, recording, [note])
        return True

    async def hand_to_processing(self, recording: Recording) -> None:
        """Every egress has its outcome: the files are the workers' from now on."""
        async with worker_transaction(self._worker) as connection:
            await connection.execute(_WAITS, (recording.recording_id,))

    async def add_member(self, recording: Recording, member: Member) -> None:
        """Somebody came who had not been there before."""
        about = (recording.recording_id, recording.organisation_id)
        values = (member.participant, member.role, member.tile, member.first_seen_at)
        async with worker_transaction(self._worker) as connection:
            await connection.execute(_MEMBER, (*about, *values))

    async def ask(self, recording: Recording, stay: Stay) -> bool:
        """Write down that LiveKit is going to be asked for an egress.

        False when the database refuses: it must not be, since nobody consents any more, nothing is recorded any more,
        or an egress of the same participant is open.
        """
        about = (stay.stay_id, recording.recording_id, recording.organisation_id)
        values = (stay.part, stay.participant, stay.tile, stay.number, stay.raw_key, stay.asked_at)
        try:
            async with worker_transaction(self._worker) as connection:
                await connection.execute(_ASK, (*about, *values))
        except psycopg.errors.IntegrityError:
            return False
        return True

    async def not_tried(self, stay: Stay) -> None:
        """LiveKit certainly did not begin it: it may be asked again at once."""
        async with worker_transaction(self._worker) as connection:
            await connection.execute(_NOT_TRIED, (stay.stay_id,))

    async def trying(self, stay: Stay, *, at: int) -> bool:
        """LiveKit is being asked now; False when the egress is known, or over, or somebody else is asking for it."""
        async with worker_transaction(self._worker) as connection:
            return (await connection.execute(_TRY, (at, stay.stay_id, stay.tried_at))).rowcount == 1

    async def note_active(
        self, recording: Recording, stay: Stay, *, egress_id: str, started_at: int, note: Note
    ) -> bool:
        """LiveKit says that the egress exists. False when that was known."""
        parameters = {"stay_id": stay.stay_id, "egress_id": egress_id, "started_at": started_at}
        async with worker_transaction(self._worker) as connection:
            if (await connection.execute(_ACTIVE, parameters)).rowcount == 0:
                return False
            await _keep(connection, recording, [note])
        return True

    async def note_stopping(self, stay: Stay, *, reason: str, at: int) -> None:
        """LiveKit was told to end the egress; its outcome is still to come."""
        async with worker_transaction(self._worker) as connection:
            await connection.execute(_STOPPING, (short(reason), at, stay.stay_id))

    async def end_stay(self, recording: Recording, stay: Stay, end: StayEnd, note: Note) -> bool:
        """How an egress ended, once and for ever. False when that was known."""
        file = end.file
        parameters: dict[str, Any] = {
            "stay_id": stay.stay_id,
            "outcome": end.outcome,
            "ended_at": end.ended_at,
            "error": short(end.error),
            "file_started_at": file.started_at if file else None,
            "file_ended_at": file.ended_at if file else None,
            "file_duration_us": file.duration_us if file else None,
            "file_size": file.size if file else None,
            "file_location": file.location if file else None,
        }
        async with worker_transaction(self._worker) as connection:
            if (await connection.execute(_END, parameters)).rowcount == 0:
                return False
            await _keep(connection, recording, [note])
        return True

    async def remark(self, recording: Recording, text: str, *, at: int, note: Note | None = None) -> bool:
        """What went wrong without ending the recording; False when it had been said."""
        parameters = (recording.recording_id, recording.organisation_id, short(text), at)
        async with worker_transaction(self._worker) as connection:
            if (await connection.execute(_REMARK, parameters)).rowcount == 0:
                return False
            if note is not None:
                await _keep(connection, recording, [note])
        return True

    async def has_seen(self, event_id: str) -> bool:
        """Whether a report of LiveKit's was taken before."""
        async with worker_transaction(self._worker) as connection:
            row = await (await connection.execute(_SEEN, (event_id,))).fetchone()
            return bool(row and row[0])

    async def remember(self, webhook: Webhook) -> bool:
        """Remember a report that was taken; False when it was remembered already."""
        values = {name: getattr(webhook, name) for name in Webhook.__dataclass_fields__}
        values["body_sha256"] = bytes.fromhex(webhook.body_sha256)
        async with worker_transaction(self._worker) as connection:
            return (await connection.execute(_WEBHOOK, values)).rowcount == 1

    async def count(self) -> tuple[int, int, int | None]:
        """How many recordings run, how many are being stopped, and since when the oldest of those."""
        async with worker_transaction(self._worker) as connection:
            running, stopping, oldest = await (await connection.execute(_COUNT)).fetchone() or (0, 0, None)
            return running, stopping, oldest


async def _keep(connection: psycopg.AsyncConnection[Any], recording: Recording, notes: Sequence[Note]) -> None:
    await keep_notes(connection, recording.organisation_id, None, notes, recording_id=recording.recording_id)
