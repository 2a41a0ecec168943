"""Routes: legal holds and retention."""

from http import HTTPStatus
from typing import Literal

from pydantic import Field

from gateway.actions import holds
from gateway.rest.clips import ClipPath
from gateway.rest.models import Identifier, PageQuery, Reason, Strict, Uuid
from gateway.rest.recordings import RecordingPath
from gateway.rest.routing import Answer, Call, Repeat, Route
from gateway.values import LegalHold, Page, PlacedHold, Retention

MAX_RETENTION_DAYS = 36_500


class HoldReason(Strict):
    """Why a hold is placed, or lifted."""

    reason: Reason


class HoldPath(Strict):
    """A hold on a clip."""

    clip_id: Uuid
    hold_id: Uuid


class RecordingHoldPath(Strict):
    """A hold on a recording."""

    recording_id: Uuid
    hold_id: Uuid


class HoldsQuery(PageQuery):
    """Which holds."""

    camera: Identifier | None = None


class SetRetention(Strict):
    """How long clips and recordings shall be kept, and why."""

    days: int = Field(ge=1, le=MAX_RETENTION_DAYS)
    lock_mode: Literal["none", "governance", "compliance"] | None = Field(
        default=None, description="How firmly the object store itself keeps them; as it is when not given."
    )
    reason: Reason


def place_hold(call: Call, path: ClipPath, body: HoldReason) -> Answer:
    """Place a legal hold on a clip: it is not disposed of until the hold is lifted.

    Several holds are independent of each other. The evidence service remembers the Idempotency-Key for ever.
    """
    placed = holds.place_hold(
        call.desk, call.caller, clip_id=path.clip_id, reason=body.reason, idempotency_key=call.idempotency_key
    )
    return Answer(value=placed)


def list_clip_holds(call: Call, path: ClipPath) -> Answer:
    """List the holds that stand on a clip now."""
    return Answer(
        value=Page(items=holds.list_clip_holds(call.desk, call.caller, clip_id=path.clip_id), next_cursor=None)
    )


def lift_hold(call: Call, path: HoldPath, body: HoldReason) -> Answer:
    """Lift one hold. Lifting it again gives the first answer."""
    hold = holds.lift_hold(call.desk, call.caller, clip_id=path.clip_id, hold_id=path.hold_id, reason=body.reason)
    return Answer(value=hold)


def place_recording_hold(call: Call, path: RecordingPath, body: HoldReason) -> Answer:
    """Place a legal hold on a recording: nothing of it is deleted until the hold is lifted.

    It may still be running: what comes of it is held, too. Several holds are independent of each other. The evidence
    service remembers the Idempotency-Key for ever.
    """
    placed = holds.place_recording_hold(
        call.desk,
        call.caller,
        recording_id=path.recording_id,
        reason=body.reason,
        idempotency_key=call.idempotency_key,
    )
    return Answer(value=placed)


def list_recording_holds(call: Call, path: RecordingPath) -> Answer:
    """List the holds that stand on a recording now."""
    items = holds.list_recording_holds(call.desk, call.caller, recording_id=path.recording_id)
    return Answer(value=Page(items=items, next_cursor=None))


def lift_recording_hold(call: Call, path: RecordingHoldPath, body: HoldReason) -> Answer:
    """Lift one hold of a recording. Lifting it again gives the first answer."""
    hold = holds.lift_recording_hold(
        call.desk, call.caller, recording_id=path.recording_id, hold_id=path.hold_id, reason=body.reason
    )
    return Answer(value=hold)


def list_holds(call: Call, query: HoldsQuery) -> Answer:
    """List the holds that stand on clips of your organisation, newest incident first, and then on its recordings.

    With `camera`, those on the clips of that camera. `limit` counts the clips and recordings, which may have several.
    """
    page = holds.list_holds(call.desk, call.caller, camera=query.camera, limit=query.limit, cursor=query.cursor)
    return Answer(value=page)


def get_retention(call: Call) -> Answer:
    """Get how long your organisation keeps clips and recordings."""
    return Answer(value=holds.get_retention(call.desk, call.caller))


def set_retention(call: Call, body: SetRetention) -> Answer:
    """Change how long your organisation keeps clips and recordings, for those there are, too."""
    retention = holds.set_retention(
        call.desk, call.caller, days=body.days, reason=body.reason, lock_mode=body.lock_mode
    )
    return Answer(value=retention)


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/clips/{clip_id}/holds",
        handler=place_hold,
        uses=(holds.place_hold,),
        answer=PlacedHold,
        tag="Legal holds",
        status=HTTPStatus.CREATED,
        repeat=Repeat.SERVICE,
    ),
    Route(
        method="GET",
        path="/clips/{clip_id}/holds",
        handler=list_clip_holds,
        uses=(holds.list_clip_holds,),
        answer=Page[LegalHold],
        tag="Legal holds",
    ),
    Route(
        method="POST",
        path="/clips/{clip_id}/holds/{hold_id}/lift",
        handler=lift_hold,
        uses=(holds.lift_hold,),
        answer=LegalHold,
        tag="Legal holds",
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="POST",
        path="/recordings/{recording_id}/holds",
        handler=place_recording_hold,
        uses=(holds.place_recording_hold,),
        answer=PlacedHold,
        tag="Legal holds",
        status=HTTPStatus.CREATED,
        repeat=Repeat.SERVICE,
    ),
    Route(
        method="GET",
        path="/recordings/{recording_id}/holds",
        handler=list_recording_holds,
        uses=(holds.list_recording_holds,),
        answer=Page[LegalHold],
        tag="Legal holds",
    ),
    Route(
        method="POST",
        path="/recordings/{recording_id}/holds/{hold_id}/lift",
        handler=lift_recording_hold,
        uses=(holds.lift_recording_hold,),
        answer=LegalHold,
        tag="Legal holds",
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="GET",
        path="/holds",
        handler=list_holds,
        uses=(holds.list_holds,),
        answer=Page[LegalHold],
        tag="Legal holds",
    ),
    Route(
        method="GET",
        path="/retention",
        handler=get_retention,
        uses=(holds.get_retention,),
        answer=Retention,
        tag="Retention",
    ),
    Route(
        method="PUT",
        path="/retention",
        handler=set_retention,
        uses=(holds.set_retention,),
        answer=Retention,
        tag="Retention",
        repeat=Repeat.GATEWAY,
    ),
)
