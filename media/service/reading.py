"""Reading what is preserved: custody, links, restoration, verification and export. Each is put on record."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from indelible.evidence.v1 import evidence_pb2

from ledger.identity import Caller
from ledger.serving.calls import Session
from ledger.telemetry import CallMetrics
from media.clips.access import (
    DEFAULT_LINK_SECONDS,
    MAX_LINK_SECONDS,
    create_link,
    current_custody,
    restore,
    verify_stored,
)
from media.clips.documents import document_bytes
from media.clips.export import Exporter, export_clip
from media.errors import MediaError, Reason
from media.recordings.access import verify_stored_recording
from media.recordings.custody import recording_custody
from media.recordings.export import export_recording
from media.records.values import OPERATIONS_CHAIN_ID
from media.service.convert import RESTORE_STATES, check_message, identifier, subject_of, timestamp

CHUNK_BYTES = 256 * 1024
# Reading a whole clip back, at some 20 MB/s.
MAX_VERIFY_SECONDS = 900.0
MAX_EXPORT_SECONDS = 1_800.0
# Each may hold a clip and a bundle on disk while its reader dawdles.
MAX_EXPORTS = 16
# Reading whole clips keeps a thread busy each; the others must not have to wait for them.
MAX_READERS = 3
MAX_EXPORTS_PER_ORGANISATION = 8


class Reading:
    """The handlers that give out what is preserved."""

    def __init__(self, exporter: Exporter, metrics: CallMetrics, directory: Path) -> None:
        self._exporter = exporter
        self._records = exporter.records
        self._store = exporter.store
        self._metrics = metrics
        self._directory = directory
        self._exports: Counter[str] = Counter()
        self._readers = asyncio.Semaphore(MAX_READERS)

    async def get_custody(
        self, request: evidence_pb2.GetCustodyRequest, caller: Caller
    ) -> evidence_pb2.GetCustodyResponse:
        """The chain of custody up to now."""
        clip_id, recording_id = subject_of(request)
        if clip_id is not None:
            clip = await self._records.get_clip(caller.organisation_id, clip_id)
            document = await current_custody(self._records, clip)
        elif recording_id is not None:
            recording = await self._records.recordings.get(caller.organisation_id, recording_id)
            document = await recording_custody(self._records, recording)
        return evidence_pb2.GetCustodyResponse(document=document_bytes(document))

    async def create_download_link(
        self, request: evidence_pb2.CreateDownloadLinkRequest, caller: Caller
    ) -> evidence_pb2.CreateDownloadLinkResponse:
        """An address for one artefact."""
        if not 0 <= request.valid_seconds <= MAX_LINK_SECONDS:
            raise MediaError(
                Reason.INVALID_ARGUMENT, f"valid_seconds must be 1 to {MAX_LINK_SECONDS}", {"field": "valid_seconds"}
            )
        clip = await self._records.get_clip(caller.organisation_id, identifier(request.clip_id, "clip_id"))
        link = await create_link(
            self._records,
            self._store,
            clip,
            name=request.artefact,
            who=caller.subject,
            valid_seconds=request.valid_seconds or DEFAULT_LINK_SECONDS,
        )
        return evidence_pb2.CreateDownloadLinkResponse(
            url=link.url,
            expires_at=timestamp(link.expires_at),
            sha256=bytes.fromhex(link.artefact.stored.sha256),
            size=link.artefact.stored.size,
        )

    async def restore_clip(
        self, request: evidence_pb2.RestoreClipRequest, caller: Caller
    ) -> evidence_pb2.RestoreClipResponse:
        """Have archived artefacts brought back."""
        clip = await self._records.get_clip(caller.organisation_id, identifier(request.clip_id, "clip_id"))
        return evidence_pb2.RestoreClipResponse(
            artefacts=[
                evidence_pb2.ArtefactRestore(
                    name=artefact.name,
                    state=RESTORE_STATES[availability.state],
                    ready_until=timestamp(availability.ready_until),
                )
                for artefact, availability in await restore(self._store, clip)
            ]
        )

    async def verify_stored_clip(
        self, request: evidence_pb2.VerifyStoredClipRequest, caller: Caller
    ) -> evidence_pb2.VerifyStoredClipResponse:
        """Read every artefact back now."""
        clip = await self._records.get_clip(caller.organisation_id, identifier(request.clip_id, "clip_id"))
        async with self._readers:
            checks, checked_at = await verify_stored(self._records, self._store, clip, who=caller.subject)
        return evidence_pb2.VerifyStoredClipResponse(
            ok=all(check.ok for check in checks),
            artefacts=[check_message(check) for check in checks],
            checked_at=timestamp(checked_at),
        )

    async def export_clip(
        self, request: evidence_pb2.ExportClipRequest, session: Session
    ) -> AsyncGenerator[evidence_pb2.ExportClipResponse, None]:
        """The bundle with the clip. It is complete before its first byte is sent."""
        caller = session.caller
        clip = await self._records.get_clip(caller.organisation_id, identifier(request.clip_id, "clip_id"))
        async with asyncio.timeout(MAX_EXPORT_SECONDS), self._room(caller.organisation_id) as directory:
            async with self._readers:
                path = await export_clip(
                    self._exporter,
                    clip,
                    chain_id=request.chain_id or OPERATIONS_CHAIN_ID,
                    who=caller.subject,
                    directory=directory,
                )
            with path.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    yield evidence_pb2.ExportClipResponse(data=chunk)

    async def verify_stored_recording(
        self, request: evidence_pb2.VerifyStoredRecordingRequest, caller: Caller
    ) -> evidence_pb2.VerifyStoredRecordingResponse:
        """Read every file of a recording back now."""
        recording_id = identifier(request.recording_id, "recording_id")
        recording = await self._records.recordings.get(caller.organisation_id, recording_id)
        async with self._readers:
            checks, checked_at = await verify_stored_recording(
                self._records, self._store, recording, who=caller.subject
            )
        return evidence_pb2.VerifyStoredRecordingResponse(
            ok=all(check.ok for check in checks),
            files=[check_message(check) for check in checks],
            checked_at=timestamp(checked_at),
        )

    async def export_recording(
        self, request: evidence_pb2.ExportRecordingRequest, session: Session
    ) -> AsyncGenerator[evidence_pb2.ExportRecordingResponse, None]:
        """The bundle with the recording. It is complete before its first byte is sent."""
        caller = session.caller
        recording_id = identifier(request.recording_id, "recording_id")
        recording = await self._records.recordings.get(caller.organisation_id, recording_id)
        async with asyncio.timeout(MAX_EXPORT_SECONDS), self._room(caller.organisation_id) as directory:
            async with self._readers:
                path = await export_recording(
                    self._exporter,
                    recording,
                    chain_id=request.chain_id or recording.session_chain_id,
                    who=caller.subject,
                    directory=directory,
                )
            with path.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    yield evidence_pb2.ExportRecordingResponse(data=chunk)

    @asynccontextmanager
    async def _room(self, organisation_id: str) -> AsyncIterator[Path]:
        """A directory for one more export. Raises MediaError (OVERLOADED)."""
        if self._exports.total() >= MAX_EXPORTS or self._exports[organisation_id] >= MAX_EXPORTS_PER_ORGANISATION:
            raise MediaError(Reason.OVERLOADED, "Too many exports are under way. Try again in a while.")
        self._exports[organisation_id] += 1
        self._metrics.exports_running.inc()
        try:
            with tempfile.TemporaryDirectory(prefix="indelible-export-", dir=self._directory) as directory:
                yield Path(directory)
        finally:
            self._exports[organisation_id] -= 1
            if not self._exports[organisation_id]:
                del self._exports[organisation_id]
            self._metrics.exports_running.dec()
