"""Rows for PostgreSQL's binary COPY, and what the service asks it in one message.

The format: https://www.postgresql.org/docs/18/sql-copy.html, "Binary Format".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from struct import Struct

from ledger.chain.rules import ChainHead

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

_COLUMNS = (
    # What the lock decides ...
    *("sequence", "prev_hash", "hash", "occurred_at"),
    # ... what is known when the request arrives ...
    *("chain_key", "organisation_id", "append_count", "idempotency_key"),
    # ... and last what the preimage holds too, byte for byte: COPY and preimage both write a u32 length before a text.
    *("kind", "payload"),
)
COPY_EVENTS = f"COPY indelible.events ({', '.join(_COLUMNS)}) FROM STDIN (FORMAT binary)"
COPY_DISCLOSURES = (
    "COPY indelible.disclosures (chain_key, organisation_id, sequence, disclosure) FROM STDIN (FORMAT binary)"
)

_PLACE = Struct(">hIqI32sI32sIq")
_LENGTH = Struct(">I")
_BIGINT = Struct(">Iq")
_INTEGER = Struct(">Ii")
_DISCLOSURE = Struct(">hIq")
_NULL = b"\xff\xff\xff\xff"

# Every connection of the append role prepares these once, so that a transaction is a single short message.
# The lock is a statement of its own: under READ COMMITTED the statements after it see what the last holder committed.
PREPARE = (
    # These statements and those of the ledger's own transactions find rows by index, always. Left to itself PostgreSQL
    # would plan them once, while the tables are small, and keep reading whole tables as they grow.
    "SET plan_cache_mode = force_generic_plan",
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    "SET enable_sort = off",
    """PREPARE lock_chains (bigint[]) AS
    SELECT pg_advisory_xact_lock(chain_key) FROM unnest($1) AS chain_key""",
    """PREPARE chain_heads (bigint[]) AS
    SELECT head.chain_key, head.sequence, head.hash, head.occurred_at, head.kind,
           CASE WHEN ended.chain_key IS NOT NULL THEN (
               SELECT coalesce(string_agg(item.type || ':' || item.item_id, ' '), '')
                 FROM (SELECT DISTINCT ON (step.type, step.item_id) step.type, step.item_id, step.begins
                         FROM indelible.item_steps AS step
                        WHERE step.chain_key = wanted.chain_key
                        ORDER BY step.type, step.item_id, step.sequence DESC) AS item
                WHERE item.begins) END AS pending
      FROM unnest($1) AS wanted (chain_key)
     CROSS JOIN LATERAL (SELECT * FROM indelible.events AS event
                          WHERE event.chain_key = wanted.chain_key
                          ORDER BY event.sequence DESC LIMIT 1) AS head
      LEFT JOIN indelible.session_ends AS ended ON ended.chain_key = wanted.chain_key""",
    r"""PREPARE earlier_appends (bigint[], text) AS
    SELECT wanted.position, event.sequence, event.append_count
      FROM unnest($1, string_to_array($2, E'\n')) WITH ORDINALITY AS wanted (chain_key, idempotency_key, position)
      JOIN indelible.events AS event USING (chain_key, idempotency_key)""",
)


def transaction(
    organisation_id: str, chain_keys: Sequence[int], appends: Sequence[tuple[int, str]], *, disclosures: bool
) -> bytes:
    """One message that locks chains, reads their heads and earlier appends, takes rows by COPY, and commits.

    `chain_keys` are sorted: whoever locks several chains does so in the same order, so nobody waits in a circle.
    `appends` are (chain_key, idempotency_key). PostgreSQL runs the statements in turn and stops at the first error.
    """
    keys = ",".join(map(str, chain_keys))
    positions = ",".join(str(chain_key) for chain_key, _ in appends)
    idempotency_keys = "\n".join(key for _, key in appends)
    return (
        f"BEGIN;SET LOCAL indelible.organisation = {literal(organisation_id)};"
        f"EXECUTE lock_chains ('{{{keys}}}');EXECUTE chain_heads ('{{{keys}}}');"
        f"EXECUTE earlier_appends ('{{{positions}}}', {literal(idempotency_keys)});"
        f"{COPY_EVENTS};{COPY_DISCLOSURES + ';' if disclosures else ''}COMMIT"
    ).encode()


def literal(text: str) -> str:
    """An SQL string. Correct whatever `standard_conforming_strings` says; `text` holds no U+0000."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


@dataclass(frozen=True, kw_only=True, slots=True)
class MiddleFields:
    """The fields of an append's rows that are known before the lock: those of its first row, and of the others."""

    first: bytes
    others: bytes


def middle_fields(
    chain_key: int, organisation_id: str, *, event_count: int, idempotency_key: str | None
) -> MiddleFields:
    """For an append of `event_count` events, whose first row carries the count and the key."""
    common = _BIGINT.pack(8, chain_key) + _text(organisation_id)
    key = _NULL if idempotency_key is None else _text(idempotency_key)
    return MiddleFields(first=common + _INTEGER.pack(4, event_count) + key, others=common + _NULL + _NULL)


def event_rows(
    head: ChainHead, hashes: Sequence[bytes], occurred_at_us: int, middle: Iterable[bytes], bodies: Sequence[bytes]
) -> list[bytes]:
    """The rows of events behind `head`, as pieces to be joined; `middle` gives each row its middle fields."""
    pieces: list[bytes] = []
    extend, pack = pieces.extend, _PLACE.pack
    previous = head.hash
    for sequence, digest, fields, body in zip(count(head.sequence + 1), hashes, middle, bodies, strict=False):
        extend((pack(10, 8, sequence, 32, previous, 32, digest, 8, occurred_at_us), fields, body))
        previous = digest
    return pieces


def disclosure_row(chain_key: int, organisation_id: str, sequence: int, disclosure: str) -> bytes:
    """One row of the disclosures."""
    return _DISCLOSURE.pack(4, 8, chain_key) + _text(organisation_id) + _BIGINT.pack(8, sequence) + _text(disclosure)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _LENGTH.pack(len(encoded)) + encoded
