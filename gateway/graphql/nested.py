"""Fields that lead from one thing to another, each through the same operation as at the root."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.rest import clips, events, proofs, recordings, sessions, webhooks
from gateway.rest.routing import Answer
from gateway.values import Clip, LegalHold, Receipt, Recording, Session, VerifyLink
from gateway.webhooks.values import Delivery, Endpoint


@dataclass(frozen=True, kw_only=True, slots=True)
class Nested:
    """A field `name` of `on`: what `handler` answers when `given` of its arguments are members of the thing."""

    on: type
    name: str
    handler: Callable[..., Answer]
    given: Mapping[str, str]


def _nested(on: type, name: str, handler: Callable[..., Answer], **given: str) -> Nested:
    return Nested(on=on, name=name, handler=handler, given=MappingProxyType(given))


NESTED: tuple[Nested, ...] = (
    _nested(Session, "events", events.list_events, session_id="session_id"),
    _nested(Session, "anchors", proofs.list_anchors, session_id="session_id"),
    _nested(Session, "recordings", recordings.list_recordings, session_id="session_id"),
    _nested(Receipt, "session", sessions.get_session, session_id="session_id"),
    _nested(VerifyLink, "session", sessions.get_session, session_id="session_id"),
    _nested(Recording, "session", sessions.get_session, session_id="session_id"),
    _nested(Recording, "custody", recordings.get_recording_custody, recording_id="recording_id"),
    _nested(Clip, "session", sessions.get_session, session_id="session_id"),
    _nested(Clip, "custody", clips.get_custody, clip_id="clip_id"),
    _nested(LegalHold, "clip", clips.get_clip, clip_id="clip_id"),
    _nested(LegalHold, "recording", recordings.get_recording, recording_id="recording_id"),
    _nested(Endpoint, "deliveries", webhooks.list_deliveries, endpoint_id="endpoint_id"),
    _nested(Delivery, "endpoint", webhooks.get_endpoint, endpoint_id="endpoint_id"),
    _nested(Delivery, "log", webhooks.get_delivery, delivery_id="delivery_id"),
)
