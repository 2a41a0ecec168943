"""Asking for clips and reading their records: as the caller's role, under row-level security."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from psycopg.rows import DictRow, dict_row

from ledger.database.connections import Connection, Pool
from media.errors import MediaError, Reason
from media.records.kept import CLIP, disposal_of
from media.records.outbox import keep_notes
from media.records.transactions import organisation_transaction
from media.records.values import (
    DAY_US,
    DEFAULT_LOCK_MODE,
    DEFAULT_RETENTION_DAYS,
    Artefact,
    Clip,
    ClipFilter,
    ExtractionRequest,
    Hold,
    Note,
)
from media.storage.keys import check_identifier, clip_prefix
from media.storage.values import Attempt, StoredObject

# Largest page a caller may ask for.
MAX_PAGE = 1_000

# Waits for whoever is asking for the same clip at this moment, then finds that one.
_REQUEST = """
INSERT INTO evidence.clips (organisation_id, source_id, camera_id, incident_id, key_prefix, event_at, asked_from,
                            asked_to, session_chain_id, requested_by, requested_at)
VALUES (%(organisation_id)s, %(source_id)s, %(camera_id)s, %(incident_id)s, %(key_prefix)s, %(event_at)s,
        %(asked_from)s, %(asked_to)s, %(session_chain_id)s, %(requested_by)s, %(requested_at)s)
ON CONFLICT DO NOTHING
RETURNING clip_id
"""

_ASKED_BEFORE = """
SELECT clip_id FROM evidence.clips
 WHERE organisation_id = %(organisation_id)s AND source_id = %(source_id)s AND incident_id = %(incident_id)s
"""

# One row for a clip, with all that belongs to it. Digests leave as hex, since JSON has no bytes.
SELECT_CLIPS = f"""
SELECT clip.*,
       coalesce(retention.days, {DEFAULT_RETENTION_DAYS}) AS retention_days,
       coalesce(retention.lock_mode, '{DEFAULT_LOCK_MODE}') AS lock_mode,
       coalesce(retention.change_number, 0) AS retention_number,
       (SELECT coalesce(json_agg(json_build_object(
                   'name', a.name, 'role', a.role, 'media_type', a.media_type, 'key', a.key,
                   'version_id', a.version_id, 'size', a.size, 'sha256', encode(a.sha256, 'hex'))
                   ORDER BY a.name), '[]')
          FROM evidence.artefacts AS a WHERE a.clip_id = clip.clip_id) AS artefacts,
       (SELECT coalesce(json_agg(json_build_object(
                   'key', k.key, 'version_id', k.version_id, 'size', k.size,
                   'expected_sha256', encode(k.sha256, 'hex'), 'found_size', k.found_size,
                   'found_sha256', encode(k.found_sha256, 'hex'), 'problem', k.problem)
                   ORDER BY k.kept_id), '[]')
          FROM evidence.kept_objects AS k WHERE k.clip_id = clip.clip_id) AS kept,{CLIP.holds}
  FROM evidence.clips AS clip
  LEFT JOIN LATERAL (SELECT change.days, change.lock_mode, change.change_number
                       FROM evidence.retention_changes AS change
                      WHERE change.organisation_id = clip.organisation_id
                      ORDER BY change.change_number DESC
                      LIMIT 1) AS retention ON true
"""  # noqa: S608 - constants of our own

_BY_ID = SELECT_CLIPS + " WHERE clip.organisation_id = %(organisation_id)s AND clip.clip_id = %(clip_id)s"

_PAGE = (
    SELECT_CLIPS
    + f"""
 WHERE clip.organisation_id = %(organisation_id)s
   AND (%(camera_id)s::text IS NULL OR clip.camera_id = %(camera_id)s)
   AND (%(incident_id)s::text IS NULL OR clip.incident_id = %(incident_id)s)
   AND (%(states)s::text[] IS NULL OR clip.state = ANY (%(states)s::text[]))
   AND (%(event_from)s::bigint IS NULL OR clip.event_at >= %(event_from)s)
   AND (%(event_to)s::bigint IS NULL OR clip.event_at < %(event_to)s)
   AND (%(held)s::boolean IS NULL OR %(held)s = {CLIP.has_hold})
   AND (%(after_at)s::bigint IS NULL OR (clip.event_at, clip.clip_id) < (%(after_at)s, %(after_id)s::uuid))
 ORDER BY clip.event_at DESC, clip.clip_id DESC
 LIMIT %(limit)s
