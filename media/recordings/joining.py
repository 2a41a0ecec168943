"""Recording those who are there and have consented: tiles, attributes, and one egress for each.

Before LiveKit is asked for an egress, a row says that it will be. Whoever dies between the two, or gets no answer,
leaves that row, and whoever looks next finds in LiveKit's own list whether the egress exists. It is asked for again
only when it certainly does not. The database itself refuses the row of somebody whose newest act is no consent.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from media.errors import MediaError, Reason
from media.recordings.control import Control
from media.recordings.following import NEVER_BEGAN, follow, give_up
from media.recordings.livekit_values import Egress, Participant
from media.recordings.session_events import participant_refused_note
from media.recordings.tiles import MOST_TILES, free_tile, layout_word
from media.records.recording_values import Consent, Member, ParticipantRole, Recording, Stay, new_id
from media.storage.keys import raw_recording_key

RECORDED_ATTRIBUTE = "indelible.recording"
TILE_ATTRIBUTE = "indelible.tile"
# After an egress failed by itself, the next is begun so much later, doubling with every failure in a row.
FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 300.0
# Of one tile. More than this is no coming and going, but something out of order.
MAX_STAYS = 100

_log = structlog.stdlib.get_logger("evidence.recordings")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What LiveKit shows of a room, and what its people have decided, at one moment."""

    people: Mapping[str, Participant]
    active: Sequence[Egress]
    consents: dict[str, Consent]

    def consents_to_it(self, participant: str | None) -> bool:
        """Whether somebody's newest act is a consent; of the composite (None) nobody is asked here."""
        return participant is None or has_consented(self.consents, participant)


def has_consented(consents: Mapping[str, Consent], participant: str) -> bool:
    """Whether the newest act of a participant is a consent."""
    consent = consents.get(participant)
    return consent is not None and consent.act == "GIVEN"


async def join(control: Control, recording: Recording, scene: Scene) -> bool:
    """Give tiles to those who are new, and begin what egresses are missing; whether anything began."""
    members = await _add_members(control, recording, scene)
    shown = recording.composite == "FROM_FILES" or await set_attributes(control, recording, scene, members)
    began = False
    for member in sorted(members.values(), key=lambda one: one.tile):
        if member.participant in scene.people and scene.consents_to_it(member.participant):
            began |= await _ensure_stay(control, recording, scene, member)
    if recording.composite == "ROOM" and shown and scene.people:
        began |= await _ensure_stay(control, recording, scene, None)
    return began


async def set_attributes(control: Control, recording: Recording, scene: Scene, members: Mapping[str, Member]) -> bool:
    """Tell our layout page whom it may show and where; whether LiveKit took all of it."""
    taken = True
    for identity, person in scene.people.items():
        member = members.get(identity)
        is_shown = member is not None and scene.consents_to_it(identity)
        wanted = {RECORDED_ATTRIBUTE: "yes" if is_shown else "no"}
        if member is not None:
            wanted[TILE_ATTRIBUTE] = str(member.tile)
        if wanted.items() <= person.attributes.items():
            continue
        taken &= await _set(control, recording, identity, wanted)
    return taken


async def hide(control: Control, recording: Recording, identity: str) -> bool:
    """Tell our layout page not to show somebody any more; whether LiveKit took it."""
    return await _set(control, recording, identity, {RECORDED_ATTRIBUTE: "no"})


async def _set(control: Control, recording: Recording, identity: str, wanted: Mapping[str, str]) -> bool:
    try:
        await control.livekit.set_attributes(recording.room, identity, wanted)
    except MediaError as error:
        _log.warning("attributes_not_set", recording_id=str(recording.recording_id), reason=str(error.reason))
        # Somebody who has left is not shown.
        return error.metadata.get("code") == "not_found"
    return True


async def _add_members(control: Control, recording: Recording, scene: Scene) -> dict[str, Member]:
    """Everybody who takes part, with those who have come since and consented."""
    members = {member.participant: member for member in recording.members}
    taken = {member.tile for member in recording.members}
    for identity in in_order(scene.people.values()):
        role = role_of(recording.operator, identity)
        if identity in members or not scene.consents_to_it(identity) or scene.consents[identity].role != role:
            continue
        tile = free_tile(taken, operator=identity == recording.operator)
        if tile is None:
            await _refuse(control, recording, identity)
            continue
        member = new_member(recording.operator, identity, tile, control.clock())
        await control.records.attendance.add_member(recording, member)
        members[identity] = member
        taken.add(tile)
    return members


