"""Starting to record a session, when the operator asks for it and everybody in the room has consented.

1. A recording of the session that runs is the answer: asking again begins nothing.
2. The session's chain must be there and open.
3. Whoever is in the room, and the operator in any case, must have consented, and there must be a tile for each.
4. The chain must have been told of the consents.
5. The recording is committed as STARTING, together with recording.started. The database refuses it if the operator has
   withdrawn meanwhile, or another start was quicker.
6. The chain is told. If that fails, the recording is stopped before it began, and this is refused.
7. LiveKit is made to record (attend.py).

Whoever dies before 5 leaves nothing. After 5 the next look goes on, within the time a start may take, or gives it up;
whoever asks again gets the same recording.
"""

from dataclasses import dataclass

from media.errors import MediaError, Reason
from media.recordings.attend import attend, still_recorded, stop_running, unstopped
from media.recordings.control import Control
from media.recordings.joining import in_order, new_member
from media.recordings.livekit_values import Participant
from media.recordings.session_events import started_note
from media.recordings.telling import is_session_over, tell_session
from media.recordings.tiles import MOST_TILES, free_tile
from media.recordings.words import check_identity, check_room, check_session
from media.records.recording_requests import consent_missing, lacking_consent
from media.records.recording_values import RUNNING, CompositeWay, Member, NewRecording, Recording, new_id
from media.records.values import OPERATIONS_CHAIN_ID


@dataclass(frozen=True, kw_only=True, slots=True)
class StartWish:
    """What somebody asks to be recorded. `stream_copy` is the organisation's choice (processing)."""

    session_chain_id: str
    room: str
    operator: str
    composite: CompositeWay
    annotations_expected: bool = False
    stream_copy: bool = False


async def start_recording(
    control: Control, organisation_id: str, wish: StartWish, *, by: str
) -> tuple[Recording, bool]:
    """The session's running recording, and whether this began it.

    Raises MediaError: INVALID_ARGUMENT, CHAIN_NOT_FOUND, SESSION_ENDED, ROOM_NOT_FOUND, ROOM_BUSY, CONSENT_MISSING,
    TOO_MANY_PARTICIPANTS, RECORDINGS_NOT_CONFIGURED, LEDGER_UNAVAILABLE, LIVEKIT_UNAVAILABLE.
    """
    check_session(wish.session_chain_id)
    check_room(wish.room, organisation_id)
    check_identity(wish.operator, "operator")
    if wish.composite == "ROOM" and control.layout_url is None:
        raise MediaError(
            Reason.RECORDINGS_NOT_CONFIGURED, "no layout page is configured for composites of the room", {}
        )
    # 1.
    running = await _running(control, organisation_id, wish.session_chain_id)
    if running is not None:
        return await _begun(control, running), False
    # 2.
    if await is_session_over(control, organisation_id, wish.session_chain_id):
        raise _session_ended(wish.session_chain_id)
    # 3.
    wanted = await _wanted(control, organisation_id, wish, by)
    consents = await control.records.recordings.consents(organisation_id, wish.session_chain_id)
    lacking = lacking_consent(wanted, consents)
    if lacking:
        raise consent_missing(lacking)
    # 4. Those that the chain refuses do not count any more in 5.
    if not await tell_session(control, organisation_id, wish.session_chain_id):
        raise _ledger_unavailable()
    # 5.
    recording = await control.records.recordings.begin(wanted, note=started_note(wanted, consents))
    if recording is None:
        running = await _running(control, organisation_id, wish.session_chain_id)
        if running is None:
            raise MediaError(Reason.OVERLOADED, "a recording of this session was begun and stopped just now; try again")
        return await _begun(control, running), False
    # 6.
    await _tell(control, recording)
    # 7.
    return await _begun(control, recording), True


async def _running(control: Control, organisation_id: str, session_chain_id: str) -> Recording | None:
    """The session's running recording. One that is being stopped must first be so everywhere."""
    for recording in await control.records.recordings.open_recordings(organisation_id, session_chain_id):
        if recording.state in RUNNING:
            return recording
        if unstopped(recording):
            await attend(control, recording, patience=control.limits.patience)
            now = await control.records.recordings.get(organisation_id, recording.recording_id)
            if unstopped(now):
                raise still_recorded(recording)
    return None


async def _wanted(control: Control, organisation_id: str, wish: StartWish, by: str) -> NewRecording:
    """The recording, with a tile for everybody in the room in the order in which they joined."""
    people = [one for one in await control.livekit.list_participants(wish.room) if one.is_person]
    if not people:
        raise MediaError(Reason.ROOM_NOT_FOUND, f"nobody is in the room {wish.room!r}", {"field": "room"})
    at = control.clock()
    return NewRecording(
        recording_id=new_id(),
        organisation_id=organisation_id,
        session_chain_id=wish.session_chain_id,
        room=wish.room,
        operator=wish.operator,
        composite=wish.composite,
        annotations_expected=wish.annotations_expected,
        stream_copy=wish.stream_copy,
        requested_by=by,
        started_at=at,
        members=_members(people, wish.operator, at),
    )


def _members(people: list[Participant], operator: str, at: int) -> tuple[Member, ...]:
    members: list[Member] = []
    for identity in in_order(people):
        tile = free_tile([member.tile for member in members], operator=identity == operator)
        if tile is None:
            raise MediaError(
                Reason.TOO_MANY_PARTICIPANTS,
                f"{len(people)} are in the room, and a recording has {MOST_TILES} tiles, one of them the operator's",
                {"participants": str(len(people))},
            )
        members.append(new_member(operator, identity, tile, at))
    return tuple(members)


async def _tell(control: Control, recording: Recording) -> None:
    """Step 6. Raises MediaError (LEDGER_UNAVAILABLE, SESSION_ENDED) when the chain does not take the start."""
    organisation_id, chain_id = recording.organisation_id, recording.session_chain_id
    if not await tell_session(control, organisation_id, chain_id):
        await stop_running(control, recording, "the ledger could not be told of the start")
        raise _ledger_unavailable()
    notes = await control.records.recordings.session_notes(organisation_id, chain_id, recording.recording_id)
    if any(note.chain_id == OPERATIONS_CHAIN_ID for note in notes):
        await stop_running(control, recording, "the session ended before it began")
        raise _session_ended(chain_id)


async def _begun(control: Control, recording: Recording) -> Recording:
    """The recording once LiveKit records. Raises MediaError (LIVEKIT_UNAVAILABLE) when it could not be made to."""
    try:
        await attend(control, recording, patience=control.limits.patience)
    except MediaError as error:
        if error.reason is not Reason.LIVEKIT_UNAVAILABLE:
            raise
    now = await control.records.recordings.get(recording.organisation_id, recording.recording_id)
    if now.state != "STARTING":
        return now
    # What LiveKit may have begun without saying so is found and stopped by the next looks.
    await stop_running(control, now, "LiveKit did not begin to record")
    raise MediaError(
        Reason.LIVEKIT_UNAVAILABLE,
        "LiveKit did not begin to record; nothing is being recorded, and you may try again",
        {"recording_id": str(recording.recording_id)},
    )


def _ledger_unavailable() -> MediaError:
    return MediaError(
        Reason.LEDGER_UNAVAILABLE, "the ledger cannot be told now that a recording begins, so none is; try again"
    )


def _session_ended(session_chain_id: str) -> MediaError:
    return MediaError(
        Reason.SESSION_ENDED,
        f"the session {session_chain_id!r} has ended; nothing more of it is recorded",
        {"field": "session_chain_id"},
    )
