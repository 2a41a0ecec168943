"""Routes: sessions."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from gateway.actions import sessions
from gateway.problems import Code, Problem
from gateway.rest.models import SHOWN, OptionalBody, PageQuery, SessionId, SessionPath, Strict
from gateway.rest.routing import Answer, Call, Repeat, Route
from gateway.rest.writing import json_bytes
from gateway.values import Page, RecordedConsent, Session, SessionChange

MAX_WAIT_SECONDS = 604_800
MIN_WAIT_SECONDS = 60

Participant = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        pattern=SHOWN,
        description="The participant's identity in the room, in printable characters.",
    ),
]


class OpenSession(Strict):
    """A session to open."""

    session_id: SessionId
    subject: dict[str, Any] = Field(
        default_factory=dict, description="What the session is about: a JSON object, kept with the first event."
    )


class SessionsQuery(PageQuery):
    """Which sessions."""

    state: Literal["open", "ended", "closed"] | None = None


class EndSession(OptionalBody):
    """Why a session ends, and how long to wait for what is pending."""

    ending: dict[str, Any] | None = Field(default=None, description="Why or by whom: kept on the chain.")
    wait_seconds: int | None = Field(
        default=None,
        ge=MIN_WAIT_SECONDS,
        le=MAX_WAIT_SECONDS,
        description="How long to wait for recordings and clips; a day when not given.",
    )


class CloseSession(OptionalBody):
    """Why a session is closed."""

    closing: dict[str, Any] | None = Field(default=None, description="Why or by whom: kept on the chain.")


class NewConsent(Strict):
    """What a participant decided about being recorded, or that they were shown the banner."""

    model_config = ConfigDict(title="NewConsent")
    participant: Participant
    role: Literal["operator", "field"]
    act: Literal["banner_shown", "given", "refused", "withdrawn"]
    notice: str = Field(
        min_length=1, max_length=200, pattern=SHOWN, description="Which text they saw: its version or address."
    )


def open_session(call: Call, body: OpenSession) -> Answer:
    """Open a session.

    Opening it again with the same subject gives the session as it stands, and the first receipt.
    """
    subject = object_bytes(body.subject, "subject")
    session, accepted = sessions.open_session(call.desk, call.caller, session_id=body.session_id, subject=subject)
    return Answer(
        value=SessionChange(session=session, receipt=accepted.receipt),
        status=HTTPStatus.OK if accepted.replayed else HTTPStatus.CREATED,
        replayed=accepted.replayed,
        headers={"Location": f"/api/v1/sessions/{session.session_id}"},
    )


def list_sessions(call: Call, query: SessionsQuery) -> Answer:
    """List sessions, by session_id."""
    page = sessions.list_sessions(call.desk, call.caller, state=query.state, limit=query.limit, cursor=query.cursor)
    return Answer(value=page)


def get_session(call: Call, path: SessionPath) -> Answer:
    """Get one session, or the operations chain.

    The ETag is the chain's head: it changes with every event.
    """
    session = sessions.get_session(call.desk, call.caller, session_id=path.session_id)
    return Answer(value=session, etag=session.head)


def end_session(call: Call, path: SessionPath, body: EndSession) -> Answer:
    """End a session whose recordings or clips may still be in the making.

    It takes only their events from then on, and closes when they are finished or the time is over; at once when nothing
    is pending. What happened so far is anchored now.
    """
    session, accepted = sessions.end_session(
        call.desk,
        call.caller,
        session_id=path.session_id,
        ending=b"" if body.ending is None else object_bytes(body.ending, "ending"),
        wait_seconds=body.wait_seconds or 0,
    )
    return Answer(value=SessionChange(session=session, receipt=accepted.receipt), replayed=accepted.replayed)


def close_session(call: Call, path: SessionPath, body: CloseSession) -> Answer:
    """Close a session for ever.

    Refused with PROCESSING_PENDING while recordings or clips of it are in the making: end it instead.
    """
    session, accepted = sessions.close_session(
        call.desk,
        call.caller,
        session_id=path.session_id,
        closing=b"" if body.closing is None else object_bytes(body.closing, "closing"),
    )
    return Answer(value=SessionChange(session=session, receipt=accepted.receipt), replayed=accepted.replayed)


def record_consent(call: Call, path: SessionPath, body: NewConsent) -> Answer:
    """Note what a participant decided about being recorded.

    It is kept on the session's chain. A withdrawal stops what it covers before this answers.
    """
    recorded = sessions.record_consent(
        call.desk,
        call.caller,
        session_id=path.session_id,
        participant=body.participant,
        role=body.role,
        act=body.act,
        notice=body.notice,
        idempotency_key=call.idempotency_key,
    )
    return Answer(value=recorded)


def object_bytes(value: dict[str, Any], field: str) -> bytes:
    """A JSON object as the ledger takes it. Raises Problem (INVALID_PAYLOAD) for what no JSON text can hold."""
    try:
        return json_bytes(value)
    except TypeError:  # a number beyond 64 bits, or half of a surrogate pair
        raise Problem(
            Code.INVALID_PAYLOAD, f"{field} holds a number or a text that cannot be kept as it is.", field=field
        ) from None


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/sessions",
        handler=open_session,
        uses=(sessions.open_session,),
        answer=SessionChange,
        tag="Sessions",
        status=HTTPStatus.CREATED,
        also=(HTTPStatus.OK,),
        repeat=Repeat.GATEWAY,
        max_body_bytes=512 * 1024,
    ),
    Route(
        method="GET",
        path="/sessions",
        handler=list_sessions,
        uses=(sessions.list_sessions,),
        answer=Page[Session],
        tag="Sessions",
    ),
    Route(
        method="GET",
        path="/sessions/{session_id}",
        handler=get_session,
        uses=(sessions.get_session,),
        answer=Session,
        tag="Sessions",
        etag=True,
    ),
    Route(
        method="POST",
        path="/sessions/{session_id}/end",
        handler=end_session,
        uses=(sessions.end_session,),
        answer=SessionChange,
        tag="Sessions",
        repeat=Repeat.GATEWAY,
        max_body_bytes=512 * 1024,
    ),
    Route(
        method="POST",
        path="/sessions/{session_id}/close",
        handler=close_session,
        uses=(sessions.close_session,),
        answer=SessionChange,
        tag="Sessions",
        repeat=Repeat.GATEWAY,
        max_body_bytes=512 * 1024,
    ),
    Route(
        method="POST",
        path="/sessions/{session_id}/consents",
        handler=record_consent,
        uses=(sessions.record_consent,),
        answer=RecordedConsent,
        tag="Sessions",
        status=HTTPStatus.CREATED,
        repeat=Repeat.SERVICE,
    ),
)
