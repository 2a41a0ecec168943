"""Legal holds on clips and recordings, and how long these are kept."""

import json
from typing import Any

from gateway.actions.clips import clip_resource
from gateway.actions.desk import Desk, service_key
from gateway.auth.actions import Action
from gateway.auth.values import GatewayCaller, Resource
from gateway.calls import Identity
from gateway.problems import Code, Problem
from gateway.values import Clip, LegalHold, LockMode, Page, PlacedHold, Recording, Retention

# How the cursors of pages behind the clips begin; the services' own, in base64 of JSON, never do.
_ON_RECORDINGS = "recordings-"


def place_hold(
    desk: Desk, caller: GatewayCaller, *, clip_id: str, reason: str, idempotency_key: str | None = None
) -> PlacedHold:
    """Stop disposal of a clip until the hold is lifted."""
    with desk.authorise(caller, Action.HOLD_PLACE, clip_resource(desk, caller, clip_id)) as identity:
        key = service_key(caller, idempotency_key, clip_id)
        return desk.evidence.place_hold(identity, reason, key, clip_id=clip_id)


def lift_hold(desk: Desk, caller: GatewayCaller, *, clip_id: str, hold_id: str, reason: str) -> LegalHold:
    """Lift one hold of a clip; again: the first answer."""
    resource = clip_resource(desk, caller, clip_id)
    with desk.authorise(caller, Action.HOLD_LIFT, resource) as identity:
        # A right to lift holds may end at certain cameras, and the service lifts whatever hold is named.
        if not _is_hold_of(desk, caller, hold_id, clip_id=clip_id):
            raise desk.parts.access.not_found(caller, Action.HOLD_LIFT, resource)
        return desk.evidence.lift_hold(identity, hold_id, reason)


def place_recording_hold(
    desk: Desk, caller: GatewayCaller, *, recording_id: str, reason: str, idempotency_key: str | None = None
) -> PlacedHold:
    """Stop disposal of a recording, and of whatever comes of it, until the hold is lifted."""
    resource = Resource.recording(caller.organisation_id, recording_id)
    with desk.authorise(caller, Action.HOLD_PLACE, resource) as identity:
        key = service_key(caller, idempotency_key, recording_id)
        return desk.evidence.place_hold(identity, reason, key, recording_id=recording_id)


def lift_recording_hold(
    desk: Desk, caller: GatewayCaller, *, recording_id: str, hold_id: str, reason: str
) -> LegalHold:
    """Lift one hold of a recording; again: the first answer."""
    resource = Resource.recording(caller.organisation_id, recording_id)
    with desk.authorise(caller, Action.HOLD_LIFT, resource) as identity:
        if not _is_hold_of(desk, caller, hold_id, recording_id=recording_id):
            raise desk.parts.access.not_found(caller, Action.HOLD_LIFT, resource)
        return desk.evidence.lift_hold(identity, hold_id, reason)


def list_recording_holds(desk: Desk, caller: GatewayCaller, *, recording_id: str) -> tuple[LegalHold, ...]:
    """The holds that stand on a recording now."""
    resource = Resource.recording(caller.organisation_id, recording_id)
    with desk.authorise(caller, Action.RECORDING_VIEW, resource) as identity:
        return desk.evidence.get_recording(identity, recording_id).holds


def list_clip_holds(desk: Desk, caller: GatewayCaller, *, clip_id: str) -> tuple[LegalHold, ...]:
    """The holds that stand on a clip now."""
    with desk.authorise(caller, Action.CLIP_VIEW, clip_resource(desk, caller, clip_id)) as identity:
        return desk.evidence.get_clip(identity, clip_id).holds


def list_holds(
    desk: Desk, caller: GatewayCaller, *, camera: str | None = None, limit: int = 100, cursor: str | None = None
) -> Page[LegalHold]:
    """The holds that stand on a page of held clips, newest incident first, and behind those on held recordings.

    `limit` counts clips and recordings. Those of one camera are on clips alone.
    """
    resource = (
        Resource.camera_of(caller.organisation_id, camera) if camera else Resource.organisation(caller.organisation_id)
    )
    with desk.authorise(caller, Action.CLIP_LIST, resource) as identity:
        if camera is None:
            desk.authorise(caller, Action.RECORDING_LIST, resource)
        held, more = _held(desk, identity, camera, limit, cursor)
        return Page(items=tuple(hold for one in held for hold in one.holds), next_cursor=more)


def get_retention(desk: Desk, caller: GatewayCaller) -> Retention:
    """How long the organisation keeps clips and recordings."""
    with desk.authorise(caller, Action.RETENTION_VIEW, Resource.organisation(caller.organisation_id)) as identity:
        return desk.evidence.get_retention(identity)


def set_retention(
    desk: Desk, caller: GatewayCaller, *, days: int, reason: str, lock_mode: LockMode | None = None
) -> Retention:
    """Change how long the organisation keeps clips and recordings, for those there are, too."""
    with desk.authorise(caller, Action.RETENTION_CHANGE, Resource.organisation(caller.organisation_id)) as identity:
        return desk.evidence.set_retention(identity, days, reason, lock_mode)


def _held(
    desk: Desk, identity: Identity, camera: str | None, limit: int, cursor: str | None
) -> tuple[tuple[Clip | Recording, ...], str | None]:
    """A page of what is held, and the cursor of the next. Raises ClientError, Problem."""
    held: tuple[Clip, ...] = ()
    if cursor is None or not cursor.startswith(_ON_RECORDINGS):
        clips = desk.evidence.list_clips(identity, camera=camera, held=True, limit=limit, cursor=cursor)
        held, cursor = clips.items, clips.next_cursor
        if cursor is not None or camera is not None:
            return held, cursor
        if len(held) == limit:
            return held, _ON_RECORDINGS
    elif camera is not None:
        raise Problem(
            Code.INVALID_REQUEST, "The cursor is not one of this list. Leave it out to begin anew.", field="cursor"
        )
    recordings = desk.evidence.list_recordings(
        identity, held=True, limit=limit - len(held), cursor=(cursor or "").removeprefix(_ON_RECORDINGS) or None
    )
    more = recordings.next_cursor
    return (*held, *recordings.items), None if more is None else _ON_RECORDINGS + more


def _is_hold_of(
    desk: Desk, caller: GatewayCaller, hold_id: str, *, clip_id: str | None = None, recording_id: str | None = None
) -> bool:
    """Whether a hold stands on the clip or the recording, or did once: then custody knows it."""
    if clip_id is not None:
        identity = desk.identity(caller, Action.CLIP_VIEW)
        standing = desk.evidence.get_clip(identity, clip_id).holds
    else:
        identity = desk.identity(caller, Action.RECORDING_VIEW)
        standing = desk.evidence.get_recording(identity, recording_id or "").holds
    if any(hold.hold_id == hold_id for hold in standing):
        return True
    document = desk.evidence.get_custody(identity, clip_id=clip_id, recording_id=recording_id)
    custody: dict[str, Any] = json.loads(document)
    return any(entry["detail"].get("hold_id") == hold_id for entry in custody["entries"])
