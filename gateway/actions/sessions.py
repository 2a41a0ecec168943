"""Sessions: opening, reading, ending and closing them, and who agreed to be recorded."""

from gateway.actions.desk import Desk, service_key
from gateway.auth.actions import Action
from gateway.auth.values import GatewayCaller, Resource
from gateway.values import (
    Accepted,
    ChainState,
    ConsentAct,
    Page,
    ParticipantRole,
    RecordedConsent,
    Session,
)


def open_session(
    desk: Desk, caller: GatewayCaller, *, session_id: str, subject: bytes = b"{}"
) -> tuple[Session, Accepted]:
    """Open a session; again with the same subject: the first answer. `subject` is a JSON object."""
    with desk.authorise(caller, Action.SESSION_OPEN, Resource.organisation(caller.organisation_id)) as identity:
        return desk.ledger.open_session(identity, session_id, subject)


def list_sessions(
    desk: Desk, caller: GatewayCaller, *, state: ChainState | None = None, limit: int = 100, cursor: str | None = None
) -> Page[Session]:
    """A page of the organisation's sessions, by session_id."""
    with desk.authorise(caller, Action.SESSION_LIST, Resource.organisation(caller.organisation_id)) as identity:
        return desk.ledger.list_sessions(identity, state=state, limit=limit, cursor=cursor)


def get_session(desk: Desk, caller: GatewayCaller, *, session_id: str) -> Session:
    """One session as it stands, or the operations chain."""
    with desk.authorise(caller, Action.SESSION_VIEW, Resource.chain_of(caller.organisation_id, session_id)) as identity:
        return desk.ledger.get_session(identity, session_id)


def end_session(
    desk: Desk, caller: GatewayCaller, *, session_id: str, ending: bytes = b"", wait_seconds: int = 0
) -> tuple[Session, Accepted]:
    """End a session: it closes when its recordings and clips are finished, after `wait_seconds` at the latest."""
    with desk.authorise(
        caller, Action.SESSION_CLOSE, Resource.chain_of(caller.organisation_id, session_id)
    ) as identity:
        return desk.ledger.end_session(identity, session_id, ending, wait_seconds)


def close_session(
    desk: Desk, caller: GatewayCaller, *, session_id: str, closing: bytes = b""
) -> tuple[Session, Accepted]:
    """Seal a session for ever. Refused while recordings or clips of it are pending."""
    with desk.authorise(
        caller, Action.SESSION_CLOSE, Resource.chain_of(caller.organisation_id, session_id)
    ) as identity:
        return desk.ledger.close_session(identity, session_id, closing)


def record_consent(  # noqa: PLR0913 - what a consent consists of
    desk: Desk,
    caller: GatewayCaller,
    *,
    session_id: str,
    participant: str,
    role: ParticipantRole,
    act: ConsentAct,
    notice: str,
    idempotency_key: str | None = None,
) -> RecordedConsent:
    """Note what a participant decided about being recorded; a withdrawal stops what it covers."""
    with desk.authorise(
        caller, Action.CONSENT_RECORD, Resource.session(caller.organisation_id, session_id)
    ) as identity:
        return desk.evidence.record_consent(
            identity,
            session_id,
            participant=participant,
            role=role,
            act=act,
            notice=notice,
            idempotency_key=service_key(caller, idempotency_key, session_id),
        )
