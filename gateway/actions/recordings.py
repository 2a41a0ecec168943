"""Recordings of sessions."""

from collections.abc import Sequence
from datetime import datetime

from gateway.actions.desk import Desk
from gateway.auth.actions import Action
from gateway.auth.values import GatewayCaller, Resource
from gateway.values import CompositeWay, DownloadLink, Page, Recording, RecordingState, StartedRecording, StoredCheck


def start_recording(  # noqa: PLR0913 - what a recording is asked for by
    desk: Desk,
    caller: GatewayCaller,
    *,
    session_id: str,
    room: str,
    operator: str,
    composite: CompositeWay | None = None,
    annotations_expected: bool = False,
) -> StartedRecording:
    """Begin to record a session, once everybody has consented; while a recording of it runs: that one."""
    with desk.authorise(
        caller, Action.RECORDING_START, Resource.session(caller.organisation_id, session_id)
    ) as identity:
        return desk.evidence.start_recording(
            identity,
            session_id,
            room=room,
            operator=operator,
            composite=composite,
            annotations_expected=annotations_expected,
        )


def stop_recording(desk: Desk, caller: GatewayCaller, *, recording_id: str, reason: str = "") -> Recording:
    """End a recording; its files are then processed."""
    with desk.authorise(
        caller, Action.RECORDING_STOP, Resource.recording(caller.organisation_id, recording_id)
    ) as identity:
        return desk.evidence.stop_recording(identity, recording_id, reason)


def get_recording(desk: Desk, caller: GatewayCaller, *, recording_id: str) -> Recording:
    """One recording as it stands."""
    with desk.authorise(
        caller, Action.RECORDING_VIEW, Resource.recording(caller.organisation_id, recording_id)
    ) as identity:
        return desk.evidence.get_recording(identity, recording_id)


def list_recordings(  # noqa: PLR0913 - the filters of the list
    desk: Desk,
    caller: GatewayCaller,
    *,
    session_id: str | None = None,
    states: Sequence[RecordingState] = (),
    started_from: datetime | None = None,
    started_to: datetime | None = None,
    held: bool | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Recording]:
    """A page of the organisation's recordings, newest first."""
    with desk.authorise(
        caller,
        Action.RECORDING_LIST,
        Resource.session(caller.organisation_id, session_id)
        if session_id
        else Resource.organisation(caller.organisation_id),
    ) as identity:
        return desk.evidence.list_recordings(
            identity,
            session_id=session_id,
            states=states,
            started_from=started_from,
            started_to=started_to,
            held=held,
            limit=limit,
            cursor=cursor,
        )


def annotate_recording(desk: Desk, caller: GatewayCaller, *, recording_id: str, annotations: bytes) -> Recording:
    """Hand over what was drawn in the session (docs/spec/annotations.md); empty: nothing was. The first one counts."""
    with desk.authorise(
        caller, Action.RECORDING_ANNOTATE, Resource.recording(caller.organisation_id, recording_id)
    ) as identity:
        return desk.evidence.annotate_recording(identity, recording_id, annotations)


def create_recording_link(
    desk: Desk, caller: GatewayCaller, *, recording_id: str, file: str, valid_seconds: int = 0
) -> DownloadLink:
    """An address that gives one file of a recording to whoever holds it."""
    with desk.authorise(
        caller, Action.RECORDING_DOWNLOAD, Resource.recording(caller.organisation_id, recording_id)
    ) as identity:
        return desk.evidence.create_recording_link(identity, recording_id, file, valid_seconds)


def get_recording_custody(desk: Desk, caller: GatewayCaller, *, recording_id: str) -> bytes:
    """The chain of custody up to now (docs/spec/recording.md): a JSON object."""
    with desk.authorise(
        caller, Action.RECORDING_CUSTODY, Resource.recording(caller.organisation_id, recording_id)
    ) as identity:
        return desk.evidence.get_custody(identity, recording_id=recording_id)


def verify_recording(desk: Desk, caller: GatewayCaller, *, recording_id: str) -> StoredCheck:
    """Read every file back from the store now and compare digests."""
    with desk.authorise(
        caller, Action.RECORDING_VERIFY, Resource.recording(caller.organisation_id, recording_id)
    ) as identity:
        return desk.evidence.verify_recording(identity, recording_id)


def dispose_recording(desk: Desk, caller: GatewayCaller, *, recording_id: str, reason: str) -> Recording:
    """Delete a recording's bytes before its retention ends. Refused while a legal hold exists."""
    with desk.authorise(
        caller, Action.RECORDING_DISPOSE, Resource.recording(caller.organisation_id, recording_id)
    ) as identity:
        return desk.evidence.dispose_recording(identity, recording_id, reason)
