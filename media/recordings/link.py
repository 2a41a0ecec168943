"""Addresses for the bytes of a recording's files: each on record, and on the operations chain, before it is given."""

import asyncio
from dataclasses import dataclass

from media.clips.access import MAX_LINK_SECONDS
from media.errors import MediaError, Reason
from media.recordings.access import record_access, require_bytes, require_readable
from media.records.recording_values import Recording
from media.records.recording_work import RecordingFile
from media.records.records import Records
from media.storage.store import EvidenceStore


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingLink:
    """An address that gives one file's bytes until `expires_at` (microseconds since 1970)."""

    url: str
    expires_at: int
    file: RecordingFile


async def create_recording_link(  # noqa: PLR0913 - who wants what of which recording, and for how long
    records: Records, store: EvidenceStore, recording: Recording, *, name: str, who: str, valid_seconds: int
) -> RecordingLink:
    """An address for one file.

    Raises MediaError: INVALID_ARGUMENT, RECORDING_NOT_COMPLETED, RECORDING_DISPOSED, ARTEFACT_NOT_FOUND, CLIP_ARCHIVED.
    """
    if not 1 <= valid_seconds <= MAX_LINK_SECONDS:
        raise MediaError(
            Reason.INVALID_ARGUMENT, f"valid_seconds must be 1 to {MAX_LINK_SECONDS}", {"field": "valid_seconds"}
        )
    require_bytes(recording)
    files = await records.recordings.files(recording.organisation_id, recording.recording_id)
    file = next((one for one in files if one.name == name), None)
    if file is None:
        raise MediaError(
            Reason.ARTEFACT_NOT_FOUND,
            f"this recording has no file {name!r}; it has {', '.join(one.name for one in files)}",
            {"field": "file", "recording_id": str(recording.recording_id)},
        )
    await require_readable(store, [file])
    detail = {"valid_seconds": valid_seconds}
    access = await record_access(records, recording, "link", who=who, file=name, detail=detail)
    url = await asyncio.to_thread(
        store.presign,
        file.stored,
        valid_seconds=valid_seconds,
        file_name=f"{recording.session_chain_id}-{name}",
        media_type=file.media_type,
    )
    return RecordingLink(url=url, expires_at=access.at + valid_seconds * 1_000_000, file=file)
