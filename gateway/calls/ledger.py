"""The ledger's methods, as the gateway uses them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from indelible.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from gateway.calls.append_batches import AppendBatches
from gateway.calls.line import Identity, Wire, twice
from gateway.values import (
    Accepted,
    Anchor,
    ChainCheck,
    ChainState,
    Erasure,
    Event,
    NewEvent,
    Page,
    PendingItem,
    Receipt,
    RevokedLink,
    Session,
    VerifyLink,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATES: "dict[ledger_pb2.ChainState.ValueType, ChainState]" = {
    ledger_pb2.CHAIN_STATE_OPEN: "open",
    ledger_pb2.CHAIN_STATE_ENDED: "ended",
    ledger_pb2.CHAIN_STATE_CLOSED: "closed",
}
_STATE_NUMBERS = {word: number for number, word in _STATES.items()}


class LedgerCalls:
    """Each method raises ClientError. What cannot be done twice without harm is not repeated by itself."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._stub = ledger_pb2_grpc.LedgerServiceStub(wire.channel)
        self._batches = AppendBatches(wire)

    def open_session(self, identity: Identity, session_id: str, subject: bytes) -> tuple[Session, Accepted]:
        """Open a session chain; again with the same subject: the first answer."""
        request = ledger_pb2.OpenChainRequest(chain_id=session_id, subject=subject)
        answer = self._wire.call(self._stub.OpenChain, request, identity)
        return _session(answer.chain), _accepted(answer.receipt)

    def get_session(self, identity: Identity, session_id: str) -> Session:
        """One chain as it stands."""
        request = ledger_pb2.GetChainRequest(chain_id=session_id)
        return _session(self._wire.call(self._stub.GetChain, request, identity).chain)

    def list_sessions(
        self, identity: Identity, *, state: ChainState | None, limit: int, cursor: str | None
    ) -> Page[Session]:
        """A page of the organisation's session chains, by session_id."""
        request = ledger_pb2.ListChainsRequest(
            page_size=limit,
            page_token=cursor or "",
            state=_STATE_NUMBERS[state] if state else ledger_pb2.CHAIN_STATE_UNSPECIFIED,
        )
        answer = self._wire.call(self._stub.ListChains, request, identity)
        sessions = tuple(_session(chain) for chain in answer.chains if chain.type != ledger_pb2.CHAIN_TYPE_OPERATIONS)
        return Page(items=sessions, next_cursor=answer.next_page_token or None)

    def end_session(
        self, identity: Identity, session_id: str, ending: bytes, wait_seconds: int
    ) -> tuple[Session, Accepted]:
        """End a session whose recordings or clips may be pending; 0 waits for the ledger's default."""
        request = ledger_pb2.EndSessionRequest(chain_id=session_id, ending=ending, wait_seconds=wait_seconds)
        answer = self._wire.call(self._stub.EndSession, request, identity)
        return _session(answer.chain), _accepted(answer.receipt)

    def close_session(self, identity: Identity, session_id: str, closing: bytes) -> tuple[Session, Accepted]:
        """Seal a session for ever."""
        request = ledger_pb2.CloseChainRequest(chain_id=session_id, closing=closing)
        answer = self._wire.call(self._stub.CloseChain, request, identity)
        return _session(answer.chain), _accepted(answer.receipt)

    def append_events(
        self,
        identity: Identity,
        session_id: str,
        events: Sequence[NewEvent],
        *,
        idempotency_key: str,
        expected_sequence: int | None,
    ) -> Accepted:
        """Append 1 to 1,000 events, all or none."""
        request = ledger_pb2.AppendEventsRequest(
            chain_id=session_id,
            events=[
                ledger_pb2.NewEvent(kind=event.kind, payload=event.payload, sealed_members=event.sealed_members)
                for event in events
            ],
            idempotency_key=idempotency_key,
            expected_sequence=expected_sequence,
        )
        return _accepted(twice(lambda: self._batches.append(request, identity)))

    def list_events(  # noqa: PLR0913 - which chain, and which page of it
        self,
        identity: Identity,
        session_id: str,
        *,
        kinds: Sequence[str] = (),
        from_sequence: int = 0,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Event]:
        """A page of a chain's events, by sequence."""
        request = ledger_pb2.ListEventsRequest(
            chain_id=session_id,
            page_size=limit,
            page_token=cursor or "",
            kinds=kinds,
            from_sequence=from_sequence,
        )
        answer = self._wire.call(self._stub.ListEvents, request, identity)
        return Page(items=tuple(map(_event, answer.events)), next_cursor=answer.next_page_token or None)

    def list_anchors(self, identity: Identity, session_id: str, *, limit: int, cursor: str | None) -> Page[Anchor]:
        """A page of a chain's anchors."""
        request = ledger_pb2.ListAnchorsRequest(chain_id=session_id, page_size=limit, page_token=cursor or "")
        answer = self._wire.call(self._stub.ListAnchors, request, identity)
        return Page(items=tuple(map(_anchor, answer.anchors)), next_cursor=answer.next_page_token or None)

    def check_session(self, identity: Identity, session_id: str) -> ChainCheck:
        """Have every hash of a chain computed again from what is stored."""
        request = ledger_pb2.CheckChainRequest(chain_id=session_id)
        answer = self._wire.call(self._stub.CheckChain, request, identity, long=True)
        return ChainCheck(
            ok=answer.ok,
            event_count=answer.event_count,
            head=answer.head.hex(),
            first_divergent_sequence=answer.first_divergent_sequence or None,
            divergence=answer.divergence,
        )

    def erase_disclosures(
        self, identity: Identity, session_id: str, sequence: int, *, members: Sequence[str], reason: str
    ) -> Erasure:
        """Erase for ever what sealed members of one event say: the named ones, or all."""
        request = ledger_pb2.EraseDisclosuresRequest(
            chain_id=session_id, sequence=sequence, members=members, reason=reason
        )
        answer = self._wire.call(self._stub.EraseDisclosures, request, identity)
        receipt = _accepted(answer.receipt).receipt if answer.HasField("receipt") else None
        return Erasure(erased_count=answer.erased_count, receipt=receipt)

    def export_bundle(self, identity: Identity, session_id: str, *, include_disclosures: bool) -> Iterator[bytes]:
        """The bundle of a chain, in pieces."""
        request = ledger_pb2.ExportBundleRequest(chain_id=session_id, include_disclosures=include_disclosures)
        return self._wire.stream(self._stub.ExportBundle, request, identity)

    def create_verify_link(self, identity: Identity, session_id: str, valid_days: int) -> VerifyLink:
        """A link that shows the chain to whoever holds it; 0 for the ledger's default."""
        request = ledger_pb2.CreateVerifyLinkRequest(chain_id=session_id, valid_days=valid_days)
        # The second of two links that nobody asked for would stay open.
        answer = self._wire.call(self._stub.CreateVerifyLink, request, identity, retry=False)
        return VerifyLink(
            link_id=answer.link_id,
            session_id=session_id,
            token=answer.token,
            url=answer.url,
            expires_at=_moment(answer.expires_at),
            head=answer.head.hex(),
        )

    def revoke_verify_link(self, identity: Identity, link_id: str) -> RevokedLink:
        """End a link before its time."""
        request = ledger_pb2.RevokeVerifyLinkRequest(link_id=link_id)
        answer = self._wire.call(self._stub.RevokeVerifyLink, request, identity)
        return RevokedLink(link_id=link_id, revoked_at=_moment(answer.revoked_at))


