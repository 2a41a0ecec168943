"""The Merkle trees of chains, remembered so that a checkpoint reads only what came after the last one."""

from collections import OrderedDict

from ledger.chain.merkle import Frontier
from ledger.database.connections import Connection, Pool
from ledger.store.reads import database_errors

# Frontiers kept in memory, at most 1.5 KiB each.
_MAX_FRONTIERS = 10_000
# Hashes read at a time: 320 KB.
_HASH_BATCH = 10_000

_HASHES = """
SELECT event.hash
  FROM indelible.events AS event
 WHERE event.chain_key = %s AND event.sequence > %s
 ORDER BY event.sequence
 LIMIT %s
"""


class Frontiers:
    """Trees over committed events, by chain."""

    def __init__(self, pool: Pool) -> None:
        """`pool` holds connections of a role that reads every organisation's events."""
        self._pool = pool
        self._frontiers: OrderedDict[int, Frontier] = OrderedDict()

    async def catch_up(self, chain_key: int) -> None:
        """Bring the remembered tree near the head before the chain is locked: others need not wait for that."""
        async with database_errors(), self._pool.connection() as connection:
            await self.of(connection, chain_key)

    async def of(self, connection: Connection, chain_key: int) -> Frontier:
        """The tree over every event so far. A transaction asks for it before it writes events of its own."""
        # Events never change, so a tree over committed ones stays right whatever becomes of this transaction.
        frontier = self._frontiers.pop(chain_key, Frontier())
        while True:
            cursor = await connection.cursor(binary=True).execute(_HASHES, (chain_key, frontier.size, _HASH_BATCH))
            hashes = [bytes(row[0]) for row in await cursor.fetchall()]
            frontier = frontier.extended(hashes)
            if len(hashes) < _HASH_BATCH:
                break
        self._frontiers[chain_key] = frontier
        if len(self._frontiers) > _MAX_FRONTIERS:
            self._frontiers.popitem(last=False)
        return frontier
