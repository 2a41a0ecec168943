"""Erasing what sealed members say (docs/spec/chain.md, section 6): the chain keeps their digests and still verifies.

What is erased is gone from the database for good; that it was, and by whom and why, is noted on the operations chain in
the same commit. The note holds digests, which stand on the chain already, and nothing of what they stood for.
"""

import json
from collections.abc import Sequence

from ledger.chain.sealed import digest_of, salt_of
from ledger.database.connections import Connection
from ledger.errors import LedgerError, Reason
from ledger.store.intake import MAX_SEALED_MEMBERS, ChainPlace
from ledger.store.values import NewEvent

MAX_REASON_CHARACTERS = 500
# docs/spec/chain.md, section 2: a sequence is below 2^48.
SEQUENCE_LIMIT = 2**48

_FIND = """
SELECT d.disclosure
  FROM indelible.disclosures AS d
 WHERE d.organisation_id = %s AND d.chain_key = %s AND d.sequence = %s
 ORDER BY d.disclosure COLLATE "C"
"""
_ERASE = """
DELETE FROM indelible.disclosures
 WHERE organisation_id = %s AND chain_key = %s AND sequence = %s AND disclosure = ANY (%s)
"""


def check_erasure(sequence: int, members: Sequence[str], reason: str) -> None:
    """Refuse what can be told without looking. Raises `LedgerError` INVALID_ARGUMENT."""
    field = problem = ""
    if not 1 <= sequence < SEQUENCE_LIMIT:
        field, problem = "sequence", "sequence counts from 1"
    elif len(members) > MAX_SEALED_MEMBERS:
        field, problem = "members", f"an event has at most {MAX_SEALED_MEMBERS} sealed members"
    elif not 1 <= len(reason) <= MAX_REASON_CHARACTERS or not reason.isprintable():
        problem = f"reason must be 1 to {MAX_REASON_CHARACTERS} printable characters; the operations chain keeps it"
        field = "reason"
    if problem:
        raise LedgerError(Reason.INVALID_ARGUMENT, problem, {"field": field})


async def find_disclosures(
    connection: Connection, place: ChainPlace, sequence: int, members: Sequence[str]
) -> list[str]:
    """The disclosures of one event that are still there: those of the named members, or all when none is named."""
    cursor = await connection.execute(_FIND, (place.organisation_id, place.chain_key, sequence))
    found = [disclosure for (disclosure,) in await cursor.fetchall()]
    return [disclosure for disclosure in found if not members or salt_of(disclosure)[1] in members]


async def erase_disclosures(
    connection: Connection, place: ChainPlace, sequence: int, disclosures: Sequence[str]
) -> None:
    """Remove them, in the append transaction that notes it."""
    await connection.execute(_ERASE, (place.organisation_id, place.chain_key, sequence, list(disclosures)))


def erased_event(
    place: ChainPlace, sequence: int, disclosures: Sequence[str], *, erased_by: str, reason: str
) -> NewEvent:
    """What the operations chain says about it."""
    note = {
        "by": erased_by,
        "chain_id": place.chain_id,
        "digests": sorted(map(digest_of, disclosures)),
        "reason": reason,
        "sequence": sequence,
    }
    return NewEvent(kind="ledger.disclosures_erased", payload=json.dumps(note).encode())
