"""Clips: asking for them, reading them, and giving them out."""

from collections.abc import Sequence
from datetime import datetime

from gateway.actions.desk import Desk
from gateway.auth.actions import Action
from gateway.auth.values import OPERATIONS_CHAIN, GatewayCaller, Resource
from gateway.calls.refusals import problem_of
from gateway.problems import Problem
from gateway.values import (
    Bytes,
    Clip,
    ClipRestore,
    ClipState,
    DownloadLink,
    Page,
    RequestedClip,
    StoredCheck,
)
from ledger.client import ClientError


def request_clip(  # noqa: PLR0913 - what a clip is asked for by
    desk: Desk,
    caller: GatewayCaller,
    *,
    source: str,
    incident: str,
    event_at: datetime,
    before_seconds: int | None = None,
    after_seconds: int | None = None,
    session_id: str | None = None,
) -> RequestedClip:
    """Ask for footage around `event_at` to be preserved; the same source and incident: the same clip for ever."""
    with desk.authorise(caller, Action.CLIP_REQUEST, Resource.camera_of(caller.organisation_id, source)) as identity:
        return desk.evidence.request_clip(
            identity,
            source=source,
            incident=incident,
            event_at=event_at,
            before_seconds=before_seconds,
            after_seconds=after_seconds,
            session_id=session_id,
        )


def list_clips(  # noqa: PLR0913 - the filters of the list
    desk: Desk,
    caller: GatewayCaller,
    *,
    camera: str | None = None,
    incident: str | None = None,
    states: Sequence[ClipState] = (),
    event_from: datetime | None = None,
    event_to: datetime | None = None,
    held: bool | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Clip]:
    """A page of the organisation's clips, newest incident first. A role narrowed to a camera has to name it."""
    with desk.authorise(
        caller,
        Action.CLIP_LIST,
        Resource.camera_of(caller.organisation_id, camera) if camera else Resource.organisation(caller.organisation_id),
    ) as identity:
        return desk.evidence.list_clips(
            identity,
            camera=camera,
            incident=incident,
            states=states,
            event_from=event_from,
            event_to=event_to,
            held=held,
            limit=limit,
            cursor=cursor,
        )


def get_clip(desk: Desk, caller: GatewayCaller, *, clip_id: str) -> Clip:
    """One clip as it stands."""
    with desk.authorise(caller, Action.CLIP_VIEW, clip_resource(desk, caller, clip_id)) as identity:
        return desk.evidence.get_clip(identity, clip_id)


def get_custody(desk: Desk, caller: GatewayCaller, *, clip_id: str) -> bytes:
    """The chain of custody up to now (docs/spec/clip.md): a JSON object."""
    with desk.authorise(caller, Action.CLIP_CUSTODY, clip_resource(desk, caller, clip_id)) as identity:
        return desk.evidence.get_custody(identity, clip_id=clip_id)


def create_clip_link(
    desk: Desk, caller: GatewayCaller, *, clip_id: str, file: str, valid_seconds: int = 0
) -> DownloadLink:
    """An address that gives one file of a clip to whoever holds it."""
    with desk.authorise(caller, Action.CLIP_DOWNLOAD, clip_resource(desk, caller, clip_id)) as identity:
        return desk.evidence.create_clip_link(identity, clip_id, file, valid_seconds)


def verify_clip(desk: Desk, caller: GatewayCaller, *, clip_id: str) -> StoredCheck:
    """Read every file back from the store now and compare digests."""
    with desk.authorise(caller, Action.CLIP_VERIFY, clip_resource(desk, caller, clip_id)) as identity:
        return desk.evidence.verify_clip(identity, clip_id)


def restore_clip(desk: Desk, caller: GatewayCaller, *, clip_id: str) -> ClipRestore:
    """Have archived files brought back, or learn how far that is."""
    with desk.authorise(caller, Action.CLIP_RESTORE, clip_resource(desk, caller, clip_id)) as identity:
        return desk.evidence.restore_clip(identity, clip_id)


def export_clip(desk: Desk, caller: GatewayCaller, *, clip_id: str, session_id: str | None = None) -> Bytes:
    """The bundle of the operations chain, or of the session the clip is noted on, with the clip in it."""
    with desk.authorise(caller, Action.CLIP_EXPORT, clip_resource(desk, caller, clip_id)) as identity:
        # The bundle holds every event of the chain: a right to one clip is none to what else happened, nor to who
        # looked at what.
        desk.authorise(
            caller, Action.BUNDLE_EXPORT, Resource.chain_of(caller.organisation_id, session_id or OPERATIONS_CHAIN)
        )
        return Bytes(pieces=desk.evidence.export_clip(identity, clip_id, session_id), name=f"clip-{clip_id}.zip")


def dispose_clip(desk: Desk, caller: GatewayCaller, *, clip_id: str, reason: str) -> Clip:
    """Delete a clip's bytes before its retention ends. Refused while a legal hold exists."""
    with desk.authorise(caller, Action.CLIP_DISPOSE, clip_resource(desk, caller, clip_id)) as identity:
        return desk.evidence.dispose_clip(identity, clip_id, reason)


def clip_resource(desk: Desk, caller: GatewayCaller, clip_id: str) -> Resource:
    """A clip as the policy sees it. Its camera is looked up for callers whose roles are narrowed to places."""

    def camera() -> str:
        identity = desk.identity(caller, Action.CLIP_VIEW)
        try:
            return desk.evidence.get_clip(identity, clip_id).camera
        except ClientError as error:
            raise _hidden(desk, caller, clip_id, error) from error

    return Resource.clip(caller.organisation_id, clip_id, camera=camera)


def _hidden(desk: Desk, caller: GatewayCaller, clip_id: str, error: ClientError) -> Problem:
    if error.status == "NOT_FOUND":
        resource = Resource.clip(caller.organisation_id, clip_id, camera="")
        return desk.parts.access.not_found(caller, Action.CLIP_VIEW, resource)
    return problem_of(error)
