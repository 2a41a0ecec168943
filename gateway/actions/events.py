"""Events of a session, and of the operations chain."""

from collections.abc import Sequence

from gateway.actions.desk import Desk, service_key
from gateway.auth.actions import Action
from gateway.auth.values import GatewayCaller, Resource
from gateway.values import Accepted, ChainCheck, Erasure, Event, NewEvent, Page


def append_events(  # noqa: PLR0913 - what an append consists of
    desk: Desk,
    caller: GatewayCaller,
    *,
    session_id: str,
    events: Sequence[NewEvent],
    expected_sequence: int | None = None,
    idempotency_key: str | None = None,
) -> Accepted:
    """Append 1 to 1,000 events, all or none; the ledger honours the key for ever."""
    with desk.authorise(caller, Action.EVENT_APPEND, Resource.chain_of(caller.organisation_id, session_id)) as identity:
        return desk.ledger.append_events(
            identity,
            session_id,
            events,
            idempotency_key=service_key(caller, idempotency_key, session_id),
            expected_sequence=expected_sequence,
        )


def list_events(  # noqa: PLR0913 - which chain, and which page of it
    desk: Desk,
    caller: GatewayCaller,
    *,
    session_id: str,
    kinds: Sequence[str] = (),
    from_sequence: int = 0,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Event]:
    """A page of a chain's events, by sequence."""
    with desk.authorise(caller, Action.EVENT_LIST, Resource.chain_of(caller.organisation_id, session_id)) as identity:
        return desk.ledger.list_events(
            identity, session_id, kinds=kinds, from_sequence=from_sequence, limit=limit, cursor=cursor
        )


def get_event(desk: Desk, caller: GatewayCaller, *, session_id: str, sequence: int) -> Event:
    """One event."""
    resource = Resource.chain_of(caller.organisation_id, session_id)
    with desk.authorise(caller, Action.EVENT_LIST, resource) as identity:
        page = desk.ledger.list_events(identity, session_id, from_sequence=sequence, limit=1)
    if not page.items or page.items[0].sequence != sequence:
        raise desk.parts.access.not_found(caller, Action.EVENT_LIST, resource)
    return page.items[0]


def erase_disclosures(  # noqa: PLR0913 - what an erasure consists of
    desk: Desk, caller: GatewayCaller, *, session_id: str, sequence: int, members: Sequence[str] = (), reason: str
) -> Erasure:
    """Erase for ever what sealed members of an event say: the named ones, or all."""
    with desk.authorise(caller, Action.EVENT_ERASE, Resource.chain_of(caller.organisation_id, session_id)) as identity:
        return desk.ledger.erase_disclosures(identity, session_id, sequence, members=members, reason=reason)


def check_session(desk: Desk, caller: GatewayCaller, *, session_id: str) -> ChainCheck:
    """Have every hash of a chain computed again by the ledger. A verifier does it without trusting the ledger."""
    with desk.authorise(caller, Action.CHAIN_CHECK, Resource.chain_of(caller.organisation_id, session_id)) as identity:
        return desk.ledger.check_session(identity, session_id)
