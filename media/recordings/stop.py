"""Ending a recording: decided on record first, then LiveKit is made to end it, then it is answered."""

from uuid import UUID

from media.errors import MediaError, Reason
from media.recordings.attend import attend, still_recorded, unstopped
from media.recordings.control import Control
from media.recordings.session_events import stopped_note
from media.recordings.words import MAX_STOP_REASON_CHARACTERS, check_text
from media.records.recording_values import RUNNING, Recording

NO_REASON = "asked for"


async def stop_recording(
    control: Control, organisation_id: str, recording_id: UUID, *, reason: str, by: str
) -> Recording:
    """The recording, which LiveKit records no longer; its files follow. Stopping it again is harmless.

    Raises MediaError: RECORDING_NOT_FOUND, INVALID_ARGUMENT; LIVEKIT_UNAVAILABLE when the stop is on record, but
    LiveKit could not be made to: a worker goes on trying, and repeating it waits again.
    """
    why = check_text(reason, "reason", MAX_STOP_REASON_CHARACTERS) if reason else NO_REASON
    recordings = control.records.recordings
    recording = await recordings.get(organisation_id, recording_id)
    if recording.state in RUNNING:
        at = control.clock()
        note = stopped_note(recording, by=by, reason=why, at=at)
        await recordings.stop(recording, by=by, reason=why, at=at, note=note)
        recording = await recordings.get(organisation_id, recording_id)
    if recording.state == "STOPPING" and unstopped(recording):
        try:
            await attend(control, recording, patience=control.limits.patience)
        except MediaError as error:
            if error.reason is not Reason.LIVEKIT_UNAVAILABLE:
                raise
        recording = await recordings.get(organisation_id, recording_id)
        if unstopped(recording):
            raise still_recorded(recording)
    return recording