def _session(message: ledger_pb2.Chain) -> Session:
    return Session(
        session_id=message.chain_id,
        type="operations" if message.type == ledger_pb2.CHAIN_TYPE_OPERATIONS else "session",
        state=_STATES[message.state],
        subject=message.subject or b"{}",
        event_count=message.event_count,
        head=message.head.hex(),
        opened_at=_moment(message.opened_at),
        ended_at=_optional(message, "ended_at"),
        closes_by=_optional(message, "closes_by"),
        closed_at=_optional(message, "closed_at"),
        pending=tuple(
            PendingItem(type=item.type, item_id=item.item_id, since_sequence=item.since_sequence)
            for item in message.pending
        ),
    )


def _accepted(message: ledger_pb2.Receipt) -> Accepted:
    receipt = Receipt(
        session_id=message.chain_id,
        first_sequence=message.first_sequence,
        last_sequence=message.last_sequence,
        event_hashes=tuple(one.hex() for one in message.event_hashes),
        signed_note=message.signed_note,
        occurred_at=_EPOCH + timedelta(microseconds=message.occurred_at_us),
    )
    return Accepted(receipt=receipt, replayed=message.replayed)


def _event(message: ledger_pb2.Event) -> Event:
    return Event(
        sequence=message.sequence,
        prev_hash=message.prev_hash.hex(),
        kind=message.kind,
        payload=message.payload,
        occurred_at=_EPOCH + timedelta(microseconds=message.occurred_at_us),
        hash=message.hash.hex(),
    )


def _anchor(message: ledger_pb2.Anchor) -> Anchor:
    return Anchor(
        sequence=message.sequence,
        digest=message.digest.hex(),
        backend=message.backend,
        authority=message.authority,
        state="obtained" if message.state == ledger_pb2.ANCHOR_STATE_OBTAINED else "pending",
        attempts=message.attempts,
        last_error=message.last_error,
        requested_at=_moment(message.requested_at),
        next_attempt_at=_optional(message, "next_attempt_at"),
        obtained_at=_optional(message, "obtained_at"),
        anchored_at=_optional(message, "anchored_at"),
    )


def _moment(message: Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)


def _optional(message: Message, field: str) -> datetime | None:
    return _moment(getattr(message, field)) if message.HasField(field) else None
