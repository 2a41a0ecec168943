"""Consent to being recorded: each act of each participant once, for ever, and on the session's chain.

A withdrawal or refusal is committed first, so that nothing more is begun on the strength of the consent before it. Then
LiveKit is made to stop what it covers, and only then it is answered: of a field user their own recording, and with it
their place in LiveKit's composite; of the operator the whole recording.
"""

from dataclasses import dataclass
from uuid import UUID

import structlog

from media.errors import MediaError, Reason
from media.recordings.attend import attend, still_recorded, unstopped
from media.recordings.control import Control
from media.recordings.session_events import consent_note
from media.recordings.telling import is_session_over, tell_session
from media.recordings.words import check_identity, check_key, check_session, check_text
from media.records.recording_values import RUNNING, Consent, ConsentAct, ParticipantRole, Recording, new_id

MAX_NOTICE_CHARACTERS = 200
_ENDING: tuple[ConsentAct, ...] = ("REFUSED", "WITHDRAWN")

_log = structlog.stdlib.get_logger("evidence.recordings")


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsentWish:
    """What somebody in a session did. `notice` is which text they saw."""

    session_chain_id: str
    participant: str
    role: ParticipantRole
    act: ConsentAct
    notice: str
    idempotency_key: str


async def record_consent(
    control: Control, organisation_id: str, wish: ConsentWish, *, by: str
) -> tuple[Consent, tuple[UUID, ...]]:
    """The consent on record, and the recordings that a withdrawal or refusal stopped, or this participant's part of.

    The same key for the same act gives the first one again, and stops whatever is still to be stopped.
    Raises MediaError: INVALID_ARGUMENT, CHAIN_NOT_FOUND, IDEMPOTENCY_CONFLICT; LIVEKIT_UNAVAILABLE when the withdrawal
    is on record, but LiveKit could not be made to stop: a worker goes on trying, and repeating it waits again.
    """
    consent = Consent(
        consent_id=new_id(),
        organisation_id=organisation_id,
        session_chain_id=check_session(wish.session_chain_id),
        participant=check_identity(wish.participant, "participant"),
        role=wish.role,
        act=wish.act,
        notice=check_text(wish.notice, "notice", MAX_NOTICE_CHARACTERS),
        recorded_by=by,
        recorded_at=control.clock(),
    )
    key = check_key(wish.idempotency_key)
    await _require_chain(control, consent)
    consent, _ = await control.records.recordings.add_consent(consent, idempotency_key=key, note=consent_note(consent))
    recordings = await control.records.recordings.open_recordings(organisation_id, consent.session_chain_id)
    stopped: tuple[UUID, ...] = ()
    if consent.act in _ENDING:
        stopped = await _stop_what_it_covers(control, consent, recordings)
    # A ledger that is away is told later, in order. Only a start waits for it.
    await tell_session(control, organisation_id, consent.session_chain_id)
    if consent.act == "GIVEN":
        await _begin_what_it_allows(control, recordings)
    return consent, stopped


async def _stop_what_it_covers(control: Control, consent: Consent, recordings: list[Recording]) -> tuple[UUID, ...]:
    stopped = []
    for recording in recordings:
        is_operator = consent.participant == recording.operator
        covered = None if is_operator else consent.participant
        if not is_operator and recording.member(consent.participant) is None:
            continue
        if not await _attended(control, recording):
            raise still_recorded(recording)
        now = await control.records.recordings.get(recording.organisation_id, recording.recording_id)
        if unstopped(now, covered) or (is_operator and now.state in RUNNING):
            raise still_recorded(recording)
        stopped.append(recording.recording_id)
    return tuple(stopped)


async def _attended(control: Control, recording: Recording) -> bool:
    """As `attend`, with patience. What was stopped before LiveKit failed is stopped; of its page that is not known."""
    try:
        return await attend(control, recording, patience=control.limits.patience)
    except MediaError as error:
        if error.reason is not Reason.LIVEKIT_UNAVAILABLE or recording.composite == "ROOM":
            raise
        return True


async def _begin_what_it_allows(control: Control, recordings: list[Recording]) -> None:
    """Begin to record somebody who came late; if LiveKit does not answer now, a worker does it soon."""
    for recording in recordings:
        if recording.state in RUNNING:
            try:
                await attend(control, recording)
            except MediaError as error:
                _log.warning("late_joiner_waits", recording_id=str(recording.recording_id), reason=str(error.reason))
            await control.records.attendance.look_again(recording.recording_id, in_seconds=0.0)


async def _require_chain(control: Control, consent: Consent) -> None:
    """Raises MediaError (CHAIN_NOT_FOUND) when the ledger knows no such session; one that is away need not."""
    try:
        await is_session_over(control, consent.organisation_id, consent.session_chain_id)
    except MediaError as error:
        if error.reason is not Reason.LEDGER_UNAVAILABLE:
            raise
