"""The evidence service's messages as values."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, cast

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from indelible.evidence.v1 import evidence_pb2

from gateway.values import (
    Clip,
    ClipRestore,
    ClipState,
    CompositeWay,
    Consent,
    ConsentAct,
    DownloadLink,
    EgressOutcome,
    Failure,
    FileCheck,
    FileRestore,
    Gap,
    LegalHold,
    LockMode,
    ParticipantRecording,
    ParticipantRole,
    RecordedConsent,
    Recording,
    RecordingFile,
    RecordingState,
    RestoreState,
    Retention,
    StoredCheck,
    StoredFile,
)

Word = TypeVar("Word", bound=str)


class _Words(Generic[Word]):
    """One of the contract's enumerations, as words in lower case without their prefix."""

    def __init__(self, numbers: Any, prefix: str) -> None:
        self._words = {number: cast(Word, name.removeprefix(prefix).lower()) for name, number in numbers.items()}
        self._numbers = {word: number for number, word in self._words.items()}

    def word(self, number: int) -> Word:
        """What a number says; a number newer than this gateway says nothing."""
        return self._words.get(number, self._words[0])

    def number(self, word: Word | None) -> Any:
        """The number that a word stands for; 0, which is unspecified, for none."""
        return self._numbers[word] if word else 0


CLIP_STATES = _Words[ClipState](evidence_pb2.ClipState, "CLIP_STATE_")
LOCK_MODES = _Words[LockMode](evidence_pb2.LockMode, "LOCK_MODE_")
RESTORE_STATES = _Words[RestoreState](evidence_pb2.RestoreState, "RESTORE_STATE_")
CONSENT_ACTS = _Words[ConsentAct](evidence_pb2.ConsentAct, "CONSENT_ACT_")
ROLES = _Words[ParticipantRole](evidence_pb2.ParticipantRole, "PARTICIPANT_ROLE_")
COMPOSITE_WAYS = _Words[CompositeWay](evidence_pb2.CompositeWay, "COMPOSITE_WAY_")
RECORDING_STATES = _Words[RecordingState](evidence_pb2.RecordingState, "RECORDING_STATE_")
_OUTCOMES = _Words[EgressOutcome](evidence_pb2.EgressOutcome, "EGRESS_OUTCOME_")


def clip(message: evidence_pb2.Clip) -> Clip:
    """A clip from the wire."""
    return Clip(
        clip_id=message.clip_id,
        source=message.source,
        camera=message.camera,
        incident=message.incident,
        state=CLIP_STATES.word(message.state),
        event_at=_moment(message.event_at),
        asked_from=_moment(message.asked_from),
        asked_to=_moment(message.asked_to),
        actual_from=_optional(message, "actual_from"),
        actual_to=_optional(message, "actual_to"),
        gaps=tuple(
            Gap(starts_at=_moment(gap.starts_at), ends_at=_moment(gap.ends_at), why=gap.why) for gap in message.gaps
        ),
        files=tuple(StoredFile(name=file.name, size=file.size, sha256=file.sha256.hex()) for file in message.artefacts),
        holds=tuple(map(hold, message.holds)),
        failure=_failure(message),
        session_id=message.session_chain_id or None,
        requested_by=message.requested_by,
        requested_at=_moment(message.requested_at),
        preserved_at=_optional(message, "preserved_at"),
        retain_until=_optional(message, "retain_until"),
        disposed_at=_optional(message, "disposed_at"),
    )


def hold(message: evidence_pb2.LegalHold) -> LegalHold:
    """A hold from the wire."""
    lifted_at = _optional(message, "lifted_at")
    return LegalHold(
        hold_id=message.hold_id,
        clip_id=message.clip_id or None,
        recording_id=message.recording_id or None,
        reason=message.reason,
        placed_by=message.placed_by,
        placed_at=_moment(message.placed_at),
        lift_reason=message.lift_reason if lifted_at else None,
        lifted_by=message.lifted_by if lifted_at else None,
        lifted_at=lifted_at,
    )


