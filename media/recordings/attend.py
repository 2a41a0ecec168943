"""Looking after one recording: LiveKit made to do what the record says, and the record to say what LiveKit did.

The same look is taken by whoever started, stopped, consented or withdrew, after every report of LiveKit's, and every
few seconds by a worker. It does not depend on what was missed: reports that were lost, came twice or in another order,
and processes that died between two steps, all end the same.

1. One process at a time has the turn of a recording.
2. It is stopped when the operator withdrew, the session ended, or a bound in time is reached.
3. While it runs, egresses of those who do not consent are stopped. Whom LiveKit lists is not asked first: what must
   stop does not wait for a list that a stranger in the room may have made unreadable.
4. What LiveKit records in the room, and who is in it, is asked. Egresses that LiveKit began or ended are put on record;
   what it has forgotten is given up. When everybody left long ago, it is stopped.
5. While it runs, whoever does not consent is taken out of the picture of the room.
6. The session's chain is told of everything so far; then missing egresses are begun (joining.py), and not before.
7. While it stops: every egress is stopped; when each has its outcome, the files are the workers'.

As long as that changed something, it looks again, at most ROUNDS times.
"""

import asyncio
import secrets
import time

from media.clips.turns import Turn
from media.errors import MediaError, Reason
from media.recordings.control import Control
from media.recordings.following import discard, follow, give_up
from media.recordings.joining import Scene, drop_unbegun, has_consented, hide, join, set_attributes
from media.recordings.livekit_values import Egress, EgressStatus
from media.recordings.session_events import stopped_note
from media.recordings.telling import is_session_over, tell_session
from media.records.recording_values import RUNNING, Consent, Recording, Stay

ROUNDS = 4
BY_SERVICE = "evidence-service"
POLL_SECONDS = 0.1
AWAITING_SECONDS = 2.0
WITHDRAWN = "consent withdrawn"


async def attend(control: Control, recording: Recording, *, patience: float = 0.0, with_session: bool = False) -> bool:
    """Look after a recording; False when another process was at it for all of `patience`, in seconds.

    `with_session` also asks the ledger whether the session has ended. Raises MediaError when LiveKit or the records do
    not answer: it is then due for another look.
    """
    owner = f"{control.owner}:{secrets.token_hex(4)}"
    turn = Turn(control.records, f"recording:{recording.recording_id}", owner=owner, seconds=control.limits.turn)
    until = time.monotonic() + patience
    while not await turn.take():
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(POLL_SECONDS)
    try:
        async with turn.kept():
            # Before the look, so that a report which comes during it makes the recording due again.
            await control.records.attendance.look_again(recording.recording_id, in_seconds=_pause(control, recording))
            is_over = with_session and await _session_is_over(control, recording)
            for _ in range(ROUNDS):
                if not await _look(control, recording, session_is_over=is_over):
                    break
    finally:
        await turn.give_up()
    return True


async def abandon(control: Control, recording: Recording) -> None:
    """Give up what LiveKit, which does not answer, should have finished long ago: the files there are get processed."""
    stopped_at = recording.stopped_at
    if recording.state != "STOPPING" or stopped_at is None or not control.is_past(stopped_at, control.limits.finish):
        return
    for stay in recording.open_stays:
        await give_up(control, recording, stay, "LiveKit did not answer any more")
    await control.records.attendance.hand_to_processing(recording)


async def _look(control: Control, recording: Recording, *, session_is_over: bool) -> bool:
    """One look; whether it changed something."""
    attendance = control.records.attendance
    recording = await attendance.get(recording.recording_id)
    if recording.state not in {*RUNNING, "STOPPING"}:
        return False
    # Consents are read before the chain is told of them: nobody is recorded on the word of one that it lacks.
    consents = await attendance.consents(recording)
    problem: MediaError | None = None
    if recording.state in RUNNING:
        reason = _why_stop(control, recording, consents, session_is_over=session_is_over)
        if reason is not None:
            return await stop_running(control, recording, reason)
        try:
            if await _stop_without_consent(control, recording, consents):
                return True
        except MediaError as error:
            # What LiveKit does not stop may have ended by itself.
            problem = error
    changed = await _compare(control, recording, await _scene(control, recording, consents))
    if problem is not None and not changed:
        raise problem
    return changed


