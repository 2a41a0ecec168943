"""Following a chain: events in batches as they are committed, by this process or another."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from ledger.chain.event import CLOSED, Event
from ledger.database.connections import Pool
from ledger.store.reads import find_chain, organisation_transaction, read_batch

# How soon a follower sees what another process committed. What this process commits wakes it at once.
POLL_SECONDS = 0.5


class CommitBell:
    """Wakes the followers of a chain after a commit of this process. Waking twice or for nothing is harmless."""

    def __init__(self) -> None:
        self._listeners: defaultdict[int, set[asyncio.Event]] = defaultdict(set)

    def ring(self, chain_key: int) -> None:
        """Wake whoever follows `chain_key`; call it after the commit."""
        for listener in self._listeners.get(chain_key, ()):
            listener.set()

    @contextmanager
    def listening(self, chain_key: int) -> Iterator[asyncio.Event]:
        """An event that is set by every ring from now on."""
        listener = asyncio.Event()
        self._listeners[chain_key].add(listener)
        try:
            yield listener
        finally:
            self._listeners[chain_key].discard(listener)
            if not self._listeners[chain_key]:
                del self._listeners[chain_key]


async def stream_events(  # noqa: PLR0913 - what is read, from where, and how it waits
    pool: Pool,
    bell: CommitBell,
    organisation_id: str,
    chain_id: str,
    *,
    from_sequence: int,
    follow: bool,
    poll_seconds: float = POLL_SECONDS,
) -> AsyncGenerator[list[Event], None]:
    """Batches of events from `from_sequence` on; with `follow` it goes on until the chain is closed.

    Each batch is a transaction of its own, so a slow reader holds no connection and no snapshot. Memory is that of
    one batch. Raises `LedgerError` CHAIN_NOT_FOUND, DATABASE_UNAVAILABLE.
    """
    async with organisation_transaction(pool, organisation_id) as connection:
        chain = await find_chain(connection, organisation_id, chain_id)
    position = from_sequence
    # What was committed up to here is streamed when not following; later events are someone else's call.
    last = chain.event_count
    closed = chain.state == "closed"
    with bell.listening(chain.chain_key) as committed:
        while True:
            # Cleared before reading: a commit between the read and the wait then ends the wait at once.
            committed.clear()
            async with organisation_transaction(pool, organisation_id) as connection:
                batch = await read_batch(connection, chain.chain_key, position)
            if not follow:
                batch = [event for event in batch if event.sequence <= last]
            if batch:
                position = batch[-1].sequence + 1
                closed = closed or batch[-1].kind == CLOSED
                yield batch
            elif closed or not follow:
                return
            else:
                await _wait(committed, poll_seconds)


async def _wait(committed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await committed.wait()
    except TimeoutError:
        return
