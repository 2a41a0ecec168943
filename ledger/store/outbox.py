"""The outbox: one row per append and chain, written with the events, deleted once they are published.

Read and deleted as the worker role. A row that is still here was perhaps published, perhaps not: the relay publishes it
again, and the event hash as message id lets receivers drop the second copy.
"""

from collections.abc import Sequence

from ledger.chain.event import Event
from ledger.database.connections import Pool
from ledger.store.reads import database_errors, event_of
from ledger.store.values import OutboxEntry

# Ids are given out before commit, so a lower id may become visible after a higher one; but within a chain the lock
# makes the order of ids the order of sequences.
_OLDEST = """
SELECT o.outbox_id, o.organisation_id, o.chain_key, c.chain_id, o.first_sequence, o.last_sequence
  FROM indelible.outbox AS o
  JOIN indelible.chains AS c USING (chain_key)
 ORDER BY o.outbox_id
 LIMIT %(limit)s
"""

_EVENTS = """
SELECT e.sequence, e.prev_hash, e.kind, e.payload, e.occurred_at, e.hash
  FROM indelible.events AS e
 WHERE e.chain_key = %(chain_key)s AND e.sequence BETWEEN %(first)s AND %(last)s
 ORDER BY e.sequence
"""


async def read_outbox(pool: Pool, limit: int) -> list[OutboxEntry]:
    """At most `limit` rows, oldest first; in order within each chain."""
    async with database_errors(), pool.connection() as connection:
        cursor = await connection.execute(_OLDEST, {"limit": limit})
        return [
            OutboxEntry(
                outbox_id=outbox_id,
                organisation_id=organisation_id,
                chain_key=chain_key,
                chain_id=chain_id,
                first_sequence=first,
                last_sequence=last,
            )
            for outbox_id, organisation_id, chain_key, chain_id, first, last in await cursor.fetchall()
        ]


async def delete_outbox(pool: Pool, ids: Sequence[int]) -> None:
    """Forget rows whose every event was published. Deleting a row twice is harmless."""
    async with database_errors(), pool.connection() as connection:
        await connection.execute("DELETE FROM indelible.outbox WHERE outbox_id = ANY (%s)", (list(ids),))


async def trim_outbox(pool: Pool, keep: int) -> None:
    """Forget all but about the newest `keep` rows; a number that no row got counts as one."""
    async with database_errors(), pool.connection() as connection:
        await connection.execute(
            "DELETE FROM indelible.outbox WHERE outbox_id <= (SELECT max(outbox_id) FROM indelible.outbox) - %s",
            (keep,),
        )


async def read_events_for_relay(pool: Pool, chain_key: int, first: int, last: int) -> list[Event]:
    """The events of one outbox row, `first` to `last`, both included."""
    parameters = {"chain_key": chain_key, "first": first, "last": last}
    async with database_errors(), pool.connection() as connection:
        cursor = await connection.cursor(binary=True).execute(_EVENTS, parameters)
        return [event_of(row) for row in await cursor.fetchall()]
