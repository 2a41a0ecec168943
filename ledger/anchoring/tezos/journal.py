"""What must survive this process: heads, batches, and every signed operation before any node has seen it.

Rules, kept by the database's own constraints, so that any number of processes may work at once:

1. A head is in at most one batch of an authority, for ever. Asking again for a head leads to its batch and its
   receipt, never to a second operation.
2. An authority has at most one batch without a receipt.
3. An attempt is stored before it is injected, and only stored attempts are injected. Of two processes that sign the
   same attempt at once one is refused, and injects what the other one stored.
4. A receipt is stored once and never changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.anchoring.aggregation import HeadTree
from ledger.database.connections import Pool
from ledger.store.reads import database_errors

# Two-part advisory locks are a space of their own; migrations use (0x1DE1, 1).
_FORMING_LOCK = 0x1DE2

_ENQUEUE = "INSERT INTO indelible.tezos_heads (authority, digest) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_PLACE = "SELECT batch_id, leaf_index FROM indelible.tezos_heads WHERE authority = %s AND digest = %s"
_BATCH = "SELECT batch_id, root, tree_size, receipt, anchored_at FROM indelible.tezos_batches"
_WAITING = """
SELECT count(*), coalesce(now() - min(waits_since) >= %(wait)s, false)
  FROM (SELECT waits_since FROM indelible.tezos_heads
         WHERE authority = %(authority)s AND batch_id IS NULL
         ORDER BY waits_since LIMIT %(limit)s) AS waiting
"""
_OLDEST = """
SELECT digest FROM indelible.tezos_heads
 WHERE authority = %(authority)s AND batch_id IS NULL
 ORDER BY waits_since, digest LIMIT %(limit)s
   FOR UPDATE
"""
_FORM = """
INSERT INTO indelible.tezos_batches (authority, root, tree_size) VALUES (%s, %s, %s)
    ON CONFLICT (authority) WHERE receipt IS NULL DO NOTHING RETURNING batch_id
"""
_ENTER = """
UPDATE indelible.tezos_heads AS h
   SET batch_id = %(batch_id)s, leaf_index = t.place - 1
  FROM unnest(%(heads)s::bytea[]) WITH ORDINALITY AS t (digest, place)
 WHERE h.authority = %(authority)s AND h.digest = t.digest
