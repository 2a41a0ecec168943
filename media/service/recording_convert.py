"""Recordings to messages, and what requests about them say to values."""

from google.protobuf import duration_pb2
from indelible.evidence.v1 import evidence_pb2

from media.clips.sources import CompositeChoice
from media.errors import MediaError, Reason
from media.records.recording_values import (
    CompositeWay,
    Consent,
    ConsentAct,
    EgressOutcome,
    ParticipantRole,
    Recording,
    RecordingState,
    Stay,
)
from media.records.recording_work import RecordingFile
from media.service.convert import hold_message, timestamp

STATES: "dict[RecordingState, evidence_pb2.RecordingState.ValueType]" = {
    "STARTING": evidence_pb2.RECORDING_STATE_STARTING,
    "RECORDING": evidence_pb2.RECORDING_STATE_RECORDING,
    "STOPPING": evidence_pb2.RECORDING_STATE_STOPPING,
    "WAITING": evidence_pb2.RECORDING_STATE_WAITING,
    "PROCESSING": evidence_pb2.RECORDING_STATE_PROCESSING,
    "COMPLETED": evidence_pb2.RECORDING_STATE_COMPLETED,
    "FAILED": evidence_pb2.RECORDING_STATE_FAILED,
    "DISPOSING": evidence_pb2.RECORDING_STATE_DISPOSING,
    "DISPOSED": evidence_pb2.RECORDING_STATE_DISPOSED,
}
WAYS: "dict[CompositeWay, evidence_pb2.CompositeWay.ValueType]" = {
    "FROM_FILES": evidence_pb2.COMPOSITE_WAY_FROM_FILES,
    "ROOM": evidence_pb2.COMPOSITE_WAY_ROOM,
}
OUTCOMES: "dict[EgressOutcome, evidence_pb2.EgressOutcome.ValueType]" = {
    "COMPLETE": evidence_pb2.EGRESS_OUTCOME_COMPLETE,
    "CUT_BY_LIMIT": evidence_pb2.EGRESS_OUTCOME_CUT_BY_LIMIT,
    "FAILED": evidence_pb2.EGRESS_OUTCOME_FAILED,
    "ABORTED": evidence_pb2.EGRESS_OUTCOME_ABORTED,
    "NEVER_FINISHED": evidence_pb2.EGRESS_OUTCOME_NEVER_FINISHED,
}
ROLES: "dict[ParticipantRole, evidence_pb2.ParticipantRole.ValueType]" = {
    "OPERATOR": evidence_pb2.PARTICIPANT_ROLE_OPERATOR,
    "FIELD": evidence_pb2.PARTICIPANT_ROLE_FIELD,
}
ACTS: "dict[ConsentAct, evidence_pb2.ConsentAct.ValueType]" = {
    "BANNER_SHOWN": evidence_pb2.CONSENT_ACT_BANNER_SHOWN,
    "GIVEN": evidence_pb2.CONSENT_ACT_GIVEN,
    "REFUSED": evidence_pb2.CONSENT_ACT_REFUSED,
    "WITHDRAWN": evidence_pb2.CONSENT_ACT_WITHDRAWN,
}
STATES_OF = {message: state for state, message in STATES.items()}
_WAYS_OF = {message: way for way, message in WAYS.items()}
_ROLES_OF = {message: role for role, message in ROLES.items()}
_ACTS_OF = {message: act for act, message in ACTS.items()}
_CHOSEN: dict[CompositeChoice, CompositeWay] = {
    CompositeChoice.FROM_FILES: "FROM_FILES",
    CompositeChoice.ROOM: "ROOM",
}


