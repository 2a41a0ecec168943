"""Recordings as values, from their rows."""

from typing import Any
from uuid import UUID

from psycopg.rows import DictRow, dict_row

from ledger.database.connections import Connection
from media.errors import MediaError, Reason
from media.records.kept import RECORDING, disposal_of
from media.records.recording_values import Consent, FileFacts, Member, Recording, Stay
from media.records.values import DAY_US, DEFAULT_RETENTION_DAYS, Hold

SELECT_RECORDINGS = f"""
SELECT recording.*, coalesce(retention.days, {DEFAULT_RETENTION_DAYS}) AS retention_days,
       (SELECT coalesce(json_agg(m ORDER BY m.tile), '[]') FROM evidence.recording_participants AS m
         WHERE m.recording_id = recording.recording_id) AS members,
       (SELECT coalesce(json_agg(s ORDER BY s.asked_at, s.stay_id), '[]') FROM evidence.recording_stays AS s
         WHERE s.recording_id = recording.recording_id) AS stays,
       (SELECT coalesce(json_agg(r.text ORDER BY r.remark_id), '[]') FROM evidence.recording_remarks AS r
         WHERE r.recording_id = recording.recording_id) AS remarks,{RECORDING.holds}
  FROM evidence.recordings AS recording
  LEFT JOIN LATERAL (SELECT change.days FROM evidence.retention_changes AS change
                      WHERE change.organisation_id = recording.organisation_id
                      ORDER BY change.change_number DESC
                      LIMIT 1) AS retention ON true
"""  # noqa: S608 - constants of our own
_BY_ID = SELECT_RECORDINGS + " WHERE recording.recording_id = %(recording_id)s"
# The newest act of each that is no banner: it decides. A consent that the session's chain refused (it was not there
# yet, or had ended) is none: whoever is recorded must have consented on that chain.
_CONSENTS = """
SELECT newest.*
  FROM (SELECT DISTINCT ON (participant) consent_id, organisation_id, session_chain_id, participant, role, act, notice,
               recorded_by, recorded_at
          FROM evidence.recording_consents
         WHERE organisation_id = %s AND session_chain_id = %s AND act <> 'BANNER_SHOWN'
         ORDER BY participant, consent_number DESC) AS newest
 WHERE newest.act <> 'GIVEN'
    OR NOT EXISTS (SELECT FROM evidence.notes AS note
                    WHERE note.organisation_id = newest.organisation_id AND note.chain_id = newest.session_chain_id
                      AND note.kind = 'consent.given' AND note.subject_id = newest.consent_id
                      AND note.refusal IS NOT NULL)
"""
_SAME_NAME: tuple[str, ...] = (
    *("recording_id", "organisation_id", "session_chain_id", "room", "operator", "composite", "annotations_expected"),
    *("stream_copy", "key_prefix", "requested_by", "started_at", "state", "stopped_at", "stopped_by", "stop_reason"),
    *("failure_reason", "failure_message", "ended_at", "empty_since", "disposed_at"),
)
_OF_STAY: tuple[str, ...] = (
    *("part", "participant", "tile", "number", "raw_key", "asked_at", "attempts", "tried_at", "state", "egress_id"),
    *("started_at", "stop_reason", "stopped_at", "outcome", "ended_at", "error"),
)
_OF_FILE: tuple[str, ...] = ("started_at", "ended_at", "duration_us", "size", "location")


async def recording_in(connection: Connection, organisation_id: str | None, recording_id: UUID) -> Recording:
    """One recording, in a transaction that is under way; None for any organisation's.

    Raises `MediaError` RECORDING_NOT_FOUND.
    """
    parameters = {"recording_id": recording_id, "organisation_id": organisation_id}
    query = _BY_ID if organisation_id is None else f"{_BY_ID} AND recording.organisation_id = %(organisation_id)s"
    found = await recordings_of(connection, query, parameters)
    if not found:
        raise MediaError(
            Reason.RECORDING_NOT_FOUND,
            f"there is no recording {recording_id} here",
            {"recording_id": str(recording_id)},
        )
    return found[0]


async def recordings_of(connection: Connection, query: str, parameters: dict[str, Any]) -> list[Recording]:
    """The recordings that a query built on `SELECT_RECORDINGS` finds."""
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(query.encode(), parameters)
    return [_recording(row) for row in await cursor.fetchall()]


async def consents_in(connection: Connection, organisation_id: str, session_chain_id: str) -> dict[str, Consent]:
    """What each participant of a session has decided last, in a transaction that is under way."""
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(_CONSENTS, (organisation_id, session_chain_id))
    return {row["participant"]: Consent(**row) for row in await cursor.fetchall()}


def _recording(row: DictRow) -> Recording:
    ended_at = row["ended_at"]
    return Recording(
        **{name: row[name] for name in _SAME_NAME},
        retain_until=None if ended_at is None else ended_at + row["retention_days"] * DAY_US,
        members=tuple(_member(found) for found in row["members"]),
        stays=tuple(_stay(found) for found in row["stays"]),
        remarks=tuple(row["remarks"]),
        holds=tuple(
            Hold(recording_id=row["recording_id"], **(found | {"hold_id": UUID(found["hold_id"])}))
            for found in row["holds"]
        ),
        disposal=disposal_of(row),
    )


def _member(found: dict[str, Any]) -> Member:
    return Member(**{name: found[name] for name in Member.__dataclass_fields__})


def _stay(found: dict[str, Any]) -> Stay:
    facts = {name: found[f"file_{name}"] for name in _OF_FILE}
    return Stay(
        stay_id=UUID(found["stay_id"]),
        recording_id=UUID(found["recording_id"]),
        **{name: found[name] for name in _OF_STAY},
        file=FileFacts(**facts) if any(value is not None for value in facts.values()) else None,
    )
