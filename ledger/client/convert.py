"""Between a client's values and the protobuf messages that stand for them on the wire."""

import math
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from indelible.ledger.v1 import ledger_pb2

from ledger.client.values import (
    Anchor,
    Chain,
    CheckResult,
    CreatedLink,
    Event,
    NewEvent,
    Payload,
    PendingItem,
    Receipt,
)

# Sorted and without spaces: nearly always canonical already, which the service then need not bring about. What is not
# plainly JSON is refused instead of being turned into something the caller did not write.
_STRICT = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)
_CHAIN_STATES: dict[int, Literal["ended", "closed"]] = {
    ledger_pb2.CHAIN_STATE_ENDED: "ended",
    ledger_pb2.CHAIN_STATE_CLOSED: "closed",
}


def payload_bytes(payload: Payload) -> bytes:
    """The payload as the service takes it. Raises ValueError for values JSON cannot hold; bytes go as they are."""
    if isinstance(payload, bytes):
        return payload
    try:
        encoded = orjson.dumps(dict(payload), option=_STRICT)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"the payload is not JSON: {error}") from error
    # orjson writes null for NaN and infinity: evidence must not change on its way.
    if b"null" in encoded and _has_non_finite(payload):
        raise ValueError("the payload is not JSON: it holds a number that is not finite")
    return encoded


def append_request(
    chain_id: str, events: Iterable[NewEvent], idempotency_key: str | None, expected_sequence: int | None
) -> ledger_pb2.AppendEventsRequest:
    """An append; without a key of the caller's it gets one, so that repeating it is safe."""
    return ledger_pb2.AppendEventsRequest(
        chain_id=chain_id,
        events=[
            ledger_pb2.NewEvent(
                kind=event.kind, payload=payload_bytes(event.payload), sealed_members=event.sealed_members
            )
            for event in events
        ],
        idempotency_key=uuid.uuid4().hex if idempotency_key is None else idempotency_key,
        expected_sequence=expected_sequence,
    )


def receipt(message: ledger_pb2.Receipt) -> Receipt:
    """A receipt from the wire."""
    return Receipt(
        chain_id=message.chain_id,
        first_sequence=message.first_sequence,
        last_sequence=message.last_sequence,
        event_hashes=tuple(message.event_hashes),
        signed_note=message.signed_note,
        replayed=message.replayed,
        occurred_at_us=message.occurred_at_us,
    )


def chain(message: ledger_pb2.Chain) -> Chain:
    """A chain from the wire."""
    return Chain(
        chain_id=message.chain_id,
        type="operations" if message.type == ledger_pb2.CHAIN_TYPE_OPERATIONS else "session",
        state=_CHAIN_STATES.get(message.state, "open"),
        organisation_id=message.organisation_id,
        organisation_name=message.organisation_name,
        subject=message.subject,
        event_count=message.event_count,
        head=message.head,
        opened_at=moment(message.opened_at),
        closed_at=moment(message.closed_at) if message.HasField("closed_at") else None,
        ended_at=moment(message.ended_at) if message.HasField("ended_at") else None,
        closes_by=moment(message.closes_by) if message.HasField("closes_by") else None,
        pending=tuple(
            PendingItem(type=item.type, item_id=item.item_id, since_sequence=item.since_sequence)
            for item in message.pending
        ),
    )


def events(messages: Sequence[ledger_pb2.Event]) -> list[Event]:
    """Events from the wire."""
    return [
        Event(
            sequence=message.sequence,
            prev_hash=message.prev_hash,
            kind=message.kind,
            payload=message.payload,
            occurred_at_us=message.occurred_at_us,
            hash=message.hash,
        )
        for message in messages
    ]


def anchor(message: ledger_pb2.Anchor) -> Anchor:
    """An anchor from the wire."""
    state: Literal["obtained", "pending"] = (
        "obtained" if message.state == ledger_pb2.ANCHOR_STATE_OBTAINED else "pending"
    )
    return Anchor(
        sequence=message.sequence,
        digest=message.digest,
        backend=message.backend,
        authority=message.authority,
        state=state,
        attempts=message.attempts,
        last_error=message.last_error,
        requested_at=moment(message.requested_at),
        next_attempt_at=moment(message.next_attempt_at) if message.HasField("next_attempt_at") else None,
        obtained_at=moment(message.obtained_at) if message.HasField("obtained_at") else None,
        anchored_at=moment(message.anchored_at) if message.HasField("anchored_at") else None,
    )


def check_result(message: ledger_pb2.CheckChainResponse) -> CheckResult:
    """The result of a re-check from the wire."""
    return CheckResult(
        ok=message.ok,
        event_count=message.event_count,
        head=message.head,
        first_divergent_sequence=message.first_divergent_sequence or None,
        divergence=message.divergence,
    )


def created_link(message: ledger_pb2.CreateVerifyLinkResponse) -> CreatedLink:
    """A verify link from the wire."""
    return CreatedLink(
        link_id=message.link_id,
        token=message.token,
        url=message.url,
        expires_at=moment(message.expires_at),
        head=message.head,
    )


def moment(message: Timestamp) -> datetime:
    """A moment from the wire, in UTC."""
    return message.ToDatetime(tzinfo=UTC)


def _has_non_finite(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_has_non_finite, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_non_finite, value))
