"""Records to messages, and what requests say to values."""

from uuid import UUID

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.message import Message
from indelible.evidence.v1 import evidence_pb2

from ledger.timestamps import moment
from media.clips.access import StoredCheck
from media.errors import MediaError, Reason
from media.records.values import Artefact, Clip, ClipState, Hold, Retention
from media.storage.values import AvailabilityState, LockMode

MAX_SECONDS = 24 * 3600

STATES: "dict[ClipState, evidence_pb2.ClipState.ValueType]" = {
    "REQUESTED": evidence_pb2.CLIP_STATE_REQUESTED,
    "WAITING": evidence_pb2.CLIP_STATE_WAITING,
    "EXTRACTING": evidence_pb2.CLIP_STATE_EXTRACTING,
    "STORING": evidence_pb2.CLIP_STATE_STORING,
    "PRESERVED": evidence_pb2.CLIP_STATE_PRESERVED,
    "FAILED": evidence_pb2.CLIP_STATE_FAILED,
    "DISPOSING": evidence_pb2.CLIP_STATE_DISPOSING,
    "DISPOSED": evidence_pb2.CLIP_STATE_DISPOSED,
}
LOCK_MODES: "dict[LockMode, evidence_pb2.LockMode.ValueType]" = {
    "NONE": evidence_pb2.LOCK_MODE_NONE,
    "GOVERNANCE": evidence_pb2.LOCK_MODE_GOVERNANCE,
    "COMPLIANCE": evidence_pb2.LOCK_MODE_COMPLIANCE,
}
RESTORE_STATES: "dict[AvailabilityState, evidence_pb2.RestoreState.ValueType]" = {
    "ready": evidence_pb2.RESTORE_STATE_NOT_NEEDED,
    "archived": evidence_pb2.RESTORE_STATE_ASKED,
    "restoring": evidence_pb2.RESTORE_STATE_ASKED,
    "restored": evidence_pb2.RESTORE_STATE_READY,
}
STATES_OF = {message: state for state, message in STATES.items()}
LOCK_MODES_OF = {message: mode for mode, message in LOCK_MODES.items()}


def clip_message(clip: Clip) -> evidence_pb2.Clip:
    """A clip as callers see it."""
    message = evidence_pb2.Clip(
        clip_id=str(clip.clip_id),
        source=clip.source_id,
        camera=clip.camera_id,
        incident=clip.incident_id,
        state=STATES[clip.state],
        event_at=timestamp(clip.event_at),
        asked_from=timestamp(clip.asked_from),
        asked_to=timestamp(clip.asked_to),
        actual_from=timestamp(clip.actual_from),
        actual_to=timestamp(clip.actual_to),
        artefacts=[artefact_message(artefact) for artefact in clip.artefacts],
        holds=[hold_message(hold) for hold in clip.holds],
        session_chain_id=clip.session_chain_id or "",
        requested_by=clip.requested_by,
        requested_at=timestamp(clip.requested_at),
        preserved_at=timestamp(clip.ended_at) if clip.state in {"PRESERVED", "DISPOSING", "DISPOSED"} else None,
        retain_until=timestamp(clip.retain_until),
        disposed_at=timestamp(clip.disposed_at),
    )
    for gap in clip.gaps:
        added = message.gaps.add(why=str(gap["why"]))
        added.starts_at.FromJsonString(str(gap["from"]))
        added.ends_at.FromJsonString(str(gap["to"]))
    if clip.failure_reason is not None:
        message.failure.reason = clip.failure_reason
        message.failure.message = clip.failure_message or ""
    return message


def artefact_message(artefact: Artefact) -> evidence_pb2.Artefact:
    """One file of a clip."""
    stored = artefact.stored
    return evidence_pb2.Artefact(
        name=artefact.name,
        key=stored.key,
        version_id=stored.version_id or "",
        size=stored.size,
        sha256=bytes.fromhex(stored.sha256),
    )


