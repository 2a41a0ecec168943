"""A recording as its processing sees it, read from its rows."""

from typing import Any
from uuid import UUID

from psycopg.rows import DictRow, dict_row

from ledger.database.connections import Connection
from media.errors import MediaError, Reason
from media.records.recording_values import Member
from media.records.recording_work import Annotations, Egress, FinishedTask, Raw, RecordingFile, RecordingWork
from media.storage.values import StoredObject

_RECORDING = "SELECT * FROM evidence.recordings WHERE recording_id = %s"
_EGRESSES = """
SELECT * FROM evidence.recording_stays WHERE recording_id = %s
 ORDER BY tile NULLS FIRST, number
"""
_MEMBERS = """
SELECT participant, role, tile, first_seen_at FROM evidence.recording_participants WHERE recording_id = %s
 ORDER BY tile
"""
_RAWS = """
SELECT raw.*, encode(raw.sha256, 'hex') AS digest,
       CASE WHEN ending.fate = 'KEPT' THEN ending.why END AS kept_because,
       CASE WHEN ending.fate = 'DROPPED' THEN ending.decided_at END AS drop_decided_at
  FROM evidence.recording_raws AS raw
  LEFT JOIN evidence.recording_raw_ends AS ending ON ending.raw_id = raw.raw_id
 WHERE raw.recording_id = %s
 ORDER BY raw.key, raw.read_at, raw.raw_id
"""
_FILES = """
SELECT file.*, encode(file.sha256, 'hex') AS digest,
       ARRAY(SELECT encode(one.digest, 'hex')
               FROM unnest(file.raw_sha256) WITH ORDINALITY AS one (digest, place) ORDER BY one.place) AS raw_digests
  FROM evidence.recording_files AS file
 WHERE file.recording_id = %s
 ORDER BY file.name
"""
_TASKS = """
SELECT task, stay_id, state, coalesce(failure_reason, '') AS reason, coalesce(failure_message, '') AS message
  FROM evidence.recording_jobs WHERE recording_id = %s
 ORDER BY job_id
"""
_ANNOTATIONS = """
SELECT document, encode(sha256, 'hex') AS digest, handed_at, handed_by
  FROM evidence.recording_annotations WHERE recording_id = %s
"""
_REMARKS = "SELECT text FROM evidence.recording_remarks WHERE recording_id = %s ORDER BY remark_id"


async def work_in(connection: Connection, recording_id: UUID) -> RecordingWork:
    """A recording, in a transaction that is under way. Raises `MediaError` RECORDING_NOT_FOUND."""
    found = await _rows(connection, _RECORDING, recording_id)
    if not found:
        raise MediaError(
            Reason.RECORDING_NOT_FOUND, f"there is no recording {recording_id}", {"recording_id": str(recording_id)}
        )
    (row,) = found
    annotations = await _rows(connection, _ANNOTATIONS, recording_id)
    return RecordingWork(
        recording_id=recording_id,
        organisation_id=row["organisation_id"],
        session_chain_id=row["session_chain_id"],
        room=row["room"],
        operator=row["operator"],
        composite=row["composite"],
        state=row["state"],
        stream_copy=row["stream_copy"],
        annotations_expected=row["annotations_expected"],
        annotations=_annotations(annotations[0]) if annotations else None,
        requested_by=row["requested_by"],
        started_at=row["started_at"],
        stopped_at=row["stopped_at"],
        stop_reason=row["stop_reason"] or "",
        key_prefix=row["key_prefix"],
        remarks=tuple(one["text"] for one in await _rows(connection, _REMARKS, recording_id)),
        members=tuple(Member(**one) for one in await _rows(connection, _MEMBERS, recording_id)),
        egresses=tuple(_egress(one) for one in await _rows(connection, _EGRESSES, recording_id)),
        raws=tuple(_raw(one) for one in await _rows(connection, _RAWS, recording_id)),
        files=await files_in(connection, recording_id),
        tasks=tuple(FinishedTask(**one) for one in await _rows(connection, _TASKS, recording_id)),
    )


async def files_in(connection: Connection, recording_id: UUID) -> tuple[RecordingFile, ...]:
    """The finished files of a recording, by name."""
    return tuple(_file(row) for row in await _rows(connection, _FILES, recording_id))


async def _rows(connection: Connection, query: str, recording_id: UUID) -> list[DictRow]:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(query.encode(), (recording_id,))
    return await cursor.fetchall()


def _annotations(row: dict[str, Any]) -> Annotations:
    return Annotations(
        data=bytes(row["document"]), sha256=row["digest"], received_at=row["handed_at"], received_by=row["handed_by"]
    )


def _egress(row: dict[str, Any]) -> Egress:
    return Egress(
        stay_id=row["stay_id"],
        kind=row["part"],
        egress_id=row["egress_id"],
        raw_key=row["raw_key"],
        participant=row["participant"],
        tile=row["tile"],
        stay=row["number"],
        file_started_at=row["file_started_at"],
        file_ended_at=row["file_ended_at"],
        stated_size=row["file_size"],
        outcome=row["outcome"],
        outcome_detail=row["error"],
        outcome_at=row["ended_at"],
    )


def _raw(row: dict[str, Any]) -> Raw:
    return Raw(
        raw_id=row["raw_id"],
        stay_id=row["stay_id"],
        stored=_stored(row),
        counts=row["counts"],
        read_at=row["read_at"],
        kept_because=row["kept_because"],
        drop_decided_at=row["drop_decided_at"],
    )


def _file(row: dict[str, Any]) -> RecordingFile:
    return RecordingFile(
        name=row["name"],
        role=row["role"],
        media_type=row["media_type"],
        stored=_stored(row),
        participant=row["participant"],
        tile=row["tile"],
        raw_sha256=tuple(row["raw_digests"]),
        starts_at=row["starts_at"],
        duration_us=row["duration_us"],
        stored_at=row["stored_at"],
        facts=row["facts"] or {},
    )


def _stored(row: dict[str, Any]) -> StoredObject:
    return StoredObject(key=row["key"], version_id=row["version_id"], size=row["size"], sha256=row["digest"])
