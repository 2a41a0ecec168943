"""Routes: clips."""

from http import HTTPStatus
from typing import Literal

from pydantic import Field

from gateway.actions import clips
from gateway.rest.models import (
    FileName,
    Identifier,
    LinkBody,
    Moment,
    PageQuery,
    Reason,
    SessionId,
    Strict,
    Truth,
    Uuid,
)
from gateway.rest.routing import Answer, Call, Repeat, Route
from gateway.values import Clip, ClipRestore, DownloadLink, JsonObject, Page, StoredCheck

MAX_STATES = 8
MAX_WINDOW_SECONDS = 24 * 3600

State = Literal["requested", "waiting", "extracting", "storing", "preserved", "failed", "disposing", "disposed"]


class RequestClip(Strict):
    """What footage to preserve."""

    source: Identifier
    incident: Identifier
    event_at: Moment
    before_seconds: int | None = Field(
        default=None, ge=0, le=MAX_WINDOW_SECONDS, description="The camera's or general default when not given."
    )
    after_seconds: int | None = Field(default=None, ge=0, le=MAX_WINDOW_SECONDS, description="As before_seconds.")
    session_id: SessionId | None = Field(
        default=None, description="A session to note the clip on, besides the operations chain."
    )


class ClipPath(Strict):
    """A clip."""

    clip_id: Uuid


class ClipFilePath(Strict):
    """A file of a clip."""

    clip_id: Uuid
    file: FileName


class ClipsQuery(PageQuery):
    """Which clips."""

    camera: Identifier | None = None
    incident: Identifier | None = None
    state: list[State] = Field(default_factory=list, max_length=MAX_STATES)
    event_from: Moment | None = None
    event_to: Moment | None = None
    held: Truth | None = Field(default=None, description="Only clips with, or without, a standing hold.")


class ClipBundleQuery(Strict):
    """Whose bundle the clip is put into."""

    session_id: SessionId | None = Field(
        default=None, description="The session that the clip is noted on; the operations chain when not given."
    )


class DisposeBody(Strict):
    """Why a clip or a recording is disposed of."""

    reason: Reason


def request_clip(call: Call, body: RequestClip) -> Answer:
    """Ask for footage around a moment to be preserved.

    Source and incident are the key, for ever: however often you ask, there is one clip, and the first request decides.
    """
    requested = clips.request_clip(
        call.desk,
        call.caller,
        source=body.source,
        incident=body.incident,
        event_at=body.event_at,
        before_seconds=body.before_seconds,
        after_seconds=body.after_seconds,
        session_id=body.session_id,
    )
    return Answer(
        value=requested.clip,
        status=HTTPStatus.CREATED if requested.created else HTTPStatus.OK,
        headers={"Location": f"/api/v1/clips/{requested.clip.clip_id}"},
    )


def list_clips(call: Call, query: ClipsQuery) -> Answer:
    """List clips, newest incident first."""
    page = clips.list_clips(
        call.desk,
        call.caller,
        camera=query.camera,
        incident=query.incident,
        states=query.state,
        event_from=query.event_from,
        event_to=query.event_to,
        held=query.held,
        limit=query.limit,
        cursor=query.cursor,
    )
    return Answer(value=page)


def get_clip(call: Call, path: ClipPath) -> Answer:
    """Get one clip."""
    return Answer(value=clips.get_clip(call.desk, call.caller, clip_id=path.clip_id))


def get_custody(call: Call, path: ClipPath) -> Answer:
    """Get the chain of custody of a clip up to now: who or what touched it, when, and the digests."""
    return Answer(value=clips.get_custody(call.desk, call.caller, clip_id=path.clip_id))


def create_clip_link(call: Call, path: ClipFilePath, body: LinkBody) -> Answer:
    """Make an address that gives one file of a clip to whoever holds it. It is recorded as an access."""
    link = clips.create_clip_link(
        call.desk, call.caller, clip_id=path.clip_id, file=path.file, valid_seconds=body.valid_seconds or 0
    )
    return Answer(value=link)


def verify_clip(call: Call, path: ClipPath) -> Answer:
    """Read every file of a clip back from the store now, and compare digests."""
    return Answer(value=clips.verify_clip(call.desk, call.caller, clip_id=path.clip_id))


def restore_clip(call: Call, path: ClipPath) -> Answer:
    """Have archived files of a clip brought back, or learn how far that is."""
    return Answer(value=clips.restore_clip(call.desk, call.caller, clip_id=path.clip_id))


def download_clip_bundle(call: Call, path: ClipPath, query: ClipBundleQuery) -> Answer:
    """Download a bundle with the clip in it, to verify offline, as a zip file."""
    return Answer(value=clips.export_clip(call.desk, call.caller, clip_id=path.clip_id, session_id=query.session_id))


def dispose_clip(call: Call, path: ClipPath, body: DisposeBody) -> Answer:
    """Delete a clip's bytes before its retention ends.

    Refused with CLIP_HELD while a legal hold stands. Digests and custody stay.
    """
    return Answer(value=clips.dispose_clip(call.desk, call.caller, clip_id=path.clip_id, reason=body.reason))


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/clips",
        handler=request_clip,
        uses=(clips.request_clip,),
        answer=Clip,
        tag="Clips",
        status=HTTPStatus.CREATED,
        also=(HTTPStatus.OK,),
        repeat=Repeat.GATEWAY,
    ),
    Route(method="GET", path="/clips", handler=list_clips, uses=(clips.list_clips,), answer=Page[Clip], tag="Clips"),
    Route(method="GET", path="/clips/{clip_id}", handler=get_clip, uses=(clips.get_clip,), answer=Clip, tag="Clips"),
    Route(
        method="GET",
        path="/clips/{clip_id}/custody",
        handler=get_custody,
        uses=(clips.get_custody,),
        answer=JsonObject,
        tag="Clips",
    ),
    Route(
        method="POST",
        path="/clips/{clip_id}/files/{file}/links",
        handler=create_clip_link,
        uses=(clips.create_clip_link,),
        answer=DownloadLink,
        tag="Clips",
        status=HTTPStatus.CREATED,
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="POST",
        path="/clips/{clip_id}/verification",
        handler=verify_clip,
        uses=(clips.verify_clip,),
        answer=StoredCheck,
        tag="Clips",
        slow=True,
    ),
    Route(
        method="POST",
        path="/clips/{clip_id}/restoration",
        handler=restore_clip,
        uses=(clips.restore_clip,),
        answer=ClipRestore,
        tag="Clips",
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="GET",
        path="/clips/{clip_id}/bundle",
        handler=download_clip_bundle,
        uses=(clips.export_clip,),
        answer=bytes,
        tag="Clips",
        slow=True,
    ),
    Route(
        method="POST",
        path="/clips/{clip_id}/disposal",
        handler=dispose_clip,
        uses=(clips.dispose_clip,),
        answer=Clip,
        tag="Clips",
        status=HTTPStatus.ACCEPTED,
        repeat=Repeat.GATEWAY,
    ),
)