"""
_HEADS = "SELECT digest FROM indelible.tezos_heads WHERE batch_id = %s ORDER BY leaf_index"
_ATTEMPTS = """
SELECT attempt, counter, branch_level, operation FROM indelible.tezos_attempts WHERE batch_id = %s ORDER BY attempt
"""
_ADD_ATTEMPT = """
INSERT INTO indelible.tezos_attempts (batch_id, attempt, counter, branch_level, operation)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_FINISH = """
UPDATE indelible.tezos_batches SET receipt = %s, anchored_at = %s WHERE batch_id = %s AND receipt IS NULL
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a head stands: in a batch, or still waiting for one."""

    batch_id: int | None
    leaf_index: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Heads under one root. `receipt` (JSON, without any head's own path) is None until the root is anchored."""

    batch_id: int
    root: bytes
    tree_size: int
    receipt: str | None = None
    anchored_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One signed operation for a batch's root. `counter` is that of its first content."""

    number: int
    counter: int
    branch_level: int
    operation: bytes


class Journal:
    """The notes of one authority, through the worker's connections. Raises LedgerError when the database is away."""

    def __init__(self, pool: Pool, authority: str) -> None:
        self._pool = pool
        self._authority = authority

    async def enqueue(self, digest: bytes) -> Place:
        """Note a head that is to be anchored, if it is not noted yet, and say where it stands."""
        async with database_errors(), self._pool.connection() as connection:
            cursor = await connection.execute(_PLACE, (self._authority, digest))
            row = await cursor.fetchone()
            if row is None:
                await connection.execute(_ENQUEUE, (self._authority, digest))
                return Place(batch_id=None, leaf_index=None)
            return Place(batch_id=row[0], leaf_index=row[1])

    async def open_batch(self, *, maximum_wait: timedelta, maximum_heads: int) -> Batch | None:
        """The batch that has no receipt yet; if there is none, a new one of the heads that wait, once they are due."""
        async with database_errors(), self._pool.connection() as connection:
            query = f"{_BATCH} WHERE authority = %s AND receipt IS NULL"
            cursor = await connection.execute(query.encode(), (self._authority,))
            row = await cursor.fetchone()
        if row is not None:
            return _batch(row)
        return await self._form_batch(maximum_wait, maximum_heads)

    async def _form_batch(self, maximum_wait: timedelta, maximum_heads: int) -> Batch | None:
        parameters = {"authority": self._authority, "wait": maximum_wait, "limit": maximum_heads}
        async with database_errors(), self._pool.connection() as connection, connection.transaction():
            # One process at a time; the unique index would refuse a second batch, but only after all the work.
            lock = "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))"
            locked = await (await connection.execute(lock, (_FORMING_LOCK, self._authority))).fetchone()
            waiting = await (await connection.execute(_WAITING, parameters)).fetchone()
            if not (locked and locked[0] and waiting) or not waiting[0]:
                return None
            if waiting[0] < maximum_heads and not waiting[1]:
                return None
            cursor = await connection.cursor(binary=True).execute(_OLDEST, parameters)
            heads = [bytes(digest) for (digest,) in await cursor.fetchall()]
            # The root for the transaction, 2 s for 100,000 heads at worst: other tasks wait no longer than that.
            root = heads[0] if len(heads) == 1 else HeadTree(heads).root
            row = await (await connection.execute(_FORM, (self._authority, root, len(heads)))).fetchone()
            if row is None:
                return None
            await connection.execute(_ENTER, {"batch_id": row[0], "heads": heads, "authority": self._authority})
            return Batch(batch_id=row[0], root=root, tree_size=len(heads))

    async def batch(self, batch_id: int) -> Batch:
        """A batch of this authority."""
        async with database_errors(), self._pool.connection() as connection:
            cursor = await connection.execute(f"{_BATCH} WHERE batch_id = %s".encode(), (batch_id,))
            row = await cursor.fetchone()
        if row is None:
            raise LookupError(f"there is no batch {batch_id}")
        return _batch(row)

    async def heads(self, batch_id: int) -> Sequence[bytes]:
        """The batch's heads in their order."""
        async with database_errors(), self._pool.connection() as connection:
            cursor = await connection.cursor(binary=True).execute(_HEADS, (batch_id,))
            return [bytes(digest) for (digest,) in await cursor.fetchall()]

    async def attempts(self, batch_id: int) -> Sequence[Attempt]:
        """Every operation that was signed for the batch, oldest first."""
        async with database_errors(), self._pool.connection() as connection:
            cursor = await connection.cursor(binary=True).execute(_ATTEMPTS, (batch_id,))
            return [
                Attempt(number=number, counter=counter, branch_level=branch_level, operation=bytes(operation))
                for number, counter, branch_level, operation in await cursor.fetchall()
            ]

    async def add_attempt(self, batch_id: int, attempt: Attempt) -> None:
        """Store a signed operation, unless another process stored one of the same number."""
        values = (batch_id, attempt.number, attempt.counter, attempt.branch_level, attempt.operation)
        async with database_errors(), self._pool.connection() as connection:
            await connection.execute(_ADD_ATTEMPT, values)

    async def finish(self, batch_id: int, receipt: str, anchored_at: datetime) -> None:
        """Store the batch's receipt, unless it has one."""
        async with database_errors(), self._pool.connection() as connection:
            await connection.execute(_FINISH, (receipt, anchored_at, batch_id))


def _batch(row: tuple[object, ...]) -> Batch:
    batch_id, root, tree_size, receipt, anchored_at = row
    return Batch(
        batch_id=batch_id,  # type: ignore[arg-type]  # the column's type
        root=bytes(root),  # type: ignore[call-overload]  # the column's type
        tree_size=tree_size,  # type: ignore[arg-type]  # the column's type
        receipt=receipt,  # type: ignore[arg-type]  # the column's type
        anchored_at=anchored_at,  # type: ignore[arg-type]  # the column's type
    )
