"""What LiveKit says of its egresses, put on record: they began, they ended, they are gone.

An egress is known by its id, or, before that is known, by the key that we told it to write to: the key is written down
before LiveKit is asked, and no two egresses of ours have the same.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from media.recordings.control import Control
from media.recordings.livekit_values import Egress, EgressStatus
from media.recordings.session_events import late_result_note, stay_ended_note, stay_started_note
from media.records.recording_values import Consent, EgressOutcome, FileFacts, Recording, Stay, StayEnd

_OUTCOMES: dict[EgressStatus, EgressOutcome] = {
    EgressStatus.COMPLETE: "COMPLETE",
    EgressStatus.LIMIT_REACHED: "CUT_BY_LIMIT",
    EgressStatus.FAILED: "FAILED",
    EgressStatus.ABORTED: "ABORTED",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER_BEGAN = "LiveKit never began it"


async def follow(
    control: Control, recording: Recording, stay: Stay, egress: Egress, consents: dict[str, Consent]
) -> bool:
    """Put on record what LiveKit says of one egress now; whether that is news. Saying it again changes nothing."""
    if not stay.is_open:
        return await _follow_late(control, recording, stay, egress)
    is_news = False
    if stay.egress_id is None:
        started_at = microseconds(egress.started_at) or control.clock()
        consent = consents.get(stay.participant) if stay.participant else None
        note = stay_started_note(recording, stay, consent, egress_id=egress.egress_id, started_at=started_at)
        is_news = await control.records.attendance.note_active(
            recording, stay, egress_id=egress.egress_id, started_at=started_at, note=note
        )
    elif stay.egress_id != egress.egress_id:
        # Started twice for one request: LiveKit was slow to show the first. The one on record stays.
        await discard(control, recording, egress, f"LiveKit recorded {stay.raw_key} twice; the second was stopped")
        return True
    if egress.has_ended:
        is_news |= await end(control, recording, stay, ending(egress, control.clock()), egress_id=egress.egress_id)
    return is_news


async def end(
    control: Control, recording: Recording, stay: Stay, how: StayEnd, *, egress_id: str | None = None
) -> bool:
    """Put on record how an egress ended, once and for ever."""
    told = stay if egress_id is None else replace(stay, egress_id=egress_id)
    return await control.records.attendance.end_stay(recording, stay, how, stay_ended_note(recording, told, how))


async def give_up(control: Control, recording: Recording, stay: Stay, error: str) -> bool:
    """LiveKit will say nothing more about an egress that it began, or never began one."""
    began = stay.egress_id is not None
    how = StayEnd(outcome="NEVER_FINISHED" if began else "FAILED", ended_at=control.clock(), error=error)
    return await end(control, recording, stay, how)


async def discard(control: Control, recording: Recording, egress: Egress, why: str) -> None:
    """Stop an egress that no record wants."""
    if egress.is_active and egress.status is not EgressStatus.ENDING:
        await control.livekit.stop_egress(egress.egress_id)
    await control.records.attendance.remark(recording, why, at=control.clock())


def ending(egress: Egress, now: int) -> StayEnd:
    """How an ended egress ended."""
    file = egress.files[0] if egress.files else None
    return StayEnd(
        outcome=_OUTCOMES[egress.status],
        ended_at=microseconds(egress.ended_at) or now,
        error=egress.error or ("" if egress.status is EgressStatus.COMPLETE else egress.details),
        file=None
        if file is None
        else FileFacts(
            started_at=microseconds(file.started_at),
            ended_at=microseconds(file.ended_at),
            duration_us=file.duration_us,
            size=file.size,
            location=file.location or None,
        ),
    )


def microseconds(at: datetime | None) -> int | None:
    """Microseconds since 1970; None for no time."""
    return None if at is None else (at - _EPOCH) // timedelta(microseconds=1)


async def _follow_late(control: Control, recording: Recording, stay: Stay, egress: Egress) -> bool:
    """An egress that had been given up: stopped if it lives, and told if it ended after all. Its outcome stays."""
    gave_up = stay.outcome == "NEVER_FINISHED" or (stay.outcome == "FAILED" and stay.egress_id is None)
    if egress.is_active:
        await discard(control, recording, egress, f"LiveKit still recorded {stay.raw_key}; it was stopped")
        return True
    if not gave_up or not egress.has_ended:
        return False
    how = ending(egress, control.clock())
    return await control.records.attendance.remark(
        recording,
        f"LiveKit said after it was given up how the recording of {stay.raw_key} ended: {how.outcome.lower()}",
        at=control.clock(),
        note=late_result_note(recording, stay, how, egress_id=egress.egress_id),
    )
