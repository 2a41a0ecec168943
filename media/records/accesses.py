"""Who was given bytes of a clip. The row is committed before the bytes, or an address for them, are handed out."""

import json
from collections.abc import Sequence
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from ledger.database.connections import Pool
from media.errors import MediaError, Reason
from media.records.clips import clip_in
from media.records.outbox import keep_notes
from media.records.transactions import organisation_transaction
from media.records.values import Access, Note

_ADD = """
INSERT INTO evidence.accesses (access_id, clip_id, organisation_id, kind, who, artefact, detail, at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
# Waits for a disposal that is being decided, and lets none begin before this commit; other accesses need not wait.
_LOCK_CLIP = "SELECT 1 FROM evidence.clips WHERE organisation_id = %s AND clip_id = %s FOR SHARE"
_OF_CLIP = """
SELECT access_id, clip_id, kind, who, at, artefact, detail
  FROM evidence.accesses
 WHERE organisation_id = %s AND clip_id = %s
 ORDER BY at, access_id
"""


async def add_access(pool: Pool, organisation_id: str, access: Access, notes: Sequence[Note]) -> None:
    """Record one access. Raises `MediaError` CLIP_NOT_FOUND, CLIP_DISPOSED (also while it is being disposed of)."""
    async with organisation_transaction(pool, organisation_id) as connection:
        await connection.execute(_LOCK_CLIP, (organisation_id, access.clip_id))
        clip = await clip_in(connection, organisation_id, access.clip_id)
        if clip.state in {"DISPOSING", "DISPOSED"}:
            raise MediaError(
                Reason.CLIP_DISPOSED,
                "the clip was disposed of; its digests remain on record",
                {"clip_id": str(access.clip_id), "state": clip.state},
            )
        detail = Jsonb(dict(access.detail), dumps=lambda value: json.dumps(value, allow_nan=False))
        await connection.execute(
            _ADD,
            (
                *(access.access_id, access.clip_id, organisation_id, access.kind, access.who),
                *(access.artefact, detail, access.at),
            ),
        )
        await keep_notes(connection, organisation_id, access.clip_id, notes)


async def accesses_of(pool: Pool, organisation_id: str, clip_id: UUID) -> list[Access]:
    """Every access to a clip, oldest first."""
    async with organisation_transaction(pool, organisation_id) as connection:
        cursor = connection.cursor(row_factory=class_row(Access))
        await cursor.execute(_OF_CLIP, (organisation_id, clip_id))
        return await cursor.fetchall()
