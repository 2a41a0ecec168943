"""Recordings of sessions: consent, start, stop, annotations, reading, and LiveKit's reports."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from indelible.evidence.v1 import evidence_pb2

from ledger.identity import Caller
from ledger.serving.paging import page_size, read_page_token, write_page_token
from media.clips.access import DEFAULT_LINK_SECONDS
from media.clips.sources import Sources
from media.errors import MediaError, Reason
from media.metrics import WebhookMetrics
from media.recordings.annotate import hand_over_annotations
from media.recordings.consent import ConsentWish, record_consent
from media.recordings.control import Control
from media.recordings.link import create_recording_link
from media.recordings.livekit_values import ApiKey
from media.recordings.livekit_webhook import MAX_BODY_BYTES
from media.recordings.start import StartWish, start_recording
from media.recordings.stop import stop_recording
from media.recordings.webhook import take_webhook
from media.recordings.words import check_session
from media.records.recording_values import Recording, RecordingFilter
from media.records.records import Records
from media.service.allowance import Allowance
from media.service.convert import identifier, optional_time, timestamp
from media.service.recording_convert import (
    STATES_OF,
    act_of,
    consent_message,
    recording_message,
    role_of,
    way_of,
)
from media.storage.store import EvidenceStore

MAX_STATES = 9
# LiveKit sends some ten reports for a participant; a burst is a large meeting that begins.
REPORTS_PER_SECOND = 100.0
REPORTS_AT_ONCE = 400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveKitReports:
    """Whose reports are believed, and how many are taken."""

    keys: Sequence[ApiKey]
    metrics: WebhookMetrics


class Recordings:
    """The handlers about recordings. Without `control` there is no LiveKit, and nothing is begun."""

    def __init__(
        self,
        records: Records,
        store: EvidenceStore,
        sources: Sources,
        control: Control | None,
        reports: LiveKitReports | None,
    ) -> None:
        self._records = records
        self._store = store
        self._sources = sources
        self._control = control
        self._reports = reports
        self._allowance = Allowance(per_second=REPORTS_PER_SECOND, at_once=REPORTS_AT_ONCE)

    async def record_consent(
        self, request: evidence_pb2.RecordConsentRequest, caller: Caller
    ) -> evidence_pb2.RecordConsentResponse:
        """Note what somebody decided; a withdrawal stops what it covers first."""
        wish = ConsentWish(
            session_chain_id=request.session_chain_id,
            participant=request.participant,
            role=role_of(request.role),
            act=act_of(request.act),
            notice=request.notice,
            idempotency_key=request.idempotency_key,
        )
        consent, stopped = await record_consent(self._configured(), caller.organisation_id, wish, by=caller.subject)
        return evidence_pb2.RecordConsentResponse(
            consent=consent_message(consent), stopped_recording_ids=[str(one) for one in stopped]
        )

    async def start_recording(
        self, request: evidence_pb2.StartRecordingRequest, caller: Caller
    ) -> evidence_pb2.StartRecordingResponse:
        """Begin to record, or give what runs."""
        choice = self._sources.recording_choice(caller.organisation_id)
        wish = StartWish(
            session_chain_id=request.session_chain_id,
            room=request.room,
            operator=request.operator,
            composite=way_of(request.composite, choice.composite),
            annotations_expected=request.annotations_expected,
            stream_copy=choice.stream_copy,
        )
        recording, created = await start_recording(self._configured(), caller.organisation_id, wish, by=caller.subject)
        return evidence_pb2.StartRecordingResponse(recording=recording_message(recording), created=created)

    async def stop_recording(
        self, request: evidence_pb2.StopRecordingRequest, caller: Caller
    ) -> evidence_pb2.StopRecordingResponse:
        """End a recording; its files follow."""
        recording = await stop_recording(
            self._configured(),
            caller.organisation_id,
            identifier(request.recording_id, "recording_id"),
            reason=request.reason,
            by=caller.subject,
        )
        return evidence_pb2.StopRecordingResponse(recording=recording_message(recording))

    async def get_recording(
        self, request: evidence_pb2.GetRecordingRequest, caller: Caller
    ) -> evidence_pb2.GetRecordingResponse:
        """One recording as it stands."""
        recording = await self._find(caller, request.recording_id)
        files = await self._records.recordings.files(caller.organisation_id, recording.recording_id)
        is_complete = recording.state in {"COMPLETED", "DISPOSING", "DISPOSED"}
        return evidence_pb2.GetRecordingResponse(recording=recording_message(recording, files if is_complete else ()))

    async def list_recordings(
        self, request: evidence_pb2.ListRecordingsRequest, caller: Caller
    ) -> evidence_pb2.ListRecordingsResponse:
        """A page of the organisation's recordings, without their files."""
        wanted = _filter_of(request)
        size = page_size(request.page_size)
        question = ("ListRecordings", caller.organisation_id, repr(wanted))
        position = read_page_token(request.page_token, question, (str, str))
        after = None if position is None else _position_of(position)
        found = await self._records.recordings.list(caller.organisation_id, wanted, after=after, limit=size + 1)
        last = found[size - 1] if len(found) > size else None
        return evidence_pb2.ListRecordingsResponse(
            recordings=[recording_message(recording) for recording in found[:size]],
            next_page_token=write_page_token(question, [str(last.started_at), str(last.recording_id)]) if last else "",
        )

    async def process_recording(
        self, request: evidence_pb2.ProcessRecordingRequest, caller: Caller
    ) -> evidence_pb2.ProcessRecordingResponse:
        """Take over what was drawn; workers go on when there is everything."""
        recording_id = identifier(request.recording_id, "recording_id")
        await hand_over_annotations(
            self._records,
            caller.organisation_id,
            recording_id,
            request.annotations,
            by=caller.subject,
            at=_now(),
        )
        recording = await self._records.recordings.get(caller.organisation_id, recording_id)
        return evidence_pb2.ProcessRecordingResponse(recording=recording_message(recording))

    async def create_recording_link(
        self, request: evidence_pb2.CreateRecordingLinkRequest, caller: Caller
    ) -> evidence_pb2.CreateRecordingLinkResponse:
        """An address for one file."""
        link = await create_recording_link(
            self._records,
            self._store,
            await self._find(caller, request.recording_id),
            name=request.file,
            who=caller.subject,
            valid_seconds=request.valid_seconds or DEFAULT_LINK_SECONDS,
        )
        stored = link.file.stored
        return evidence_pb2.CreateRecordingLinkResponse(
            url=link.url,
            expires_at=timestamp(link.expires_at),
            sha256=bytes.fromhex(stored.sha256),
            size=stored.size,
        )

    async def receive_livekit_webhook(
        self, request: evidence_pb2.ReceiveLiveKitWebhookRequest
    ) -> evidence_pb2.ReceiveLiveKitWebhookResponse:
        """Take a report of LiveKit's, whose signature is its permission."""
        control, reports = self._configured(), self._reports
        if reports is None:
            raise _not_configured()
        outcomes = reports.metrics.reports
        if not self._allowance.take():
            outcomes.labels("limited").inc()
            raise MediaError(Reason.OVERLOADED, "Too many reports at once. LiveKit sends them again.")
        if len(request.body) > MAX_BODY_BYTES:
            outcomes.labels("refused").inc()
            raise MediaError(Reason.WEBHOOK_REFUSED, f"The body has more than {MAX_BODY_BYTES} bytes.")
        try:
            is_fresh = await take_webhook(control, reports.keys, request.body, request.authorization)
        except MediaError as error:
            outcomes.labels("refused" if error.reason is Reason.WEBHOOK_REFUSED else "postponed").inc()
            raise
        outcomes.labels("fresh" if is_fresh else "known").inc()
        return evidence_pb2.ReceiveLiveKitWebhookResponse(fresh=is_fresh)

    async def _find(self, caller: Caller, recording_id: str) -> Recording:
        return await self._records.recordings.get(caller.organisation_id, identifier(recording_id, "recording_id"))

    def _configured(self) -> Control:
        if self._control is None:
            raise _not_configured()
        return self._control


def _not_configured() -> MediaError:
    return MediaError(Reason.RECORDINGS_NOT_CONFIGURED, "This service has no LiveKit server to record sessions with.")


def _filter_of(request: evidence_pb2.ListRecordingsRequest) -> RecordingFilter:
    if len(request.states) > MAX_STATES or any(state not in STATES_OF for state in request.states):
        raise MediaError(Reason.INVALID_ARGUMENT, "a state is not one of the contract", {"field": "states"})
    return RecordingFilter(
        session_chain_id=check_session(request.session_chain_id) if request.session_chain_id else None,
        states=tuple(sorted({STATES_OF[state] for state in request.states})) or None,
        started_from=optional_time(request, "started_from", "started_from"),
        started_to=optional_time(request, "started_to", "started_to"),
        held=request.held if request.HasField("held") else None,
    )


def _position_of(position: list[str | int]) -> tuple[int, UUID]:
    try:
        return int(position[0]), UUID(str(position[1]))
    except ValueError:
        raise MediaError(
            Reason.INVALID_ARGUMENT, "page_token does not belong to this list", {"field": "page_token"}
        ) from None


def _now() -> int:
    return time.time_ns() // 1000