async def _compare(control: Control, recording: Recording, scene: Scene) -> bool:
    """Steps 4 to 7; whether they changed something."""
    if await _follow_all(control, recording, scene) or await drop_unbegun(control, recording, scene):
        return True
    if recording.state == "STOPPING":
        return await _finish(control, recording)
    if await _is_deserted(control, recording, scene):
        return await stop_running(control, recording, "everybody left the room")
    if recording.state == "STARTING" and any(stay.egress_id is not None for stay in recording.stays):
        await control.records.attendance.note_running(recording)
    # First, since it must not wait for the ledger.
    if await _hide_without_consent(control, recording, scene):
        return True
    told = await tell_session(control, recording.organisation_id, recording.session_chain_id)
    return told and await join(control, recording, scene)


async def stop_running(control: Control, recording: Recording, reason: str) -> bool:
    """Decide, for everybody, that a recording ends."""
    at = control.clock()
    note = stopped_note(recording, by=BY_SERVICE, reason=reason, at=at)
    return await control.records.attendance.stop(recording, by=BY_SERVICE, reason=reason, at=at, note=note)


async def stop_stay(control: Control, recording: Recording, stay: Stay, reason: str) -> bool:
    """Have LiveKit end one egress. Raises MediaError unless it said that it does."""
    if stay.egress_id is None or stay.state != "ACTIVE":
        return False
    egress = await control.livekit.stop_egress(stay.egress_id)
    await control.records.attendance.note_stopping(stay, reason=reason, at=control.clock())
    if egress is not None and egress.has_ended:
        await follow(control, recording, stay, egress, {})
    return True


async def _scene(control: Control, recording: Recording, consents: dict[str, Consent]) -> Scene:
    active = await control.livekit.list_active_egress(recording.room)
    # Whatever is stopped ends for everybody, whoever is there.
    people = await control.livekit.list_participants(recording.room) if recording.state in RUNNING else ()
    return Scene(
        people={person.identity: person for person in people if person.is_person}, active=active, consents=consents
    )


async def _follow_all(control: Control, recording: Recording, scene: Scene) -> bool:
    """Step 4."""
    changed = False
    by_key = {stay.raw_key: stay for stay in recording.stays}
    own = raw_prefix(recording)
    seen: set[str] = set()
    for egress in scene.active:
        key = next((key for key in egress.keys if key.startswith(own)), None)
        if key is None:
            continue
        stay = by_key.get(key)
        if stay is None:
            await discard(control, recording, egress, f"LiveKit recorded {key} without being asked; it was stopped")
            continue
        seen.add(egress.egress_id)
        changed |= await _follow_active(control, recording, stay, egress, scene)
    missing = [stay for stay in recording.open_stays if stay.egress_id is not None and stay.egress_id not in seen]
    known = await control.livekit.get_egress([stay.egress_id for stay in missing if stay.egress_id is not None])
    for stay in missing:
        egress_now = known.get(stay.egress_id or "")
        if egress_now is not None:
            changed |= await follow(control, recording, stay, egress_now, scene.consents)
        elif control.is_past(stay.started_at or stay.asked_at, control.limits.unsure):
            changed |= await give_up(control, recording, stay, "LiveKit does not know it any more")
    return changed


async def _follow_active(control: Control, recording: Recording, stay: Stay, egress: Egress, scene: Scene) -> bool:
    overdue = stay.stopped_at is not None and control.is_past(stay.stopped_at, control.limits.finish)
    if stay.is_open and overdue:
        if egress.status is not EgressStatus.ENDING:
            await control.livekit.stop_egress(egress.egress_id)
        return await give_up(control, recording, stay, "LiveKit never finished it after it was stopped")
    if not stay.is_open and egress.status is EgressStatus.ENDING:
        return False
    if stay.state == "STOPPING" and egress.status is not EgressStatus.ENDING:
        # It said that it would end this, and did not: it may have been restarted since.
        await control.livekit.stop_egress(egress.egress_id)
    return await follow(control, recording, stay, egress, scene.consents)


