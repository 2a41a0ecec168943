"""What became of a recording, as callers see it: its files, its notes, and who was given what."""

import json
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from ledger.database.connections import Pool
from media.errors import MediaError, Reason
from media.records.kept import RECORDING
from media.records.outbox import keep_notes, notes_about
from media.records.recording_rows import work_in
from media.records.recording_values import RecordingAccess
from media.records.recording_work import RecordingWork
from media.records.transactions import organisation_transaction
from media.records.values import Note, NoteState

# As for clips (accesses.py): waits for a disposal that is being decided, and lets none begin before this commit.
_LOCK = "SELECT state FROM evidence.recordings WHERE organisation_id = %s AND recording_id = %s FOR SHARE"
_ADD = """
INSERT INTO evidence.recording_accesses (access_id, recording_id, organisation_id, kind, who, file, detail, at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
_ACCESSES = """
SELECT access_id, recording_id, kind, who, at, file, detail
  FROM evidence.recording_accesses
 WHERE organisation_id = %s AND recording_id = %s
 ORDER BY at, access_id
"""


class RecordingAccounts:
    """Part of `Records`."""

    def __init__(self, callers: Pool) -> None:
        self._callers = callers

    async def work(self, organisation_id: str, recording_id: UUID) -> RecordingWork:
        """A recording with its files and with what its egresses left. Raises `MediaError` RECORDING_NOT_FOUND."""
        async with organisation_transaction(self._callers, organisation_id) as connection:
            return await work_in(connection, recording_id)

    async def notes(self, organisation_id: str, recording_id: UUID) -> list[NoteState]:
        """Every note about a recording, in order, with its place on a chain."""
        return await notes_about(self._callers, RECORDING, organisation_id, recording_id)

    async def accesses(self, organisation_id: str, recording_id: UUID) -> list[RecordingAccess]:
        """Every access to a recording, oldest first."""
        async with organisation_transaction(self._callers, organisation_id) as connection:
            cursor = connection.cursor(row_factory=class_row(RecordingAccess))
            await cursor.execute(_ACCESSES, (organisation_id, recording_id))
            return await cursor.fetchall()

    async def add_access(self, organisation_id: str, access: RecordingAccess, note: Note) -> None:
        """Record one access. Raises `MediaError` RECORDING_DISPOSED, also while it is being disposed of."""
        async with organisation_transaction(self._callers, organisation_id) as connection:
            row = await (await connection.execute(_LOCK, (organisation_id, access.recording_id))).fetchone()
            if row is None or row[0] in {"DISPOSING", "DISPOSED"}:
                raise recording_disposed(access.recording_id)
            detail = Jsonb(dict(access.detail), dumps=lambda value: json.dumps(value, allow_nan=False))
            await connection.execute(
                _ADD,
                (
                    *(access.access_id, access.recording_id, organisation_id, access.kind, access.who),
                    *(access.file, detail, access.at),
                ),
            )
            await keep_notes(connection, organisation_id, None, [note], recording_id=access.recording_id)


def recording_disposed(recording_id: UUID) -> MediaError:
    """The refusal to give out what is gone."""
    return MediaError(
        Reason.RECORDING_DISPOSED,
        "the recording was disposed of; its digests remain on record",
        {"recording_id": str(recording_id)},
    )
