"""Routes: events of a session."""

from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field

from gateway.actions import events
from gateway.rest.models import MAX_SEQUENCE, Kind, PageQuery, Sequence, SessionId, SessionPath, Strict
from gateway.rest.routing import Answer, Call, Repeat, Route
from gateway.rest.sessions import object_bytes
from gateway.values import ChainCheck, Erasure, Event, NewEvent, Page, Receipt

MAX_EVENTS = 1_000
MAX_KINDS = 16
MAX_SEALED_MEMBERS = 32
# The ledger takes 4 MiB of payloads at once; other spellings of the same may be longer.
MAX_APPEND_BYTES = 8 * 1024 * 1024

MemberName = Annotated[str, Field(min_length=1, max_length=256)]


class EventBody(Strict):
    """One event to append."""

    kind: Kind
    payload: dict[str, Any] = Field(description="One fact, as a JSON object; 256 KiB, 32 levels at most.")
    sealed_members: list[MemberName] = Field(
        default_factory=list,
        max_length=MAX_SEALED_MEMBERS,
        description="Names of members that are hashed as salted digests: they can be withheld, and erased later.",
    )


class AppendEvents(Strict):
    """Events to append, all or none."""

    events: list[EventBody] = Field(min_length=1, max_length=MAX_EVENTS)
    expected_sequence: int | None = Field(
        default=None,
        ge=1,
        le=MAX_SEQUENCE,
        description="When given, the first event must get this place in the chain, or nothing is written.",
    )


class EventsQuery(PageQuery):
    """Which events."""

    kind: list[Kind] = Field(default_factory=list, max_length=MAX_KINDS, description="Only these kinds.")
    from_sequence: Sequence | None = None


class EventPath(Strict):
    """One event."""

    session_id: SessionId
    sequence: Sequence


class EraseBody(Strict):
    """What to erase, and why."""

    members: list[MemberName] = Field(
        default_factory=list, max_length=MAX_SEALED_MEMBERS, description="All sealed members when empty."
    )
    reason: str = Field(
        min_length=1,
        max_length=500,
        pattern="^[ -~]*[!-~][ -~]*$",
        description="Why. It stays on the operations chain for ever, so it must name no person.",
    )


def append_events(call: Call, path: SessionPath, body: AppendEvents) -> Answer:
    """Append 1 to 1,000 events, all or none.

    With an Idempotency-Key the ledger itself remembers the append, for ever: send it again when an answer was lost.
    """
    accepted = events.append_events(
        call.desk,
        call.caller,
        session_id=path.session_id,
        events=[
            NewEvent(
                kind=event.kind,
                payload=object_bytes(event.payload, f"events[{number}].payload"),
                sealed_members=tuple(event.sealed_members),
            )
            for number, event in enumerate(body.events)
        ],
        expected_sequence=body.expected_sequence,
        idempotency_key=call.idempotency_key,
    )
    return Answer(value=accepted.receipt, replayed=accepted.replayed)


def list_events(call: Call, path: SessionPath, query: EventsQuery) -> Answer:
    """List events of a session, or of the operations chain, in their order."""
    page = events.list_events(
        call.desk,
        call.caller,
        session_id=path.session_id,
        kinds=query.kind,
        from_sequence=query.from_sequence or 0,
        limit=query.limit,
        cursor=query.cursor,
    )
    return Answer(value=page)


def get_event(call: Call, path: EventPath) -> Answer:
    """Get one event.

    The ETag is its hash: an event never changes.
    """
    event = events.get_event(call.desk, call.caller, session_id=path.session_id, sequence=path.sequence)
    return Answer(value=event, etag=event.hash)


def erase_disclosures(call: Call, path: EventPath, body: EraseBody) -> Answer:
    """Erase for ever what sealed members of an event say.

    The event, its digests and its place on the chain stay as they are.
    """
    erasure = events.erase_disclosures(
        call.desk,
        call.caller,
        session_id=path.session_id,
        sequence=path.sequence,
        members=body.members,
        reason=body.reason,
    )
    return Answer(value=erasure)


def check_session(call: Call, path: SessionPath) -> Answer:
    """Have the ledger compute every hash of a chain again.

    To check it without trusting the ledger, verify a bundle.
    """
    return Answer(value=events.check_session(call.desk, call.caller, session_id=path.session_id))


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/sessions/{session_id}/events",
        handler=append_events,
        uses=(events.append_events,),
        answer=Receipt,
        tag="Events",
        status=HTTPStatus.CREATED,
        repeat=Repeat.SERVICE,
        max_body_bytes=MAX_APPEND_BYTES,
    ),
    Route(
        method="GET",
        path="/sessions/{session_id}/events",
        handler=list_events,
        uses=(events.list_events,),
        answer=Page[Event],
        tag="Events",
    ),
    Route(
        method="GET",
        path="/sessions/{session_id}/events/{sequence}",
        handler=get_event,
        uses=(events.get_event,),
        answer=Event,
        tag="Events",
        etag=True,
    ),
    Route(
        method="POST",
        path="/sessions/{session_id}/events/{sequence}/erasure",
        handler=erase_disclosures,
        uses=(events.erase_disclosures,),
        answer=Erasure,
        tag="Events",
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="GET",
        path="/sessions/{session_id}/check",
        handler=check_session,
        uses=(events.check_session,),
        answer=ChainCheck,
        tag="Events",
        slow=True,
    ),
)