def new_member(operator: str, identity: str, tile: int, at: int) -> Member:
    """Somebody who is seen for the first time."""
    return Member(participant=identity, role=role_of(operator, identity), tile=tile, first_seen_at=at)


def role_of(operator: str, identity: str) -> ParticipantRole:
    """The operator's, or that of everybody else."""
    return "OPERATOR" if identity == operator else "FIELD"


def in_order(people: Iterable[Participant]) -> list[str]:
    """Their identities in the order in which they joined."""
    unknown = datetime.max.replace(tzinfo=UTC)
    return [one.identity for one in sorted(people, key=lambda one: (one.joined_at or unknown, one.identity))]


async def _refuse(control: Control, recording: Recording, identity: str) -> None:
    at = control.clock()
    note = participant_refused_note(recording, identity, reason="RECORDING_FULL", at=at)
    text = f"{identity} is not recorded: a recording has {MOST_TILES} tiles, and all are taken"
    await control.records.attendance.remark(recording, text, at=at, note=note)


async def _ensure_stay(control: Control, recording: Recording, scene: Scene, member: Member | None) -> bool:
    """Begin the egress of a participant, or of the room, unless it is under way; whether it began."""
    stays = recording.stays_of(member.participant if member else None)
    stay = next((one for one in stays if one.is_open), None)
    if stay is None:
        if len(stays) >= MAX_STAYS:
            whose = member.participant if member else "the room"
            text = f"{whose} was recorded {MAX_STAYS} times, and is recorded no more"
            await control.records.attendance.remark(recording, text, at=control.clock())
            return False
        if _pauses(control, stays):
            return False
        stay = _new_stay(control, recording, member, number=len(stays) + 1)
        if not await control.records.attendance.ask(recording, stay):
            return False
    if stay.state != "ASKED" or not may_be_tried(control, stay):
        return False
    return await _start(control, recording, stay, scene)


def may_be_tried(control: Control, stay: Stay) -> bool:
    """Whether LiveKit certainly does not do already what it is about to be asked for."""
    return stay.tried_at is None or control.is_past(stay.tried_at, control.limits.unsure)


async def _start(control: Control, recording: Recording, stay: Stay, scene: Scene) -> bool:
    attendance = control.records.attendance
    if not await attendance.trying(stay, at=control.clock()):
        return False
    try:
        if stay.participant is not None:
            egress = await control.livekit.start_participant_egress(recording.room, stay.participant, key=stay.raw_key)
        else:
            given = layout_word([member.tile for member in recording.members])
            egress = await control.livekit.start_room_composite(
                recording.room, key=stay.raw_key, layout_url=control.layout_url or "", layout=given
            )
    except MediaError as error:
        if error.reason is Reason.LIVEKIT_REFUSED or error.metadata.get("started") == "no":
            await attendance.not_tried(stay)
        whose = stay.participant or "the composite"
        text = f"LiveKit did not begin to record {whose}: {error.message}"
        await attendance.remark(recording, text, at=control.clock())
        return False
    # Dying here: LiveKit records, and the row says only that it was asked. The next look finds the egress by its key.
    return await follow(control, recording, stay, egress, scene.consents)


async def drop_unbegun(control: Control, recording: Recording, scene: Scene) -> bool:
    """End what was asked for and is not wanted any more, once it is certain that LiveKit does not do it."""
    changed = False
    running = recording.state in {"STARTING", "RECORDING"}
    for stay in recording.open_stays:
        there = stay.participant is None or stay.participant in scene.people
        wanted = running and there and scene.consents_to_it(stay.participant)
        if stay.egress_id is None and not wanted and may_be_tried(control, stay):
            changed |= await give_up(control, recording, stay, NEVER_BEGAN)
    return changed


def _new_stay(control: Control, recording: Recording, member: Member | None, *, number: int) -> Stay:
    tile = member.tile if member else None
    return Stay(
        stay_id=new_id(),
        recording_id=recording.recording_id,
        part="participant" if member else "composite",
        participant=member.participant if member else None,
        tile=tile,
        number=number,
        raw_key=raw_recording_key(recording.organisation_id, recording.recording_id, tile, number),
        asked_at=control.clock(),
    )


def _pauses(control: Control, stays: Sequence[Stay]) -> bool:
    """Whether the last egresses failed so recently that the next must wait."""
    failures = 0
    for stay in reversed(stays):
        if stay.outcome in {"COMPLETE", "CUT_BY_LIMIT"}:
            break
        failures += 1
    if not failures:
        return False
    pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE_SECONDS)
    return not control.is_past(stays[-1].ended_at or 0, pause)