"""
)


_SAME_NAME: tuple[str, ...] = (
    *("clip_id", "organisation_id", "source_id", "camera_id", "incident_id", "key_prefix", "event_at", "asked_from"),
    *("asked_to", "session_chain_id", "requested_by", "requested_at", "state", "attempts", "last_error", "actual_from"),
    *("actual_to", "facts", "failure_reason", "failure_message", "ended_at", "disposed_at", "protection_enforced"),
)


async def request_clip(
    pool: Pool, request: ExtractionRequest, notes: Callable[[Clip], Sequence[Note]]
) -> tuple[Clip, bool]:
    """The one clip of an organisation, source and incident, and whether this request made it; then with its `notes`.

    Raises `MediaError` INVALID_ARGUMENT; IDEMPOTENCY_CONFLICT if another source has given that camera's clip of the
    incident on that day, whose keys would be the same.
    """
    parameters: dict[str, Any] = {name: getattr(request, name) for name in ExtractionRequest.__dataclass_fields__} | {
        "source_id": check_identifier(request.source_id, "source"),
        "key_prefix": clip_prefix(request.organisation_id, request.event_at, request.camera_id, request.incident_id),
    }
    _check_window(request)
    async with organisation_transaction(pool, request.organisation_id) as connection:
        row = await (await connection.execute(_REQUEST, parameters)).fetchone()
        created = row is not None
        if row is None:
            row = await (await connection.execute(_ASKED_BEFORE, parameters)).fetchone()
        if row is None:
            raise MediaError(
                Reason.IDEMPOTENCY_CONFLICT,
                f"another source gave the clip of incident {request.incident_id!r} on camera {request.camera_id!r}",
                {"camera": request.camera_id, "incident": request.incident_id},
            )
        clip = await clip_in(connection, request.organisation_id, row[0])
        if created:
            await keep_notes(connection, request.organisation_id, clip.clip_id, notes(clip))
        return clip, created


async def get_clip(pool: Pool, organisation_id: str, clip_id: UUID) -> Clip:
    """One clip as it stands. Raises `MediaError` CLIP_NOT_FOUND."""
    async with organisation_transaction(pool, organisation_id) as connection:
        return await clip_in(connection, organisation_id, clip_id)


async def list_clips(
    pool: Pool, organisation_id: str, wanted: ClipFilter, *, after: tuple[int, UUID] | None, limit: int
) -> list[Clip]:
    """At most `limit` clips, newest event first, that come `after` the event and clip the page before ended with."""
    parameters = {
        "organisation_id": organisation_id,
        "camera_id": wanted.camera_id,
        "incident_id": wanted.incident_id,
        "states": None if wanted.states is None else list(wanted.states),
        "event_from": wanted.event_from,
        "event_to": wanted.event_to,
        "held": wanted.held,
        "after_at": after[0] if after else None,
        "after_id": after[1] if after else None,
        "limit": min(limit, MAX_PAGE),
    }
    async with organisation_transaction(pool, organisation_id) as connection:
        return await clips_of(connection, _PAGE, parameters)


async def clip_in(connection: Connection, organisation_id: str, clip_id: UUID) -> Clip:
    """One clip, in a transaction that is under way. Raises `MediaError` CLIP_NOT_FOUND."""
    found = await clips_of(connection, _BY_ID, {"organisation_id": organisation_id, "clip_id": clip_id})
    if not found:
        raise MediaError(Reason.CLIP_NOT_FOUND, f"there is no clip {clip_id} here", {"clip_id": str(clip_id)})
    return found[0]


async def clips_of(connection: Connection, query: str, parameters: dict[str, Any]) -> list[Clip]:
    """The clips that a query built on `SELECT_CLIPS` finds."""
    return [clip_of(row) for row in await clip_rows(connection, query, parameters)]


async def clip_rows(connection: Connection, query: str, parameters: dict[str, Any]) -> list[DictRow]:
    """As `clips_of`, with the columns that are no part of a `Clip`."""
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(query.encode(), parameters)
    return await cursor.fetchall()


def clip_of(row: DictRow) -> Clip:
    """A row of `SELECT_CLIPS` as a value."""
    ended_at, clip_id = row["ended_at"], row["clip_id"]
    return Clip(
        **{name: row[name] for name in _SAME_NAME},
        gaps=tuple(row["gaps"]),
        retain_until=None if ended_at is None else ended_at + row["retention_days"] * DAY_US,
        disposal=disposal_of(row),
        artefacts=tuple(
            Artefact(
                name=found["name"],
                role=found["role"],
                media_type=found["media_type"],
                stored=StoredObject(
                    key=found["key"], version_id=found["version_id"], size=found["size"], sha256=found["sha256"]
                ),
            )
            for found in row["artefacts"]
        ),
        holds=tuple(Hold(clip_id=clip_id, **(found | {"hold_id": UUID(found["hold_id"])})) for found in row["holds"]),
        kept=tuple(Attempt(**found) for found in row["kept"]),
    )


def _check_window(request: ExtractionRequest) -> None:
    if not request.asked_from <= request.event_at <= request.asked_to or request.asked_from == request.asked_to:
        raise MediaError(Reason.INVALID_ARGUMENT, "the window must contain the event", {"field": "event_at"})
