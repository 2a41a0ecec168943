"""Reports of LiveKit's: verified, taken once, and none of them needed.

What a report says of an egress is put on record at once; everything else makes the recording due for a look, which
asks LiveKit itself. So a report that was lost, came late or in another order, costs time and nothing else.

An event is remembered after its effect is committed: whoever dies between the two gets it again, and having it twice
changes nothing. Only reports about recordings on record are remembered; the others have no effect, however often.
"""

import hashlib
from collections.abc import Sequence

import structlog

from media.errors import MediaError, Reason
from media.recordings.attend import stop_running
from media.recordings.control import Control
from media.recordings.following import follow, microseconds
from media.recordings.livekit_values import ApiKey, WebhookEvent, WebhookKind
from media.recordings.livekit_webhook import read_webhook
from media.records.recording_values import RUNNING, Recording, Webhook

SECOND_US = 1_000_000

_log = structlog.stdlib.get_logger("evidence.recordings")

_WITH_NEWS = frozenset(
    {
        WebhookKind.ROOM_FINISHED,
        WebhookKind.PARTICIPANT_JOINED,
        WebhookKind.PARTICIPANT_LEFT,
        WebhookKind.PARTICIPANT_CONNECTION_ABORTED,
        WebhookKind.EGRESS_STARTED,
        WebhookKind.EGRESS_UPDATED,
        WebhookKind.EGRESS_ENDED,
    }
)


async def take_webhook(control: Control, keys: Sequence[ApiKey], body: bytes, authorization: str) -> bool:
    """Take a report; False when it had been taken before.

    Raises MediaError: WEBHOOK_REFUSED for what LiveKit did not send, or sent too long ago; DATABASE_UNAVAILABLE and
    the like, after which LiveKit sends it again.
    """
    event = read_webhook(body, authorization, keys=keys)
    if await control.records.attendance.has_seen(event.event_id):
        return False
    if event.kind not in _WITH_NEWS:
        return True
    recording = await _take_egress(control, event) if event.egress else await _take_room(control, event)
    if recording is None:
        return True
    await control.records.attendance.look_again(recording.recording_id, in_seconds=0.0)
    return await control.records.attendance.remember(
        Webhook(
            event_id=event.event_id,
            recording_id=recording.recording_id,
            organisation_id=recording.organisation_id,
            event=event.name,
            egress_id=event.egress.egress_id if event.egress else None,
            participant=event.participant.identity if event.participant else None,
            body_sha256=hashlib.sha256(body).hexdigest(),
            received_at=control.clock(),
        )
    )


async def _take_egress(control: Control, event: WebhookEvent) -> Recording | None:
    """What is said of an egress of ours."""
    egress = event.egress
    if egress is None:
        return None
    found = await control.records.attendance.of_egress(egress.egress_id, egress.keys)
    if found is None:
        return None
    recording, stay = found
    consents = await control.records.attendance.consents(recording)
    try:
        await follow(control, recording, stay, egress, consents)
    except MediaError as error:
        # An egress that nobody wants could not be stopped: the next look, or LiveKit with the room, does it.
        if error.reason not in {Reason.LIVEKIT_UNAVAILABLE, Reason.LIVEKIT_REFUSED} or recording.state not in {
            *RUNNING,
            "STOPPING",
        }:
            raise
    return recording


async def _take_room(control: Control, event: WebhookEvent) -> Recording | None:
    """Somebody came or went, or the room ended."""
    recording = await control.records.attendance.of_room(event.room) if event.room else None
    if recording is None:
        return None
    if event.kind is WebhookKind.ROOM_FINISHED and await _is_its_room(control, recording, event):
        await stop_running(control, recording, "the room ended")
    return recording


async def _is_its_room(control: Control, recording: Recording, event: WebhookEvent) -> bool:
    """Whether the room that ended is the recorded one, and not one of that name before it.

    LiveKit's times are in whole seconds; so a report of the second in which it began decides with LiveKit's own list.
    """
    reported_at = microseconds(event.created_at) or 0
    if reported_at + SECOND_US <= recording.started_at:
        return False
    try:
        people = await control.livekit.list_participants(recording.room)
    except MediaError as error:
        _log.warning("room_not_known", recording_id=str(recording.recording_id), reason=str(error.reason))
        return False
    return not any(person.is_person for person in people)