def link(message: "evidence_pb2.CreateDownloadLinkResponse | evidence_pb2.CreateRecordingLinkResponse") -> DownloadLink:
    """A download link from the wire."""
    return DownloadLink(
        url=message.url, expires_at=_moment(message.expires_at), sha256=message.sha256.hex(), size=message.size
    )


def check(
    message: "evidence_pb2.VerifyStoredClipResponse | evidence_pb2.VerifyStoredRecordingResponse",
    files: Iterable[evidence_pb2.ArtefactCheck],
) -> StoredCheck:
    """The result of reading a clip or a recording back."""
    return StoredCheck(
        ok=message.ok,
        files=tuple(
            FileCheck(
                name=file.name,
                ok=file.ok,
                expected_sha256=file.expected_sha256.hex(),
                found_sha256=file.found_sha256.hex() or None,
                problem=file.problem,
            )
            for file in files
        ),
        checked_at=_moment(message.checked_at),
    )


def restore(message: evidence_pb2.RestoreClipResponse) -> ClipRestore:
    """How far the return of a clip's files is."""
    return ClipRestore(
        files=tuple(
            FileRestore(
                name=file.name, state=RESTORE_STATES.word(file.state), ready_until=_optional(file, "ready_until")
            )
            for file in message.artefacts
        )
    )


def retention(message: evidence_pb2.Retention) -> Retention:
    """How long clips and recordings are kept."""
    return Retention(
        days=message.days,
        lock_mode=LOCK_MODES.word(message.lock_mode),
        set_by=message.set_by or None,
        set_at=_optional(message, "set_at"),
    )


def consent(message: evidence_pb2.RecordConsentResponse) -> RecordedConsent:
    """A consent that was noted."""
    return RecordedConsent(
        consent=Consent(
            participant=message.consent.participant,
            role=ROLES.word(message.consent.role),
            act=CONSENT_ACTS.word(message.consent.act),
            notice=message.consent.notice,
            recorded_at=_moment(message.consent.recorded_at),
            recorded_by=message.consent.recorded_by,
        ),
        stopped_recording_ids=tuple(message.stopped_recording_ids),
    )


def recording(message: evidence_pb2.Recording) -> Recording:
    """A recording from the wire."""
    return Recording(
        recording_id=message.recording_id,
        session_id=message.session_chain_id,
        room=message.room,
        operator=message.operator,
        composite=COMPOSITE_WAYS.word(message.composite),
        state=RECORDING_STATES.word(message.state),
        annotations_expected=message.annotations_expected,
        participants=tuple(map(_participant, message.participants)),
        files=tuple(map(_file, message.files)),
        failure=_failure(message),
        notes=tuple(message.notes),
        requested_by=message.requested_by,
        started_at=_optional(message, "started_at"),
        stopped_at=_optional(message, "stopped_at"),
        stop_reason=message.stop_reason or None,
        completed_at=_optional(message, "completed_at"),
        retain_until=_optional(message, "retain_until"),
        disposed_at=_optional(message, "disposed_at"),
        holds=tuple(map(hold, message.holds)),
    )


def _participant(message: evidence_pb2.ParticipantRecording) -> ParticipantRecording:
    return ParticipantRecording(
        participant=message.participant,
        role=ROLES.word(message.role),
        tile=message.tile,
        outcome=_OUTCOMES.word(message.outcome),
        started_at=_optional(message, "started_at"),
        ended_at=_optional(message, "ended_at"),
    )


def _file(message: evidence_pb2.RecordingFile) -> RecordingFile:
    return RecordingFile(
        name=message.name,
        participant=message.participant or None,
        size=message.size,
        sha256=message.sha256.hex(),
        raw_sha256=message.raw_sha256.hex() or None,
        starts_at=_optional(message, "starts_at"),
        duration_seconds=(message.duration.ToMicroseconds() / 1_000_000 if message.HasField("duration") else None),
    )


def _failure(message: evidence_pb2.Clip | evidence_pb2.Recording) -> Failure | None:
    if not message.HasField("failure"):
        return None
    return Failure(reason=message.failure.reason, message=message.failure.message)


def _moment(message: Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)


def _optional(message: Message, field: str) -> datetime | None:
    return _moment(getattr(message, field)) if message.HasField(field) else None
