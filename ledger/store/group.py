"""One group of appends inside its transaction: what each of them gets, and the rows that go to PostgreSQL."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import structlog
from psycopg.pq.abc import PGresult

from ledger.chain.event import CLOSED
from ledger.chain.processing import ItemKey, take_step
from ledger.chain.receipt import ReceiptSigner
from ledger.chain.rules import ChainHead, ClockWentBackError, link_hashes, stamp
from ledger.errors import LedgerError, Reason
from ledger.store import rows
from ledger.store.intake import ChainPlace, PreparedAppend
from ledger.store.values import Receipt

# Events hashed before what is ready is sent: PostgreSQL starts on them while the next are hashed.
_SLICE_EVENTS = 250
# Results of `rows.transaction`'s statements, in order: BEGIN, SET, lock, heads, earlier appends.
_HEADS = 3
_EARLIER = 4
# Of the heads: what is pending, if the session has ended.
_PENDING_COLUMN = 5

_log = structlog.get_logger("indelible.store")


@dataclass(frozen=True, kw_only=True, slots=True)
class Earlier:
    """The idempotency key has been used: these events are what it stored."""

    first_sequence: int
    event_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """Events that got their places; they count once the transaction has committed."""

    first_sequence: int
    hashes: tuple[bytes, ...]
    occurred_at_us: int


class GroupWork:
    """Decides about the appends of a group once PostgreSQL has locked their chains and told their heads.

    After the commit `outcomes` holds one outcome for each append, in order.
    """

    def __init__(
        self,
        appends: Sequence[PreparedAppend],
        *,
        clock: Callable[[], int],
        signer: ReceiptSigner,
        locked: Callable[[], None],
    ) -> None:
        """`clock` gives microseconds since 1970; `locked` is called as soon as the group holds its locks."""
        self.outcomes: list[Receipt | Earlier | LedgerError] = []
        self._appends = appends
        self._clock = clock
        self._signer = signer
        self._locked = locked
        self._places: list[Placed | Earlier | LedgerError] = []
        # What is pending on the chains of sessions that have ended.
        self._pending: dict[int, dict[ItemKey, int]] = {}

    def message(self, organisation_id: str) -> bytes:
        """The whole transaction as one message (`rows.transaction`)."""
        return rows.transaction(
            organisation_id,
            sorted({append.place.chain_key for append in self._appends}),
            [(append.place.chain_key, append.idempotency_key) for append in self._appends],
            disclosures=self.has_disclosures,
        )

    @property
    def has_disclosures(self) -> bool:
        """Whether there are sealed members, so that the message has a second COPY."""
        return any(append.sealed for append in self._appends)

    def event_rows(self, results: list[PGresult]) -> Iterator[bytes]:
        """The rows of every append that is accepted, in slices. The locks are held while this runs."""
        self._locked()
        heads = read_heads(results[_HEADS])
        self._pending = _read_pending(results[_HEADS])
        earlier = _read_earlier(results[_EARLIER])
        now_us = self._clock()
        pieces = [rows.HEADER]
        ready = 0
        for position, append in enumerate(self._appends, 1):
            place = self._place(append, heads, earlier.get(position), now_us)
            if not isinstance(place, ChainHead):
                self._places.append(place)
                continue
            hashes: list[bytes] = []
            middle = chain((append.middle.first,), repeat(append.middle.others))
            head = heads[append.place.chain_key]
            time = place.occurred_at_us
            for start in range(0, len(append.bodies), _SLICE_EVENTS):
                bodies = append.bodies[start : start + _SLICE_EVENTS]
                linked = link_hashes(head, bodies, time)
                pieces += rows.event_rows(head, linked, time, middle, bodies)
                head = ChainHead(sequence=head.sequence + len(bodies), hash=linked[-1], occurred_at_us=time)
                hashes += linked
                ready += len(bodies)
                if ready >= _SLICE_EVENTS:
                    yield b"".join(pieces)
                    pieces.clear()
                    ready = 0
            heads[append.place.chain_key] = head
            self._places.append(Placed(first_sequence=place.sequence, hashes=tuple(hashes), occurred_at_us=time))
        pieces.append(rows.TRAILER)
        yield b"".join(pieces)

    def disclosure_rows(self, _results: list[PGresult]) -> Iterator[bytes]:
        """What the sealed members of accepted events say."""
        yield rows.HEADER
        for append, place in zip(self._appends, self._places, strict=True):
            if isinstance(place, Placed):
                for event in append.sealed:
                    for disclosure in event.disclosures:
                        yield rows.disclosure_row(
                            append.place.chain_key,
                            append.place.organisation_id,
                            place.first_sequence + event.offset,
                            disclosure,
                        )
        yield rows.TRAILER

    def sign(self) -> None:
        """Make the receipts, while PostgreSQL commits. Nobody gets one before it has."""
        self.outcomes = [
            receipt_of(append.place, place, self._signer) if isinstance(place, Placed) else place
            for append, place in zip(self._appends, self._places, strict=True)
        ]

    def _place(
        self, append: PreparedAppend, heads: dict[int, ChainHead], earlier: Earlier | None, now_us: int
    ) -> ChainHead | Earlier | LedgerError:
        """Where the append's first event goes (sequence and time), or why it gets no place."""
        if earlier is not None:
            return earlier
        chain_id = append.place.chain_id
        head = heads[append.place.chain_key]
        if head.kind == CLOSED:
            return closed_error(chain_id)
        pending = self._pending.get(append.place.chain_key)
        if pending is not None and not _tells_of(append, dict(pending)):
            return LedgerError(
                Reason.SESSION_ENDED,
                f"the session of chain {chain_id!r} has ended: its chain only takes events about recordings and clips"
                " that are pending",
                {"chain_id": chain_id},
            )
        if append.expected_sequence not in {None, head.sequence + 1}:
            return LedgerError(
                Reason.SEQUENCE_MISMATCH,
                f"the next event of {chain_id!r} has sequence {head.sequence + 1}, not {append.expected_sequence}",
                {"chain_id": chain_id, "actual_sequence": str(head.sequence + 1)},
            )
        try:
            place = ChainHead(sequence=head.sequence + 1, occurred_at_us=stamp(head, now_us))
        except ClockWentBackError as error:
            return clock_error(append.place, error)
        if pending is not None:
            _tells_of(append, pending)  # the next append of this group finds what this one leaves
        return place


