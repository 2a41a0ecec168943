"""Handing over what was drawn in a session, before its recording is processed."""

import asyncio
from uuid import UUID

from media.errors import MediaError, Reason
from media.records.recording_values import HandedOver
from media.records.records import Records
from media.video.strokes.document import parse_annotations

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024


async def hand_over_annotations(  # noqa: PLR0913 - what the record of a hand-over consists of
    records: Records, organisation_id: str, recording_id: UUID, document: bytes, *, by: str, at: int
) -> bool:
    """Keep the document (docs/spec/annotations.md), of no bytes when nothing was drawn; False when it was kept before.

    Raises MediaError: INVALID_ARGUMENT for a document that could not be drawn, RECORDING_NOT_FOUND, ANNOTATIONS_LATE,
    IDEMPOTENCY_CONFLICT.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise MediaError(
            Reason.INVALID_ARGUMENT,
            f"the annotations may have at most {MAX_DOCUMENT_BYTES} bytes",
            {"field": "annotations"},
        )
    # Somebody else's recording is not looked into, and not worth reading a document for.
    await records.recordings.get(organisation_id, recording_id)
    if document:
        await asyncio.to_thread(parse_annotations, document)
    handed = HandedOver(document=document, handed_by=by, handed_at=at)
    return await records.recordings.hand_over(organisation_id, recording_id, handed)
