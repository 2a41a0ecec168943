"""Between the ledger's values and the protobuf messages that stand for them on the wire."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from indelible.ledger.v1 import ledger_pb2

from ledger.chain.event import Event
from ledger.store.values import AnchorStatus, Chain, NewEvent, Receipt

_CHAIN_TYPES = {"session": ledger_pb2.CHAIN_TYPE_SESSION, "operations": ledger_pb2.CHAIN_TYPE_OPERATIONS}
_CHAIN_STATES = {
    "open": ledger_pb2.CHAIN_STATE_OPEN,
    "ended": ledger_pb2.CHAIN_STATE_ENDED,
    "closed": ledger_pb2.CHAIN_STATE_CLOSED,
}
_ANCHOR_STATES = {"pending": ledger_pb2.ANCHOR_STATE_PENDING, "obtained": ledger_pb2.ANCHOR_STATE_OBTAINED}


def new_events(request: ledger_pb2.AppendEventsRequest) -> list[NewEvent]:
    """The events of an append, unchecked."""
    return [
        # Most events seal nothing, and making a tuple of an empty field takes longer than all the rest.
        NewEvent(
            kind=event.kind,
            payload=event.payload,
            sealed_members=tuple(sealed) if (sealed := event.sealed_members) else (),
        )
        for event in request.events
    ]


def receipt_message(receipt: Receipt) -> ledger_pb2.Receipt:
    """A receipt for the wire."""
    return ledger_pb2.Receipt(
        chain_id=receipt.chain_id,
        first_sequence=receipt.first_sequence,
        last_sequence=receipt.last_sequence,
        event_hashes=receipt.event_hashes,
        signed_note=receipt.signed_note,
        replayed=receipt.replayed,
        occurred_at_us=receipt.occurred_at_us,
    )


def chain_message(chain: Chain) -> ledger_pb2.Chain:
    """A chain for the wire."""
    return ledger_pb2.Chain(
        chain_id=chain.chain_id,
        type=_CHAIN_TYPES[chain.type],
        state=_CHAIN_STATES[chain.state],
        organisation_id=chain.organisation_id,
        organisation_name=chain.organisation_name,
        subject=chain.subject.encode(),
        event_count=chain.event_count,
        head=chain.head,
        opened_at=timestamp(chain.opened_at),
        closed_at=timestamp(chain.closed_at),
        ended_at=timestamp(chain.ended_at),
        closes_by=timestamp(chain.closes_by),
        pending=[
            ledger_pb2.PendingItem(type=item.type, item_id=item.item_id, since_sequence=item.since_sequence)
            for item in chain.pending
        ],
    )


def event_message(event: Event) -> ledger_pb2.Event:
    """A stored event for the wire."""
    return ledger_pb2.Event(
        sequence=event.sequence,
        prev_hash=event.prev_hash,
        kind=event.kind,
        payload=event.payload.encode(),
        occurred_at_us=event.occurred_at_us,
        hash=event.hash,
    )


def anchor_message(anchor: AnchorStatus) -> ledger_pb2.Anchor:
    """The state of one anchor for the wire."""
    return ledger_pb2.Anchor(
        sequence=anchor.sequence,
        digest=anchor.digest,
        backend=anchor.backend,
        authority=anchor.authority,
        state=_ANCHOR_STATES[anchor.state],
        attempts=anchor.attempts,
        last_error=anchor.last_error,
        requested_at=timestamp(anchor.requested_at),
        next_attempt_at=timestamp(anchor.next_attempt_at),
        obtained_at=timestamp(anchor.obtained_at),
        anchored_at=timestamp(anchor.anchored_at),
    )


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A moment for the wire; None stays unset."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message
