"""What stands in for the relay where there is no NATS: it keeps the outbox from growing without end.

Every committed append leaves an entry for publication, by a trigger that nobody can go round. Here the newest of them
are kept, so that an installation which gets NATS later publishes what it still has, and the others are dropped. No
evidence is in them: the events are on their chains.
"""

import asyncio
from typing import Protocol

from ledger.messaging.connection import keep_working, wait_for_stop
from ledger.messaging.relay_turn import relays_turn

# About 100 bytes each.
KEPT_ENTRIES = 100_000
TRIM_SECONDS = 60.0


class TrimmedStore(Protocol):
    """What is needed of the ledger's store."""

    async def trim_outbox(self, keep: int) -> None:
        """Forget all but about the newest `keep` entries."""


async def run_trimming(store: TrimmedStore, worker_dsn: str, stop: asyncio.Event, *, keep: int = KEPT_ENTRIES) -> None:
    """Trim the outbox every TRIM_SECONDS until `stop` is set; never while a relay is at work."""

    async def work() -> None:
        async with relays_turn(worker_dsn, stop) as connection:
            if connection is not None:
                await store.trim_outbox(keep)
        # With the lock given back meanwhile: a relay may begin at any time.
        await wait_for_stop(stop, TRIM_SECONDS)

    await keep_working("outbox", work, stop)
