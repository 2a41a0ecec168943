"""Reads what is pending on session chains, from what the insert guard keeps (docs/spec/chain.md, section 8)."""

from dataclasses import replace

from ledger.chain.processing import MAX_PENDING, PendingItem
from ledger.database.connections import Connection, Pool
from ledger.store.reads import database_errors, find_chain, organisation_transaction
from ledger.store.values import Chain, SessionEnd

# For one look, so that a multitude of due sessions does not hold up what else the caller looks after.
MAX_DUE = 100

_PENDING = """
SELECT item.type, item.item_id, item.sequence
  FROM (SELECT DISTINCT ON (step.type, step.item_id) step.type, step.item_id, step.sequence, step.begins
          FROM indelible.item_steps AS step
         WHERE step.chain_key = %s
         ORDER BY step.type, step.item_id, step.sequence DESC) AS item
 WHERE item.begins
 ORDER BY item.type, item.item_id
 LIMIT %s
"""
_END = "SELECT sequence, closes_by FROM indelible.session_ends WHERE chain_key = %s"
# Sessions that ended are few at any time: those of a day or so that still wait.
_DUE = """
SELECT chain.organisation_id, chain.chain_id
  FROM indelible.session_ends AS ended
  JOIN indelible.chains AS chain USING (chain_key)
 WHERE NOT ended.closed
   AND (ended.closes_by <= %(now)s
        OR NOT EXISTS (SELECT FROM (SELECT DISTINCT ON (step.type, step.item_id) step.begins
                                      FROM indelible.item_steps AS step
                                     WHERE step.chain_key = ended.chain_key
                                     ORDER BY step.type, step.item_id, step.sequence DESC) AS item
                        WHERE item.begins))
 ORDER BY ended.closes_by
 LIMIT %(limit)s
"""
_IS_DONE = f"""
SELECT NOT ended.closed AND NOT EXISTS ({_PENDING})
  FROM indelible.session_ends AS ended
 WHERE ended.chain_key = %s
"""  # noqa: S608 - two constants


async def get_chain(pool: Pool, organisation_id: str, chain_id: str) -> Chain:
    """The chain as it stands, with what is pending on it, the first `MAX_PENDING`. Raises CHAIN_NOT_FOUND."""
    async with organisation_transaction(pool, organisation_id, snapshot=True) as connection:
        chain = await find_chain(connection, organisation_id, chain_id)
        if chain.type == "operations" or chain.state == "closed":
            return chain
        return replace(chain, pending=(await pending_items(connection, chain.chain_key))[:MAX_PENDING])


async def pending_items(connection: Connection, chain_key: int) -> tuple[PendingItem, ...]:
    """What is pending on a chain, by type and id; one more than `MAX_PENDING` if there are more than that."""
    rows = await (await connection.execute(_PENDING, (chain_key, MAX_PENDING + 1))).fetchall()
    return tuple(PendingItem(type=row[0], item_id=row[1], since_sequence=row[2]) for row in rows)


async def session_end(connection: Connection, chain_key: int) -> SessionEnd | None:
    """Where the session of a chain ended, and until when it waits; None while it goes on."""
    row = await (await connection.execute(_END, (chain_key,))).fetchone()
    return None if row is None else SessionEnd(sequence=row[0], closes_by_us=row[1])


async def due_closings(pool: Pool, now_us: int) -> list[tuple[str, str]]:
    """Organisation and chain of ended sessions with nothing pending, or past their deadlines; `MAX_DUE` at most."""
    async with database_errors(), pool.connection() as connection:
        cursor = await connection.execute(_DUE, {"now": now_us, "limit": MAX_DUE})
        return [(organisation_id, chain_id) for organisation_id, chain_id in await cursor.fetchall()]


async def is_done(pool: Pool, chain_key: int) -> bool:
    """Whether the chain's session has ended, nothing of it is pending, and the chain is to be closed."""
    async with database_errors(), pool.connection() as connection:
        row = await (await connection.execute(_IS_DONE, (chain_key, 1, chain_key))).fetchone()
    return row is not None and row[0]
