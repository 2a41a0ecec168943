"""Answers an append whose idempotency key was used before: the first answer again, or a refusal."""

from collections.abc import Sequence
from typing import Any

from ledger.chain import sealed
from ledger.chain.canonical import serialise
from ledger.chain.receipt import ReceiptSigner
from ledger.chain.rules import body_of
from ledger.database.connections import Connection
from ledger.errors import LedgerError, Reason
from ledger.store.group import Earlier, Placed, receipt_of
from ledger.store.intake import PreparedAppend, SealedEvent
from ledger.store.values import Receipt

_EVENTS = """
SELECT sequence, hash, occurred_at, kind, payload
  FROM indelible.events
 WHERE chain_key = %(chain_key)s AND sequence BETWEEN %(first)s AND %(last)s
 ORDER BY sequence
"""

_DISCLOSURES = """
SELECT sequence, disclosure
  FROM indelible.disclosures
 WHERE chain_key = %(chain_key)s AND sequence BETWEEN %(first)s AND %(last)s
"""


async def replay_append(
    connection: Connection, append: PreparedAppend, earlier: Earlier, signer: ReceiptSigner
) -> Receipt:
    """The receipt of the earlier append, if it stored the same events. Raises `LedgerError` IDEMPOTENCY_CONFLICT.

    Events never change, so this needs no lock.
    """
    parameters = {
        "chain_key": append.place.chain_key,
        "first": earlier.first_sequence,
        "last": earlier.first_sequence + earlier.event_count - 1,
    }
    cursor = await connection.cursor(binary=True).execute(_EVENTS, parameters)
    stored = await cursor.fetchall()
    if not await _is_same(connection, append, stored, parameters):
        raise LedgerError(
            Reason.IDEMPOTENCY_CONFLICT,
            "this idempotency key was used for other events",
            {"chain_id": append.place.chain_id, "first_sequence": str(earlier.first_sequence)},
        )
    placed = Placed(
        first_sequence=earlier.first_sequence,
        hashes=tuple(bytes(digest) for _, digest, *_ in stored),
        occurred_at_us=stored[0][2],
    )
    return receipt_of(append.place, placed, signer, replayed=True)


async def _is_same(
    connection: Connection, append: PreparedAppend, stored: Sequence[tuple[Any, ...]], parameters: dict[str, int]
) -> bool:
    if len(stored) != len(append.bodies):
        return False
    by_offset = {event.offset: event for event in append.sealed}
    disclosures: dict[int, list[str]] = {}
    if by_offset:
        cursor = await connection.execute(_DISCLOSURES, parameters)
        for sequence, disclosure in await cursor.fetchall():
            disclosures.setdefault(sequence - parameters["first"], []).append(disclosure)
    for offset, ((_, _, _, kind, payload), body) in enumerate(zip(stored, append.bodies, strict=True)):
        asked = by_offset.get(offset)
        # A sealed event was prepared with fresh salts, which say nothing about the stored one.
        wanted = body if asked is None else _body_as_stored(kind, payload, asked, disclosures.get(offset, []))
        if body_of(kind, payload.encode()) != wanted:
            return False
    return True


def _body_as_stored(kind: str, stored_payload: str, asked: SealedEvent, disclosures: list[str]) -> bytes | None:
    """The body that the event asked for has with the salts of the stored one, as far as these were not erased."""
    salts = {name: salt for salt, name in map(sealed.salt_of, disclosures)}
    if set(salts) == set(asked.names):
        resealed, _ = sealed.seal(asked.payload, asked.names, [salts[name] for name in asked.names])
        return body_of(kind, serialise(resealed))
    # Something was erased: what it said can no longer be compared, the rest can.
    payload = sealed.seal_as(asked.payload, asked.names, stored_payload, salts)
    return None if payload is None else body_of(kind, serialise(payload))
