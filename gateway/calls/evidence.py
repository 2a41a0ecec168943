"""The evidence service's methods, as the gateway uses them."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from indelible.evidence.v1 import evidence_pb2, evidence_pb2_grpc

from gateway.calls import evidence_values as read
from gateway.calls.line import Identity, Wire
from gateway.values import (
    Clip,
    ClipRestore,
    ClipState,
    CompositeWay,
    ConsentAct,
    DownloadLink,
    LegalHold,
    LockMode,
    Page,
    ParticipantRole,
    PlacedHold,
    RecordedConsent,
    Recording,
    RecordingState,
    RequestedClip,
    Retention,
    StartedRecording,
    StoredCheck,
)


class EvidenceCalls:
    """Each method raises ClientError. What cannot be done twice without harm is not repeated by itself."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._stub = evidence_pb2_grpc.EvidenceServiceStub(wire.channel)

    def request_clip(  # noqa: PLR0913 - what a clip is asked for by
        self,
        identity: Identity,
        *,
        source: str,
        incident: str,
        event_at: datetime,
        before_seconds: int | None,
        after_seconds: int | None,
        session_id: str | None,
    ) -> RequestedClip:
        """Ask for a clip; the same source and incident give the same one for ever."""
        extraction = evidence_pb2.ClipExtractionRequest(
            source=source, incident=incident, event_at=_timestamp(event_at), session_chain_id=session_id or ""
        )
        if before_seconds is not None:
            extraction.before.FromSeconds(before_seconds)
        if after_seconds is not None:
            extraction.after.FromSeconds(after_seconds)
        request = evidence_pb2.RequestExtractionRequest(extraction=extraction)
        answer = self._wire.call(self._stub.RequestExtraction, request, identity)
        return RequestedClip(clip=read.clip(answer.clip), created=answer.created)

    def get_clip(self, identity: Identity, clip_id: str) -> Clip:
        """One clip as it stands."""
        request = evidence_pb2.GetClipRequest(clip_id=clip_id)
        return read.clip(self._wire.call(self._stub.GetClip, request, identity).clip)

    def list_clips(  # noqa: PLR0913 - the filters of the list
        self,
        identity: Identity,
        *,
        camera: str | None = None,
        incident: str | None = None,
        states: Sequence[ClipState] = (),
        event_from: datetime | None = None,
        event_to: datetime | None = None,
        held: bool | None = None,
        limit: int,
        cursor: str | None,
    ) -> Page[Clip]:
        """A page of the organisation's clips, newest incident first."""
        request = evidence_pb2.ListClipsRequest(
            page_size=limit,
            page_token=cursor or "",
            camera=camera or "",
            incident=incident or "",
            states=[read.CLIP_STATES.number(state) for state in states],
            event_from=_timestamp(event_from),
            event_to=_timestamp(event_to),
            held=held,
        )
        answer = self._wire.call(self._stub.ListClips, request, identity)
        return Page(items=tuple(map(read.clip, answer.clips)), next_cursor=answer.next_page_token or None)

    def get_custody(self, identity: Identity, *, clip_id: str | None = None, recording_id: str | None = None) -> bytes:
        """The custody document of a clip or a recording up to now: JSON."""
        request = evidence_pb2.GetCustodyRequest(clip_id=clip_id or "", recording_id=recording_id or "")
        document: bytes = self._wire.call(self._stub.GetCustody, request, identity).document
        return document

    def create_clip_link(self, identity: Identity, clip_id: str, file: str, valid_seconds: int) -> DownloadLink:
        """An address for one file; 0 for the service's default."""
        request = evidence_pb2.CreateDownloadLinkRequest(clip_id=clip_id, artefact=file, valid_seconds=valid_seconds)
        # Every address is on record as an access: none may be made that nobody received.
        return read.link(self._wire.call(self._stub.CreateDownloadLink, request, identity, retry=False))

    def restore_clip(self, identity: Identity, clip_id: str) -> ClipRestore:
        """Have archived files brought back, or learn how far that is."""
        request = evidence_pb2.RestoreClipRequest(clip_id=clip_id)
        return read.restore(self._wire.call(self._stub.RestoreClip, request, identity))

    def verify_clip(self, identity: Identity, clip_id: str) -> StoredCheck:
        """Read every file back and compare its digest with the one on record."""
        request = evidence_pb2.VerifyStoredClipRequest(clip_id=clip_id)
        answer = self._wire.call(self._stub.VerifyStoredClip, request, identity, retry=False, long=True)
        return read.check(answer, answer.artefacts)

    def export_clip(self, identity: Identity, clip_id: str, session_id: str | None) -> Iterator[bytes]:
        """The bundle with the clip in it, in pieces."""
        request = evidence_pb2.ExportClipRequest(clip_id=clip_id, chain_id=session_id or "")
        return self._wire.stream(self._stub.ExportClip, request, identity)

    def dispose_clip(self, identity: Identity, clip_id: str, reason: str) -> Clip:
        """Delete a clip's bytes before its retention ends."""
        request = evidence_pb2.DisposeClipRequest(clip_id=clip_id, reason=reason)
        return read.clip(self._wire.call(self._stub.DisposeClip, request, identity).clip)

    def place_hold(
        self,
        identity: Identity,
        reason: str,
        idempotency_key: str,
        *,
        clip_id: str | None = None,
        recording_id: str | None = None,
    ) -> PlacedHold:
        """Hold a clip or a recording."""
        request = evidence_pb2.PlaceLegalHoldRequest(
            clip_id=clip_id or "", recording_id=recording_id or "", reason=reason, idempotency_key=idempotency_key
        )
        answer = self._wire.call(self._stub.PlaceLegalHold, request, identity)
        return PlacedHold(hold=read.hold(answer.hold), mirrored=answer.mirrored)

    def lift_hold(self, identity: Identity, hold_id: str, reason: str) -> LegalHold:
        """Lift one hold; again: the first answer."""
        request = evidence_pb2.LiftLegalHoldRequest(hold_id=hold_id, reason=reason)
        return read.hold(self._wire.call(self._stub.LiftLegalHold, request, identity).hold)

    def get_retention(self, identity: Identity) -> Retention:
        """How long the organisation keeps clips and recordings."""
        answer = self._wire.call(self._stub.GetRetention, evidence_pb2.GetRetentionRequest(), identity)
        return read.retention(answer.retention)

    def set_retention(self, identity: Identity, days: int, reason: str, lock_mode: LockMode | None) -> Retention:
        """Change how long the organisation keeps clips and recordings."""
        request = evidence_pb2.SetRetentionRequest(
            days=days, reason=reason, lock_mode=read.LOCK_MODES.number(lock_mode)
        )
        return read.retention(self._wire.call(self._stub.SetRetention, request, identity).retention)

    def record_consent(  # noqa: PLR0913 - what a consent consists of
        self,
        identity: Identity,
        session_id: str,
        *,
        participant: str,
        role: ParticipantRole,
        act: ConsentAct,
        notice: str,
        idempotency_key: str,
    ) -> RecordedConsent:
        """Note on the session's chain what somebody decided about being recorded."""
        request = evidence_pb2.RecordConsentRequest(
            session_chain_id=session_id,
            participant=participant,
            role=read.ROLES.number(role),
            act=read.CONSENT_ACTS.number(act),
            notice=notice,
            idempotency_key=idempotency_key,
        )
        return read.consent(self._wire.call(self._stub.RecordConsent, request, identity))

    def start_recording(  # noqa: PLR0913 - what a recording is asked for by
        self,
        identity: Identity,
        session_id: str,
        *,
        room: str,
        operator: str,
        composite: CompositeWay | None,
        annotations_expected: bool,
    ) -> StartedRecording:
        """Begin to record a session; while a recording of it runs: that one."""
        request = evidence_pb2.StartRecordingRequest(
            session_chain_id=session_id,
            room=room,
            operator=operator,
            composite=read.COMPOSITE_WAYS.number(composite),
            annotations_expected=annotations_expected,
        )
        answer = self._wire.call(self._stub.StartRecording, request, identity)
        return StartedRecording(recording=read.recording(answer.recording), created=answer.created)

    def stop_recording(self, identity: Identity, recording_id: str, reason: str) -> Recording:
        """End a recording; again: harmless."""
        request = evidence_pb2.StopRecordingRequest(recording_id=recording_id, reason=reason)
        return read.recording(self._wire.call(self._stub.StopRecording, request, identity).recording)

    def get_recording(self, identity: Identity, recording_id: str) -> Recording:
        """One recording as it stands."""
        request = evidence_pb2.GetRecordingRequest(recording_id=recording_id)
        return read.recording(self._wire.call(self._stub.GetRecording, request, identity).recording)

    def list_recordings(  # noqa: PLR0913 - the filters of the list
        self,
        identity: Identity,
        *,
        session_id: str | None = None,
        states: Sequence[RecordingState] = (),
        started_from: datetime | None = None,
        started_to: datetime | None = None,
        held: bool | None = None,
        limit: int,
        cursor: str | None,
    ) -> Page[Recording]:
        """A page of the organisation's recordings, newest first."""
        request = evidence_pb2.ListRecordingsRequest(
            page_size=limit,
            page_token=cursor or "",
            session_chain_id=session_id or "",
            states=[read.RECORDING_STATES.number(state) for state in states],
            started_from=_timestamp(started_from),
            started_to=_timestamp(started_to),
            held=held,
        )
        answer = self._wire.call(self._stub.ListRecordings, request, identity)
        return Page(items=tuple(map(read.recording, answer.recordings)), next_cursor=answer.next_page_token or None)

    def annotate_recording(self, identity: Identity, recording_id: str, annotations: bytes) -> Recording:
        """Hand over what was drawn in the session; empty: nothing was."""
        request = evidence_pb2.ProcessRecordingRequest(recording_id=recording_id, annotations=annotations)
        return read.recording(self._wire.call(self._stub.ProcessRecording, request, identity).recording)

    def verify_recording(self, identity: Identity, recording_id: str) -> StoredCheck:
        """Read every file of a recording back and compare its digest with the one on record."""
        request = evidence_pb2.VerifyStoredRecordingRequest(recording_id=recording_id)
        answer = self._wire.call(self._stub.VerifyStoredRecording, request, identity, retry=False, long=True)
        return read.check(answer, answer.files)

    def dispose_recording(self, identity: Identity, recording_id: str, reason: str) -> Recording:
        """Delete a recording's bytes before its retention ends."""
        request = evidence_pb2.DisposeRecordingRequest(recording_id=recording_id, reason=reason)
        return read.recording(self._wire.call(self._stub.DisposeRecording, request, identity).recording)

    def receive_livekit_webhook(self, body: bytes, authorization: str, request_id: str) -> bool:
        """Hand over what LiveKit sent, signature and all; False when it had come before."""
        request = evidence_pb2.ReceiveLiveKitWebhookRequest(body=body, authorization=authorization)
        nobody = Identity(token=None, request_id=request_id)
        fresh: bool = self._wire.call(self._stub.ReceiveLiveKitWebhook, request, nobody).fresh
        return fresh

    def create_recording_link(
        self, identity: Identity, recording_id: str, file: str, valid_seconds: int
    ) -> DownloadLink:
        """An address for one file of a recording; 0 for the service's default."""
        request = evidence_pb2.CreateRecordingLinkRequest(
            recording_id=recording_id, file=file, valid_seconds=valid_seconds
        )
        # As for a clip's.
        return read.link(self._wire.call(self._stub.CreateRecordingLink, request, identity, retry=False))


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message
