"""Verify links, erasures and obtained anchors: what the operations chain notes in the same commit."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from ledger.database.connections import Pool
from ledger.store import anchor_jobs, anchors, erasures, links
from ledger.store.intake import prepare_event
from ledger.store.lifecycle import Lifecycle
from ledger.store.reads import get_chain
from ledger.store.transactions import Places, Transactions
from ledger.store.values import AnchorJob, Evidence, Receipt, VerifyLink
from ledger.timestamps import moment

_ANCHOR_EXISTS = """
SELECT FROM indelible.anchors
 WHERE chain_key = %(chain_key)s AND sequence = %(sequence)s AND backend = %(backend)s AND authority = %(authority)s
"""


class Notes:
    """Use cases that the operations chain keeps a note of."""

    def __init__(self, runtime: Pool, *, transactions: Transactions, places: Places, lifecycle: Lifecycle) -> None:
        self._runtime = runtime
        self._places = places
        self._transactions = transactions
        self._lifecycle = lifecycle

    async def create_verify_link(
        self, organisation_id: str, chain_id: str, expires_at: datetime, created_by: str
    ) -> VerifyLink:
        """A link to the chain as it stands now. Raises `LedgerError` CHAIN_NOT_FOUND."""
        chain = await get_chain(self._runtime, organisation_id, chain_id)
        operations = await self._lifecycle.operations_chain(organisation_id)
        link = VerifyLink(
            link_id=str(uuid.uuid4()),
            organisation_id=organisation_id,
            chain_id=chain_id,
            head=chain.head,
            head_sequence=chain.event_count,
            expires_at=expires_at,
            revoked_at=None,
        )
        note = prepare_event(links.verify_link_created_event(link, created_by))
        async with self._transactions.begin(organisation_id) as transaction:
            await transaction.lock(operations)
            placed = await transaction.append(operations, note)
            await links.insert_verify_link(
                transaction.connection,
                link,
                chain_key=chain.chain_key,
                created_by=created_by,
                created_at=moment(placed.occurred_at_us),
            )
        return link

    async def revoke_verify_link(self, organisation_id: str, link_id: str, revoked_by: str) -> datetime:
        """End a link now; when it was revoked before, the time of that. Raises `LedgerError` LINK_UNKNOWN."""
        link = await links.find_verify_link(self._runtime, organisation_id, link_id)
        if link.revoked_at is not None:
            return link.revoked_at
        operations = await self._lifecycle.operations_chain(organisation_id)
        note = prepare_event(links.verify_link_revoked_event(link, revoked_by))
        async with self._transactions.begin(organisation_id) as transaction:
            await transaction.lock(operations)
            # Under the lock every revocation of the organisation waits for, so the link is revoked and noted once.
            link = await links.find_verify_link(self._runtime, organisation_id, link_id)
            if link.revoked_at is not None:
                return link.revoked_at
            placed = await transaction.append(operations, note)
            revoked_at = moment(placed.occurred_at_us)
            await links.insert_revocation(
                transaction.connection,
                organisation_id=organisation_id,
                link_id=link.link_id,
                revoked_by=revoked_by,
                revoked_at=revoked_at,
            )
        return revoked_at

    async def erase_disclosures(  # noqa: PLR0913 - what is erased, and what is noted about it
        self,
        organisation_id: str,
        chain_id: str,
        sequence: int,
        *,
        members: Sequence[str],
        reason: str,
        erased_by: str,
    ) -> tuple[int, Receipt | None]:
        """Erase what sealed members of one event say; how many, and the receipt of the note if there were any."""
        erasures.check_erasure(sequence, members, reason)
        place = await self._places.get(organisation_id, chain_id)
        operations = await self._lifecycle.operations_chain(organisation_id)
        async with self._transactions.begin(organisation_id) as transaction:
            # Under the lock that every erasure takes: each disclosure is erased and noted once.
            await transaction.lock(operations)
            found = await erasures.find_disclosures(transaction.connection, place, sequence, members)
            if not found:
                return 0, None
            note = erasures.erased_event(place, sequence, found, erased_by=erased_by, reason=reason)
            placed = await transaction.append(operations, prepare_event(note))
            await erasures.erase_disclosures(transaction.connection, place, sequence, found)
        return len(found), self._transactions.receipt(operations, placed)

    async def complete_anchor_job(
        self, job: AnchorJob, *, request: bytes, response: bytes, anchored_at: datetime, evidence: Sequence[Evidence]
    ) -> bool:
        """Store an anchor, end its job and note it; False when another worker had done so."""
        operations = await self._lifecycle.operations_chain(job.organisation_id)
        note = prepare_event(anchors.anchor_obtained_event(job, response=response, anchored_at=anchored_at))
        async with self._transactions.begin(job.organisation_id) as transaction:
            await transaction.lock(operations)
            # Under the lock that every completion takes: what is not there now, nobody else can store meanwhile.
            cursor = await transaction.connection.execute(_ANCHOR_EXISTS, anchor_jobs.job_key(job))
            is_new = await cursor.fetchone() is None
            if is_new:
                await transaction.append(operations, note)
            await anchors.store_anchor(
                transaction.connection,
                job,
                request=request,
                response=response,
                anchored_at=anchored_at,
                evidence=evidence,
            )
        return is_new