def recording_message(recording: Recording, files: tuple[RecordingFile, ...] = ()) -> evidence_pb2.Recording:
    """A recording as callers see it."""
    message = evidence_pb2.Recording(
        recording_id=str(recording.recording_id),
        session_chain_id=recording.session_chain_id,
        room=recording.room,
        operator=recording.operator,
        composite=WAYS[recording.composite],
        state=STATES[recording.state],
        annotations_expected=recording.annotations_expected,
        participants=[_stay_message(recording, stay) for stay in recording.stays if stay.participant is not None],
        files=[_file_message(file) for file in files],
        notes=recording.remarks,
        requested_by=recording.requested_by,
        started_at=timestamp(recording.started_at),
        stopped_at=timestamp(recording.stopped_at),
        stop_reason=recording.stop_reason or "",
        completed_at=None if recording.failure_reason else timestamp(recording.ended_at),
        retain_until=timestamp(recording.retain_until),
        disposed_at=timestamp(recording.disposed_at),
        holds=[hold_message(hold) for hold in recording.holds],
    )
    if recording.failure_reason is not None:
        message.failure.reason = recording.failure_reason
        message.failure.message = recording.failure_message or ""
    return message


def consent_message(consent: Consent) -> evidence_pb2.Consent:
    """A consent, refusal, withdrawal or showing of the banner."""
    return evidence_pb2.Consent(
        participant=consent.participant,
        role=ROLES[consent.role],
        act=ACTS[consent.act],
        notice=consent.notice,
        recorded_at=timestamp(consent.recorded_at),
        recorded_by=consent.recorded_by,
    )


def role_of(value: "evidence_pb2.ParticipantRole.ValueType") -> ParticipantRole:
    """Raises MediaError (INVALID_ARGUMENT)."""
    if value not in _ROLES_OF:
        raise MediaError(Reason.INVALID_ARGUMENT, "role must be operator or field", {"field": "role"})
    return _ROLES_OF[value]


def act_of(value: "evidence_pb2.ConsentAct.ValueType") -> ConsentAct:
    """Raises MediaError (INVALID_ARGUMENT)."""
    if value not in _ACTS_OF:
        raise MediaError(
            Reason.INVALID_ARGUMENT, "act must be banner shown, given, refused or withdrawn", {"field": "act"}
        )
    return _ACTS_OF[value]


def way_of(value: "evidence_pb2.CompositeWay.ValueType", chosen: CompositeChoice) -> CompositeWay:
    """How the composite is made: as asked, else as the organisation chose. Raises MediaError (INVALID_ARGUMENT)."""
    if value == evidence_pb2.COMPOSITE_WAY_UNSPECIFIED:
        return _CHOSEN[chosen]
    if value not in _WAYS_OF:
        raise MediaError(Reason.INVALID_ARGUMENT, "composite is not one of the contract", {"field": "composite"})
    return _WAYS_OF[value]


def _stay_message(recording: Recording, stay: Stay) -> evidence_pb2.ParticipantRecording:
    member = recording.member(stay.participant or "")
    message = evidence_pb2.ParticipantRecording(
        participant=stay.participant or "",
        tile=stay.tile or 0,
        egress_id=stay.egress_id or "",
        started_at=timestamp(stay.started_at),
        ended_at=timestamp(stay.ended_at),
    )
    if member is not None:
        message.role = ROLES[member.role]
    if stay.outcome is not None:
        message.outcome = OUTCOMES[stay.outcome]
    return message


def _file_message(file: RecordingFile) -> evidence_pb2.RecordingFile:
    stored = file.stored
    message = evidence_pb2.RecordingFile(
        name=file.name,
        participant=file.participant or "",
        key=stored.key,
        version_id=stored.version_id or "",
        size=stored.size,
        sha256=bytes.fromhex(stored.sha256),
        raw_sha256=bytes.fromhex(file.raw_sha256[0]) if len(file.raw_sha256) == 1 else b"",
        starts_at=timestamp(file.starts_at),
    )
    if file.duration_us is not None:
        length = duration_pb2.Duration()
        length.FromMicroseconds(file.duration_us)
        message.duration.CopyFrom(length)
    return message
