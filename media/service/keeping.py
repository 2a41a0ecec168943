"""Holding clips and recordings, disposing of them, and how long they are kept."""

from indelible.evidence.v1 import evidence_pb2

from ledger.identity import Caller
from media.clips.dispose import decide_disposal
from media.clips.hold import lift_hold, mirror_hold, place_hold
from media.clips.retain import change_retention
from media.clips.words import check_reason
from media.errors import MediaError, Reason
from media.records.kept import CLIP, RECORDING
from media.records.records import Records
from media.service.convert import (
    LOCK_MODES_OF,
    clip_message,
    hold_message,
    identifier,
    retention_message,
    subject_of,
)
from media.service.recording_convert import recording_message
from media.storage.store import EvidenceStore

MAX_KEY_CHARACTERS = 128
MAX_RETENTION_DAYS = 36_500


class Keeping:
    """The handlers that decide how long evidence stays."""

    def __init__(self, records: Records, store: EvidenceStore) -> None:
        self._records = records
        self._store = store

    async def place_legal_hold(
        self, request: evidence_pb2.PlaceLegalHoldRequest, caller: Caller
    ) -> evidence_pb2.PlaceLegalHoldResponse:
        """Hold a clip or a recording."""
        key = request.idempotency_key
        if not 1 <= len(key) <= MAX_KEY_CHARACTERS or not (key.isascii() and key.isprintable()):
            raise MediaError(
                Reason.INVALID_ARGUMENT,
                f"idempotency_key must be 1 to {MAX_KEY_CHARACTERS} printable ASCII characters",
                {"field": "idempotency_key"},
            )
        clip_id, recording_id = subject_of(request)
        hold = await place_hold(
            self._records,
            caller.organisation_id,
            clip_id=clip_id,
            recording_id=recording_id,
            by=caller.subject,
            reason=request.reason,
            idempotency_key=key,
        )
        mirrored = await mirror_hold(self._records, self._store, hold)
        return evidence_pb2.PlaceLegalHoldResponse(hold=hold_message(hold), mirrored=mirrored)

    async def lift_legal_hold(
        self, request: evidence_pb2.LiftLegalHoldRequest, caller: Caller
    ) -> evidence_pb2.LiftLegalHoldResponse:
        """Lift one hold."""
        hold = await lift_hold(
            self._records,
            caller.organisation_id,
            identifier(request.hold_id, "hold_id"),
            by=caller.subject,
            reason=request.reason,
        )
        return evidence_pb2.LiftLegalHoldResponse(hold=hold_message(hold))

    async def dispose_clip(
        self, request: evidence_pb2.DisposeClipRequest, caller: Caller
    ) -> evidence_pb2.DisposeClipResponse:
        """Decide that a clip's bytes are deleted now; a worker does it."""
        clip_id = identifier(request.clip_id, "clip_id")
        reason = check_reason(request.reason)
        await decide_disposal(self._records, CLIP, caller.organisation_id, clip_id, by=caller.subject, reason=reason)
        clip = await self._records.get_clip(caller.organisation_id, clip_id)
        return evidence_pb2.DisposeClipResponse(clip=clip_message(clip))

    async def dispose_recording(
        self, request: evidence_pb2.DisposeRecordingRequest, caller: Caller
    ) -> evidence_pb2.DisposeRecordingResponse:
        """Decide that a recording's bytes are deleted now; a worker does it."""
        organisation_id, recording_id = caller.organisation_id, identifier(request.recording_id, "recording_id")
        reason = check_reason(request.reason)
        await decide_disposal(self._records, RECORDING, organisation_id, recording_id, by=caller.subject, reason=reason)
        recording = await self._records.recordings.get(organisation_id, recording_id)
        files = await self._records.recordings.files(organisation_id, recording_id)
        return evidence_pb2.DisposeRecordingResponse(recording=recording_message(recording, files))

    async def get_retention(
        self, _request: evidence_pb2.GetRetentionRequest, caller: Caller
    ) -> evidence_pb2.GetRetentionResponse:
        """How long the organisation keeps clips and recordings."""
        retention = await self._records.retention(caller.organisation_id)
        return evidence_pb2.GetRetentionResponse(retention=retention_message(retention))

    async def set_retention(
        self, request: evidence_pb2.SetRetentionRequest, caller: Caller
    ) -> evidence_pb2.SetRetentionResponse:
        """Change how long the organisation keeps clips and recordings."""
        if not 1 <= request.days <= MAX_RETENTION_DAYS:
            raise MediaError(Reason.INVALID_ARGUMENT, f"days must be 1 to {MAX_RETENTION_DAYS}", {"field": "days"})
        if request.lock_mode and request.lock_mode not in LOCK_MODES_OF:
            raise MediaError(Reason.INVALID_ARGUMENT, "lock_mode is not one of the contract", {"field": "lock_mode"})
        retention = await change_retention(
            self._records,
            caller.organisation_id,
            days=request.days,
            lock_mode=LOCK_MODES_OF.get(request.lock_mode),
            reason=request.reason,
            by=caller.subject,
        )
        return evidence_pb2.SetRetentionResponse(retention=retention_message(retention))