def _tells_of(append: PreparedAppend, pending: dict[ItemKey, int]) -> bool:
    """Whether each event is about something that is pending then; `pending` becomes what is pending afterwards."""
    if append.steps is None:
        return False
    for kind, item in append.steps:
        if item not in pending:
            return False
        take_step(pending, kind, item, 0)
    return True


def _read_pending(result: PGresult) -> dict[int, dict[ItemKey, int]]:
    pending = {}
    for row in range(result.ntuples):
        value = result.get_value(row, _PENDING_COLUMN)
        if value is not None:
            items = (item.split(":") for item in value.decode().split())
            pending[int(result.get_value(row, 0) or b"")] = {(name, item_id): 0 for name, item_id in items}  # noqa: C420 - lists are no keys
    return pending


def read_heads(result: PGresult) -> dict[int, ChainHead]:
    """The heads that `chain_heads` tells, by chain_key."""
    heads = {}
    for row in range(result.ntuples):
        key, sequence, digest, occurred_at, kind = (result.get_value(row, column) or b"" for column in range(5))
        heads[int(key)] = ChainHead(
            sequence=int(sequence),
            hash=bytes.fromhex(digest[2:].decode()),
            occurred_at_us=int(occurred_at),
            kind=kind.decode(),
        )
    return heads


def receipt_of(place: ChainPlace, placed: Placed, signer: ReceiptSigner, *, replayed: bool = False) -> Receipt:
    """The signed receipt for events at their places. Hand it out after their commit only."""
    last_sequence = placed.first_sequence + len(placed.hashes) - 1
    return Receipt(
        chain_id=place.chain_id,
        first_sequence=placed.first_sequence,
        last_sequence=last_sequence,
        event_hashes=placed.hashes,
        signed_note=signer.sign(
            organisation_id=place.organisation_id,
            chain_id=place.chain_id,
            sequence=last_sequence,
            digest=placed.hashes[-1],
        ),
        replayed=replayed,
        occurred_at_us=placed.occurred_at_us,
    )


def closed_error(chain_id: str) -> LedgerError:
    """Nothing follows `chain.closed`."""
    return LedgerError(Reason.CHAIN_CLOSED, f"chain {chain_id!r} is closed for ever", {"chain_id": chain_id})


def clock_error(place: ChainPlace, error: ClockWentBackError) -> LedgerError:
    """Refuse to write with a clock that was set back; the log line is the operator's alert."""
    _log.error("clock went back", chain=place.chain_id, organisation=place.organisation_id, behind_us=error.behind_us)
    return LedgerError(
        Reason.CLOCK_WENT_BACK,
        "the ledger's clock stands before the chain's newest event; an operator has to set it right",
        {"chain_id": place.chain_id, "behind_us": str(error.behind_us)},
    )


def _read_earlier(result: PGresult) -> dict[int, Earlier]:
    earlier = {}
    for row in range(result.ntuples):
        position, sequence, count = (int(result.get_value(row, column) or b"1") for column in range(3))
        earlier[position] = Earlier(first_sequence=sequence, event_count=count)
    return earlier
