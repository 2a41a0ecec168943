"""A full re-check of one chain from what is stored (docs/spec/chain.md, section 7).

It trusts no column that can be computed: every payload is parsed, every hash computed again, every Merkle root too.
What it cannot notice is a chain that was cut at its end before it was anchored; receipts and anchors are for that.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from ledger.chain.canonical import canonicalise, serialise
from ledger.chain.event import (
    CHECKPOINTED,
    CLOSED,
    FORMAT,
    GENESIS_PREV_HASH,
    OPENED,
    SESSION_ENDED,
    Event,
    event_hash,
    is_kind,
)
from ledger.chain.merkle import Frontier
from ledger.chain.processing import (
    END_FORMAT,
    PROCESSING_PREFIXES,
    ItemKey,
    PendingItem,
    ending_problem,
    item_list,
    item_of,
    take_step,
)
from ledger.database.connections import Pool
from ledger.store.snapshots import ChainSnapshot, open_snapshot
from ledger.store.values import Chain, CheckResult
from ledger.timestamps import moment, rfc3339

# The least i64: occurred_at may be before 1970.
_BEFORE_ALL_TIME = -(2**63)
_RESERVED = (OPENED, CHECKPOINTED, CLOSED)


async def check_chain(pool: Pool, organisation_id: str, chain_id: str) -> CheckResult:
    """Re-hash every stored event of a chain, as of one moment, in constant memory.

    Raises `LedgerError` CHAIN_NOT_FOUND, DATABASE_UNAVAILABLE; a damaged chain is a result, not an error.
    """
    async with open_snapshot(pool, organisation_id, chain_id) as snapshot:
        check = _Check(snapshot.chain)
        async for batch in snapshot.events():
            # A batch takes some ten milliseconds of computing, in which the service must go on answering.
            divergence = await asyncio.to_thread(check.read, batch)
            if divergence:
                return check.diverged(divergence)
        return await _check_anchors(snapshot, check)


async def _check_anchors(snapshot: ChainSnapshot, check: "_Check") -> CheckResult:
    for sequence, digest in await snapshot.anchored_digests():
        if check.checkpoints.get(sequence) != digest:
            return CheckResult(
                ok=False,
                event_count=check.count,
                head=check.head,
                first_divergent_sequence=sequence,
                divergence="an anchor is kept for this event, but of a hash that is not that of a checkpoint here",
            )
    return CheckResult(ok=True, event_count=check.count, head=check.head, first_divergent_sequence=None, divergence="")


class _Check:
    """Reads events in order and stops at the first that breaks a rule.

    `checkpoints` is what grows with the chain, some hundred bytes for each, and what is pending for a while.
    """

    def __init__(self, chain: Chain) -> None:
        self.count = 0
        self.head = GENESIS_PREV_HASH
        self.checkpoints: dict[int, bytes] = {}
        self._chain = chain
        self._time = _BEFORE_ALL_TIME
        self._closed = False
        self._frontier = Frontier()
        self._pending: dict[ItemKey, int] = {}
        # When an ended session's chain closes at the latest.
        self._closes_by: str | None = None

    def read(self, events: Sequence[Event]) -> str:
        """What is wrong with the first bad event; empty when all are well."""
        for event in events:
            divergence = next(filter(None, (rule(event) for rule in self._rules())), "")
            if divergence:
                return divergence
            self.count += 1
            self.head = event.hash
            self._time = event.occurred_at_us
            self._closed = event.kind == CLOSED
            if event.kind in (CHECKPOINTED, CLOSED):
                self.checkpoints[event.sequence] = event.hash
            self._frontier = self._frontier.extended((event.hash,))
            if event.kind.startswith(PROCESSING_PREFIXES):
                self._take_step(event)
        return ""

    def diverged(self, divergence: str) -> CheckResult:
        """The result for a chain that is whole up to the event before."""
        return CheckResult(
            ok=False,
            event_count=self.count,
            head=self.head,
            first_divergent_sequence=self.count + 1,
            divergence=divergence,
        )

    def _rules(self) -> tuple[Callable[[Event], str], ...]:
        return (
            self._is_next,
            self._is_canonical,
            self._is_hashed,
            self._is_not_earlier,
            self._is_allowed_here,
            self._says_what_is_true,
            self._is_processing_that_was_pending,
        )

    def _is_next(self, event: Event) -> str:
        if self._closed:
            return "there is an event after the one that closed the chain"
        if event.sequence != self.count + 1:
            return f"the next event is missing: sequence {event.sequence} follows {self.count}"
        if event.prev_hash != self.head:
            return "prev_hash is not the hash of the event before"
        return ""

    def _is_canonical(self, event: Event) -> str:
        payload = event.payload.encode()
        try:
            # Reserved names are refused in what callers send, but they do stand in a payload with sealed members.
            sealed = '"_sd"' in event.payload
            canonical = serialise(json.loads(payload)) if sealed else canonicalise(payload)
        except (ValueError, RecursionError) as error:
            return f"the payload is not acceptable JSON: {error}"
        return "" if canonical == payload else "the payload is not in canonical form"

    def _is_hashed(self, event: Event) -> str:
        computed = event_hash(
            sequence=event.sequence,
            prev_hash=event.prev_hash,
            kind=event.kind.encode(),
            payload=event.payload.encode(),
            occurred_at_us=event.occurred_at_us,
        )
        return "" if computed == event.hash else "the stored hash is not the hash of what is stored"

    def _is_not_earlier(self, event: Event) -> str:
        return "" if event.occurred_at_us >= self._time else "it is dated before the event before it"

    def _is_allowed_here(self, event: Event) -> str:
        if not is_kind(event.kind):
            return "its kind is malformed"
        if (event.kind == OPENED) != (event.sequence == 1):
            return "chain.opened must be the first event and no other"
        if event.kind.startswith("chain.") and event.kind not in _RESERVED:
            return f"the kind {event.kind} is reserved and does not exist"
        if event.kind == CLOSED and self._chain.type == "operations":
            return "an operations chain is never closed"
        return ""

    def _says_what_is_true(self, event: Event) -> str:
        if event.kind == OPENED:
            return self._opens_this_chain(event)
        if event.kind in (CHECKPOINTED, CLOSED):
            return self._commits_to_all(event)
        return ""

    def _take_step(self, event: Event) -> None:
        item = item_of(event.kind, json.loads(event.payload))
        if item is not None and self._chain.type == "session":
            take_step(self._pending, event.kind, item, event.sequence)

    def _is_processing_that_was_pending(self, event: Event) -> str:
        """docs/spec/chain.md, section 8. Sets the deadline when the session ends."""
        if self._closes_by is not None:
            return self._follows_the_end(event, self._closes_by)
        payload = json.loads(event.payload) if event.kind == SESSION_ENDED else {}
        if payload.get("format") != END_FORMAT:  # before there was this format, callers could use the kind for anything
            return ""
        self._closes_by = str(payload.get("closes_by"))
        problem = ending_problem(payload, occurred_at_us=event.occurred_at_us, pending=self._items())
        return problem if self._chain.type == "session" else "only a session can end"

    def _follows_the_end(self, event: Event, closes_by: str) -> str:
        if event.kind == CHECKPOINTED:
            return ""
        payload = json.loads(event.payload)
        if event.kind == CLOSED:
            if payload.get("unfinished") != item_list(self._items()):
                return "the closing does not name what is unfinished"
            early = self._pending and rfc3339(moment(event.occurred_at_us)) < closes_by
            return "the closing leaves something unfinished before the deadline" if early else ""
        if event.kind.startswith(PROCESSING_PREFIXES) and item_of(event.kind, payload) in self._pending:
            return ""
        return "the session has ended, and the event tells of nothing that is pending"

    def _items(self) -> list[PendingItem]:
        return [
            PendingItem(type=item_type, item_id=item_id, since_sequence=sequence)
            for (item_type, item_id), sequence in self._pending.items()
        ]

    def _opens_this_chain(self, event: Event) -> str:
        payload: dict[str, Any] = json.loads(event.payload)
        organisation = payload.get("organisation")
        stated = (
            payload.get("format"),
            payload.get("chain_id"),
            payload.get("chain_type"),
            organisation.get("id") if isinstance(organisation, dict) else None,
            payload.get("subject"),
        )
        chain = self._chain
        expected = (FORMAT, chain.chain_id, chain.type, chain.organisation_id, json.loads(chain.subject))
        return "" if stated == expected else "the opening event names another chain, organisation, format or subject"

    def _commits_to_all(self, event: Event) -> str:
        payload: dict[str, Any] = json.loads(event.payload)
        size = payload.get("tree_size")
        if size != self.count or isinstance(size, bool):
            return f"the checkpoint covers {size} events, but {self.count} stand before it"
        if payload.get("merkle_root") != self._frontier.root().hex():
            return "the checkpoint's Merkle root is not that of the events before it"
        return ""