def check_message(check: StoredCheck) -> evidence_pb2.ArtefactCheck:
    """What reading one file back gave."""
    return evidence_pb2.ArtefactCheck(
        name=check.name,
        ok=check.ok,
        expected_sha256=bytes.fromhex(check.expected_sha256),
        found_sha256=bytes.fromhex(check.found_sha256 or ""),
        problem=check.problem,
    )


def hold_message(hold: Hold) -> evidence_pb2.LegalHold:
    """A legal hold."""
    return evidence_pb2.LegalHold(
        hold_id=str(hold.hold_id),
        clip_id=str(hold.clip_id or ""),
        recording_id=str(hold.recording_id or ""),
        reason=hold.reason,
        placed_by=hold.placed_by,
        placed_at=timestamp(hold.placed_at),
        lift_reason=hold.lift_reason or "",
        lifted_by=hold.lifted_by or "",
        lifted_at=timestamp(hold.lifted_at),
    )


def retention_message(retention: Retention) -> evidence_pb2.Retention:
    """An organisation's retention."""
    return evidence_pb2.Retention(
        days=retention.days,
        set_by=retention.changed_by,
        set_at=timestamp(retention.changed_at),
        lock_mode=LOCK_MODES[retention.lock_mode],
    )


def timestamp(microseconds: int | None) -> timestamp_pb2.Timestamp | None:
    """A time; None, which leaves the field unset, for none."""
    if microseconds is None:
        return None
    message = timestamp_pb2.Timestamp()
    message.FromMicroseconds(microseconds)
    return message


def identifier(text: str, field: str) -> UUID:
    """An id the service gave out. Raises MediaError (INVALID_ARGUMENT)."""
    try:
        read = UUID(text)
    except ValueError:
        read = None
    if read is None or str(read) != text:
        raise MediaError(Reason.INVALID_ARGUMENT, f"{field} is not an id this service gives out", {"field": field})
    return read


def subject_of(
    request: evidence_pb2.PlaceLegalHoldRequest | evidence_pb2.GetCustodyRequest,
) -> tuple[UUID | None, UUID | None]:
    """The clip or the recording that a request is about. Raises MediaError (INVALID_ARGUMENT) unless it names one."""
    if request.clip_id and request.recording_id:
        raise MediaError(Reason.INVALID_ARGUMENT, "name a clip or a recording, not both", {"field": "recording_id"})
    if request.recording_id:
        return None, identifier(request.recording_id, "recording_id")
    return identifier(request.clip_id, "clip_id"), None


def required_time(message: Message, field: str, path: str) -> int:
    """Microseconds since 1970 of a field that must be set. Raises MediaError (INVALID_ARGUMENT)."""
    read = optional_time(message, field, path)
    if read is None:
        raise MediaError(Reason.INVALID_ARGUMENT, f"{path} is not set", {"field": path})
    return read


def optional_time(message: Message, field: str, path: str) -> int | None:
    """Microseconds since 1970 of a field; None when it is not set. Raises MediaError (INVALID_ARGUMENT)."""
    if not message.HasField(field):
        return None
    try:
        read: int = getattr(message, field).ToMicroseconds()
        moment(read)
    except (ValueError, OverflowError):
        raise MediaError(Reason.INVALID_ARGUMENT, f"{path} is not a time of this era", {"field": path}) from None
    return read


def optional_seconds(message: Message, field: str, path: str) -> int | None:
    """Whole seconds of a duration; None when it is not set. Raises MediaError (INVALID_ARGUMENT)."""
    if not message.HasField(field):
        return None
    duration: duration_pb2.Duration = getattr(message, field)
    if duration.nanos or not 0 <= duration.seconds <= MAX_SECONDS:
        raise MediaError(Reason.INVALID_ARGUMENT, f"{path} must be whole seconds, 0 to {MAX_SECONDS}", {"field": path})
    return duration.seconds
