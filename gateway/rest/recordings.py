"""Routes: recordings of sessions."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.actions import recordings
from gateway.rest.clips import DisposeBody
from gateway.rest.models import (
    SHOWN,
    FileName,
    LinkBody,
    Moment,
    OptionalBody,
    PageQuery,
    SessionId,
    SessionPath,
    Strict,
    Truth,
    Uuid,
)
from gateway.rest.routing import Answer, Call, Repeat, Route
from gateway.rest.sessions import Participant, object_bytes
from gateway.values import DownloadLink, JsonObject, Page, Recording, StoredCheck

MAX_STATES = 8
# The document itself may have 4 MiB.
MAX_ANNOTATION_BYTES = 4 * 1024 * 1024 + 64 * 1024

State = Literal[
    "starting", "recording", "stopping", "waiting", "processing", "completed", "failed", "disposing", "disposed"
]
Room = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        pattern=SHOWN,
        description="The LiveKit room: your organisation, a colon, and a name of yours, in printable characters.",
    ),
]


class StartRecording(Strict):
    """What to record."""

    room: Room
    operator: Participant
    composite: Literal["from_files", "room"] | None = Field(
        default=None, description="How the composite is made; as your organisation's setting says when not given."
    )
    annotations_expected: bool = Field(
        default=False, description="Processing waits for the annotations, which are burned in."
    )


class StopRecording(OptionalBody):
    """Why a recording is stopped."""

    reason: str | None = Field(default=None, min_length=1, max_length=200, pattern=SHOWN)


class Annotations(Strict):
    """What was drawn in the session."""

    document: dict[str, Any] | None = Field(
        description="The annotation document (docs/spec/annotations.md); null: nothing was drawn."
    )


class RecordingPath(Strict):
    """A recording."""

    recording_id: Uuid


class RecordingFilePath(Strict):
    """A file of a recording."""

    recording_id: Uuid
    file: FileName


class RecordingsQuery(PageQuery):
    """Which recordings."""

    session_id: SessionId | None = None
    state: list[State] = Field(default_factory=list, max_length=MAX_STATES)
    started_from: Moment | None = None
    started_to: Moment | None = None
    held: Truth | None = Field(default=None, description="Only recordings with, or without, a standing hold.")


def start_recording(call: Call, path: SessionPath, body: StartRecording) -> Answer:
    """Begin to record a session.

    Refused until the operator and every field user in the room have consented. While a recording of the session runs,
    this gives that one.
    """
    started = recordings.start_recording(
        call.desk,
        call.caller,
        session_id=path.session_id,
        room=body.room,
        operator=body.operator,
        composite=body.composite,
        annotations_expected=body.annotations_expected,
    )
    return Answer(
        value=started.recording,
        status=HTTPStatus.CREATED if started.created else HTTPStatus.OK,
        headers={"Location": f"/api/v1/recordings/{started.recording.recording_id}"},
    )


def list_recordings(call: Call, query: RecordingsQuery) -> Answer:
    """List recordings, newest first."""
    page = recordings.list_recordings(
        call.desk,
        call.caller,
        session_id=query.session_id,
        states=query.state,
        started_from=query.started_from,
        started_to=query.started_to,
        held=query.held,
        limit=query.limit,
        cursor=query.cursor,
    )
    return Answer(value=page)


def get_recording(call: Call, path: RecordingPath) -> Answer:
    """Get one recording."""
    return Answer(value=recordings.get_recording(call.desk, call.caller, recording_id=path.recording_id))


def stop_recording(call: Call, path: RecordingPath, body: StopRecording) -> Answer:
    """End a recording; its files are then processed. Stopping it again is harmless."""
    stopped = recordings.stop_recording(
        call.desk, call.caller, recording_id=path.recording_id, reason=body.reason or ""
    )
    return Answer(value=stopped)


def annotate_recording(call: Call, path: RecordingPath, body: Annotations) -> Answer:
    """Hand over what was drawn in the session, or say that nothing was.

    The first document counts: the same one again is harmless, another is refused.
    """
    annotations = b"" if body.document is None else object_bytes(body.document, "document")
    recording = recordings.annotate_recording(
        call.desk, call.caller, recording_id=path.recording_id, annotations=annotations
    )
    return Answer(value=recording)


def create_recording_link(call: Call, path: RecordingFilePath, body: LinkBody) -> Answer:
    """Make an address that gives one file of a recording to whoever holds it. It is recorded as an access."""
    link = recordings.create_recording_link(
        call.desk,
        call.caller,
        recording_id=path.recording_id,
        file=path.file,
        valid_seconds=body.valid_seconds or 0,
    )
    return Answer(value=link)


def get_recording_custody(call: Call, path: RecordingPath) -> Answer:
    """Get the chain of custody of a recording up to now: who or what touched it, when, and the digests."""
    return Answer(value=recordings.get_recording_custody(call.desk, call.caller, recording_id=path.recording_id))


def verify_recording(call: Call, path: RecordingPath) -> Answer:
    """Read every file of a recording back from the store now, kept raw ones too, and compare digests."""
    return Answer(value=recordings.verify_recording(call.desk, call.caller, recording_id=path.recording_id))


def dispose_recording(call: Call, path: RecordingPath, body: DisposeBody) -> Answer:
    """Delete a recording's bytes before its retention ends.

    Refused with RECORDING_HELD while a legal hold stands. Digests and custody stay.
    """
    disposed = recordings.dispose_recording(call.desk, call.caller, recording_id=path.recording_id, reason=body.reason)
    return Answer(value=disposed)


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/sessions/{session_id}/recordings",
        handler=start_recording,
        uses=(recordings.start_recording,),
        answer=Recording,
        tag="Recordings",
        status=HTTPStatus.CREATED,
        also=(HTTPStatus.OK,),
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="GET",
        path="/recordings",
        handler=list_recordings,
        uses=(recordings.list_recordings,),
        answer=Page[Recording],
        tag="Recordings",
    ),
    Route(
        method="GET",
        path="/recordings/{recording_id}",
        handler=get_recording,
        uses=(recordings.get_recording,),
        answer=Recording,
        tag="Recordings",
    ),
    Route(
        method="POST",
        path="/recordings/{recording_id}/stop",
        handler=stop_recording,
        uses=(recordings.stop_recording,),
        answer=Recording,
        tag="Recordings",
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="PUT",
        path="/recordings/{recording_id}/annotations",
        handler=annotate_recording,
        uses=(recordings.annotate_recording,),
        answer=Recording,
        tag="Recordings",
        repeat=Repeat.GATEWAY,
        max_body_bytes=MAX_ANNOTATION_BYTES,
    ),
    Route(
        method="POST",
        path="/recordings/{recording_id}/files/{file}/links",
        handler=create_recording_link,
        uses=(recordings.create_recording_link,),
        answer=DownloadLink,
        tag="Recordings",
        status=HTTPStatus.CREATED,
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="GET",
        path="/recordings/{recording_id}/custody",
        handler=get_recording_custody,
        uses=(recordings.get_recording_custody,),
        answer=JsonObject,
        tag="Recordings",
    ),
    Route(
        method="POST",
        path="/recordings/{recording_id}/verification",
        handler=verify_recording,
        uses=(recordings.verify_recording,),
        answer=StoredCheck,
        tag="Recordings",
        slow=True,
    ),
    Route(
        method="POST",
        path="/recordings/{recording_id}/disposal",
        handler=dispose_recording,
        uses=(recordings.dispose_recording,),
        answer=Recording,
        tag="Recordings",
        status=HTTPStatus.ACCEPTED,
        repeat=Repeat.GATEWAY,
    ),
)