def _why_stop(
    control: Control, recording: Recording, consents: dict[str, Consent], *, session_is_over: bool
) -> str | None:
    """Step 2."""
    if not has_consented(consents, recording.operator):
        return f"{WITHDRAWN} by the operator"
    if session_is_over:
        return "the session ended"
    if control.is_past(recording.started_at, control.limits.longest):
        return "the longest time for a recording was reached"
    is_late = recording.state == "STARTING" and control.is_past(recording.started_at, control.limits.start)
    return "it could not be begun in time" if is_late else None


async def _is_deserted(control: Control, recording: Recording, scene: Scene) -> bool:
    """Whether nobody has been in the room for long enough."""
    if scene.people:
        await control.records.attendance.note_empty(recording, None)
        return False
    if recording.empty_since is None:
        await control.records.attendance.note_empty(recording, control.clock())
        return False
    return control.is_past(recording.empty_since, control.limits.empty)


async def _stop_without_consent(control: Control, recording: Recording, consents: dict[str, Consent]) -> bool:
    """Step 3: whoever does not consent any more is recorded no longer."""
    changed = False
    for stay in recording.open_stays:
        if stay.participant is None or stay.state != "ACTIVE" or has_consented(consents, stay.participant):
            continue
        is_hidden = recording.composite == "FROM_FILES" or await hide(control, recording, stay.participant)
        changed |= await stop_stay(control, recording, stay, WITHDRAWN)
        if not is_hidden:
            changed |= await _stop_filming(control, recording, stay.participant)
    return changed


async def _hide_without_consent(control: Control, recording: Recording, scene: Scene) -> bool:
    """Step 5: an egress of theirs may never have begun, and the page shows them all the same."""
    hidden = [one for one in scene.people if not scene.consents_to_it(one)]
    if recording.composite != "ROOM" or not hidden:
        return False
    members = {member.participant: member for member in recording.members}
    if await set_attributes(control, recording, scene, members):
        return False
    return await _stop_filming(control, recording, ", ".join(hidden))


async def _stop_filming(control: Control, recording: Recording, whom: str) -> bool:
    """The page cannot be told to drop somebody: then nobody is shown."""
    changed = False
    for stay in recording.stays_of(None):
        changed |= await stop_stay(control, recording, stay, f"{whom} could not be taken out of the picture")
    return changed


async def _finish(control: Control, recording: Recording) -> bool:
    """Step 7."""
    changed = False
    problem: MediaError | None = None
    for stay in recording.open_stays:
        try:
            changed |= await stop_stay(control, recording, stay, recording.stop_reason or "the recording was stopped")
        except MediaError as error:
            # The others are stopped all the same.
            problem = error
    if problem is not None:
        raise problem
    if not recording.open_stays:
        await control.records.attendance.hand_to_processing(recording)
    return changed


async def _session_is_over(control: Control, recording: Recording) -> bool:
    """Whether the ledger says that the session has ended; a ledger that does not answer says nothing."""
    if recording.state not in RUNNING:
        return False
    try:
        return await is_session_over(control, recording.organisation_id, recording.session_chain_id)
    except MediaError:
        return False


def _pause(control: Control, recording: Recording) -> float:
    """Until the next look: soon where an answer of LiveKit's is awaited."""
    awaits = recording.state != "RECORDING" or any(stay.state != "ACTIVE" for stay in recording.open_stays)
    return min(AWAITING_SECONDS, control.limits.between_looks) if awaits else control.limits.between_looks


def raw_prefix(recording: Recording) -> str:
    """What the keys of a recording's raw objects begin with."""
    return f"{recording.organisation_id}/recordings/raw/{recording.recording_id}/"


def unstopped(recording: Recording, participant: str | None = None) -> list[Stay]:
    """Egresses that LiveKit has not said it ends: all, or one participant's."""
    return [
        stay
        for stay in recording.open_stays
        if stay.state in {"ASKED", "ACTIVE"} and (participant is None or stay.participant == participant)
    ]


def still_recorded(recording: Recording) -> MediaError:
    """The answer to whoever wants something stopped that LiveKit could not be made to stop in time."""
    return MediaError(
        Reason.LIVEKIT_UNAVAILABLE,
        "it is on record, but LiveKit could not be made to stop yet; this goes on by itself, and asking again is safe",
        {"recording_id": str(recording.recording_id)},
    )
