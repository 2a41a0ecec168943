"""What the session's chain is told while it is recorded (docs/spec/recording.md, section 3): kinds and payloads. Pure.

Every payload names the recording, if there is one, and the session's chain: one that has ended may refuse an event, and
then the operations chain is told the very same.
"""

from typing import Any
from uuid import UUID, uuid5

from media.clips.events import time_text
from media.records.recording_values import (
    Consent,
    FileFacts,
    NewRecording,
    Recording,
    RecordingAccess,
    Stay,
    StayEnd,
)
from media.records.values import Note

STARTED = "recording.started"
STOPPED = "recording.stopped"
PARTICIPANT_REFUSED = "recording.participant_refused"
LATE_RESULT = "recording.late_result"
ACCESSED = "recording.accessed"


def consent_note(consent: Consent) -> Note:
    """Somebody consented, refused or withdrew, or was shown the banner."""
    payload = {
        "consent_id": str(consent.consent_id),
        "session_chain_id": consent.session_chain_id,
        "participant": consent.participant,
        "role": consent.role.lower(),
        "notice": consent.notice,
        "recorded_by": consent.recorded_by,
        "recorded_at": time_text(consent.recorded_at),
    }
    return Note(
        kind=f"consent.{consent.act.lower()}",
        payload=payload,
        subject_id=consent.consent_id,
        chain_id=consent.session_chain_id,
    )


def started_note(wanted: NewRecording, consents: dict[str, Consent]) -> Note:
    """A recording begins: told before anything is recorded."""
    payload = {
        "recording_id": str(wanted.recording_id),
        "session_chain_id": wanted.session_chain_id,
        "room": wanted.room,
        "operator": wanted.operator,
        "composite": wanted.composite.lower(),
        "annotations_expected": wanted.annotations_expected,
        "participants": [
            {
                "participant": member.participant,
                "role": member.role.lower(),
                "tile": member.tile,
                "consent_id": str(consents[member.participant].consent_id),
            }
            for member in wanted.members
        ],
        "requested_by": wanted.requested_by,
        "started_at": time_text(wanted.started_at),
    }
    return Note(kind=STARTED, payload=payload, subject_id=wanted.recording_id, chain_id=wanted.session_chain_id)


def stopped_note(recording: Recording, *, by: str, reason: str, at: int) -> Note:
    """It was decided that a recording ends; the ends of its egresses follow."""
    told = {"stopped_by": by, "reason": reason, "stopped_at": time_text(at)}
    return _note(STOPPED, recording, recording.recording_id, told)


def stay_started_note(
    recording: Recording, stay: Stay, consent: Consent | None, *, egress_id: str, started_at: int
) -> Note:
    """LiveKit says that it records a participant, or the room."""
    told = _of_stay(recording, stay, egress_id) | {"key": stay.raw_key, "started_at": time_text(started_at)}
    if stay.participant is not None:
        told["consent_id"] = str(consent.consent_id) if consent else None
    return _note(f"recording.{stay.part}_started", recording, stay.stay_id, told)


def stay_ended_note(recording: Recording, stay: Stay, end: StayEnd) -> Note:
    """How an egress ended."""
    told = _of_stay(recording, stay, stay.egress_id) | _of_end(end)
    told["stop_reason"] = stay.stop_reason
    return _note(f"recording.{stay.part}_ended", recording, stay.stay_id, told)


def late_result_note(recording: Recording, stay: Stay, end: StayEnd, *, egress_id: str) -> Note:
    """LiveKit said how an egress ended after it had been given up."""
    return _note(LATE_RESULT, recording, stay.stay_id, _of_stay(recording, stay, egress_id) | _of_end(end))


def participant_refused_note(recording: Recording, participant: str, *, reason: str, at: int) -> Note:
    """Somebody who had consented is not recorded."""
    told = {"participant": participant, "reason": reason, "at": time_text(at)}
    subject = uuid5(recording.recording_id, f"refused\n{participant}")
    return _note(PARTICIPANT_REFUSED, recording, subject, told)


def accessed_note(recording: Recording, access: RecordingAccess) -> Note:
    """Somebody is given an address of bytes: told on the operations chain, as for clips."""
    payload = {
        "access_id": str(access.access_id),
        "recording_id": str(recording.recording_id),
        "session_chain_id": recording.session_chain_id,
        "access": access.kind,
        "file": access.file,
        "detail": dict(access.detail),
        "who": access.who,
        "at": time_text(access.at),
    }
    return Note(kind=ACCESSED, payload=payload, subject_id=access.access_id)


def _note(kind: str, recording: Recording, subject_id: UUID, told: dict[str, Any]) -> Note:
    about = {"recording_id": str(recording.recording_id), "session_chain_id": recording.session_chain_id}
    return Note(kind=kind, payload=about | told, subject_id=subject_id, chain_id=recording.session_chain_id)


def _of_stay(recording: Recording, stay: Stay, egress_id: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {"stay_id": str(stay.stay_id), "number": stay.number, "egress_id": egress_id}
    if stay.participant is not None:
        member = recording.member(stay.participant)
        told |= {"participant": stay.participant, "role": member.role.lower() if member else None, "tile": stay.tile}
    return told


def _of_end(end: StayEnd) -> dict[str, Any]:
    return {
        "outcome": end.outcome.lower(),
        "error": end.error or None,
        "file": None if end.file is None else _of_file(end.file),
        "ended_at": time_text(end.ended_at),
    }


def _of_file(file: FileFacts) -> dict[str, Any]:
    return {
        "started_at": None if file.started_at is None else time_text(file.started_at),
        "ended_at": None if file.ended_at is None else time_text(file.ended_at),
        "duration_us": file.duration_us,
        "size": file.size,
        "location": file.location,
    }
