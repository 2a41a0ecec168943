"""Verify links: which were made, and which were revoked. Both tables only grow; the operations chain notes each row."""

import json
from datetime import datetime
from uuid import UUID

from ledger.database.connections import Connection, Pool
from ledger.errors import LedgerError, Reason
from ledger.store.reads import organisation_transaction
from ledger.store.values import NewEvent, VerifyLink
from ledger.timestamps import rfc3339

_FIND = """
SELECT l.link_id, l.organisation_id, c.chain_id, l.head, l.head_sequence, l.expires_at, r.revoked_at
  FROM indelible.verify_links AS l
  JOIN indelible.chains AS c USING (chain_key)
  LEFT JOIN indelible.verify_link_revocations AS r ON r.link_id = l.link_id
 WHERE l.link_id = %(link_id)s AND l.organisation_id = %(organisation_id)s
"""

_INSERT = """
INSERT INTO indelible.verify_links (link_id, organisation_id, chain_key, head_sequence, head, expires_at, created_by,
                                    created_at)
VALUES (%(link_id)s, %(organisation_id)s, %(chain_key)s, %(head_sequence)s, %(head)s, %(expires_at)s, %(created_by)s,
        %(created_at)s)
"""

# Revoking twice keeps the first revocation.
_REVOKE = """
INSERT INTO indelible.verify_link_revocations (link_id, organisation_id, revoked_by, revoked_at)
VALUES (%(link_id)s, %(organisation_id)s, %(revoked_by)s, %(revoked_at)s)
    ON CONFLICT (link_id) DO NOTHING
"""


async def find_verify_link(pool: Pool, organisation_id: str, link_id: str) -> VerifyLink:
    """The link, expired and revoked ones too. Raises `LedgerError` LINK_UNKNOWN, also for another organisation's."""
    try:
        key = UUID(link_id)
    except ValueError:
        raise _unknown() from None
    async with organisation_transaction(pool, organisation_id) as connection:
        cursor = await connection.cursor(binary=True).execute(
            _FIND, {"link_id": key, "organisation_id": organisation_id}
        )
        row = await cursor.fetchone()
    if row is None:
        raise _unknown()
    found_id, owner, chain_id, head, head_sequence, expires_at, revoked_at = row
    return VerifyLink(
        link_id=str(found_id),
        organisation_id=owner,
        chain_id=chain_id,
        head=bytes(head),
        head_sequence=head_sequence,
        expires_at=expires_at,
        revoked_at=revoked_at,
    )


async def insert_verify_link(
    connection: Connection,
    link: VerifyLink,
    *,
    chain_key: int,
    created_by: str,
    created_at: datetime,
) -> None:
    """Keep a new link, in the append transaction that notes it on the operations chain."""
    await connection.execute(
        _INSERT,
        {
            "link_id": UUID(link.link_id),
            "organisation_id": link.organisation_id,
            "chain_key": chain_key,
            "head_sequence": link.head_sequence,
            "head": link.head,
            "expires_at": link.expires_at,
            "created_by": created_by,
            "created_at": created_at,
        },
    )


async def insert_revocation(
    connection: Connection,
    *,
    organisation_id: str,
    link_id: str,
    revoked_by: str,
    revoked_at: datetime,
) -> None:
    """Keep a revocation, in the append transaction that notes it on the operations chain."""
    await connection.execute(
        _REVOKE,
        {
            "link_id": UUID(link_id),
            "organisation_id": organisation_id,
            "revoked_by": revoked_by,
            "revoked_at": revoked_at,
        },
    )


def verify_link_created_event(link: VerifyLink, created_by: str) -> NewEvent:
    """What the operations chain says of a new link."""
    return NewEvent(
        kind="ledger.verify_link_created",
        payload=json.dumps(
            {
                "link_id": link.link_id,
                "chain_id": link.chain_id,
                "head": link.head.hex(),
                "head_sequence": link.head_sequence,
                "expires_at": rfc3339(link.expires_at),
                "by": created_by,
            }
        ).encode(),
    )


def verify_link_revoked_event(link: VerifyLink, revoked_by: str) -> NewEvent:
    """What the operations chain says of a revocation."""
    payload = {"link_id": link.link_id, "chain_id": link.chain_id, "by": revoked_by}
    return NewEvent(kind="ledger.verify_link_revoked", payload=json.dumps(payload).encode())


def _unknown() -> LedgerError:
    return LedgerError(Reason.LINK_UNKNOWN, "there is no such verify link")
