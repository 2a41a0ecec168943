"""One chain with everything that belongs to it, as of one moment: what a bundle is written from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.chain.event import Event
from ledger.chain.processing import PendingItem
from ledger.database.connections import Connection, Pool
from ledger.store.processing import pending_items, session_end
from ledger.store.reads import find_chain, organisation_transaction, read_batch
from ledger.store.values import Chain, SessionEnd

# Anchors fetched at a time; each holds at most two files of 64 KiB.
_ANCHOR_BATCH = 100
_DISCLOSURE_BATCH = 1_000
# Checkpoints whose revocation data is looked at in one statement: some ten lists of a megabyte at the very worst.
_EVIDENCE_SEQUENCES = 10

# A proof that its calendars have yet to complete is listed as it is so far (docs/spec/bundle.md, section 6); it lies in
# its job's state (ledger.anchoring.opentimestamps.state). While a job's anchor is already stored, the anchor counts.
_HAS_PROOF = "(j.backend = 'opentimestamps' AND coalesce(j.state ? 'proof', false))"
_NOT_STORED = """NOT EXISTS (SELECT FROM indelible.anchors AS a
                    WHERE (a.chain_key, a.sequence, a.backend, a.authority)
                        = (j.chain_key, j.sequence, j.backend, j.authority))"""

_ANCHORS = f"""
SELECT sequence, digest, backend, authority, request, response, obtained_at, complete
  FROM (SELECT a.sequence, a.digest, a.backend, a.authority, a.request, a.response, a.obtained_at, true AS complete
          FROM indelible.anchors AS a
         WHERE a.chain_key = %(chain_key)s
         UNION ALL
        SELECT j.sequence, j.digest, j.backend, j.authority, '', decode(j.state ->> 'proof', 'base64'),
               (j.state ->> 'proof_at')::timestamptz, false
          FROM indelible.anchor_jobs AS j
         WHERE j.chain_key = %(chain_key)s AND {_HAS_PROOF} AND {_NOT_STORED}) AS listed
 WHERE (sequence, backend, authority)
       > (%(sequence)s, %(backend)s, %(authority)s)
 ORDER BY sequence, backend, authority
 LIMIT %(limit)s
"""  # noqa: S608  # made of the fixed texts above

# The sequence before the oldest of the newest %(limit)s anchors: 0 when there are no more than that.
_ANCHOR_FLOOR = f"""
SELECT coalesce(max(surplus.sequence), 0)
  FROM (SELECT sequence
          FROM (SELECT a.sequence
                  FROM indelible.anchors AS a
                 WHERE a.chain_key = %(chain_key)s
                 UNION ALL
                SELECT j.sequence
                  FROM indelible.anchor_jobs AS j
                 WHERE j.chain_key = %(chain_key)s AND {_HAS_PROOF} AND {_NOT_STORED}) AS listed
         ORDER BY sequence DESC
        OFFSET %(limit)s
         LIMIT 1) AS surplus
"""  # noqa: S608  # made of the fixed texts above

_PENDING = f"""
SELECT j.sequence, j.backend, j.authority
  FROM indelible.anchor_jobs AS j
 WHERE j.chain_key = %(chain_key)s AND NOT {_HAS_PROOF} AND {_NOT_STORED}
 ORDER BY j.sequence, j.backend, j.authority
"""  # noqa: S608  # made of the fixed texts above

# Jobs as well: what they are about to anchor must be right before it is.
_DIGESTS = """
SELECT a.sequence, a.digest FROM indelible.anchors AS a WHERE a.chain_key = %(chain_key)s
 UNION
SELECT j.sequence, j.digest FROM indelible.anchor_jobs AS j WHERE j.chain_key = %(chain_key)s
 ORDER BY sequence, digest
"""

_CERTIFICATES = """
SELECT v.kind, sha256(v.der) AS digest, octet_length(v.der) AS size
  FROM indelible.anchor_evidence AS v
 WHERE v.chain_key = %(chain_key)s AND v.sequence > %(floor)s AND v.kind = 'certificate'
 GROUP BY v.kind, digest, size
 ORDER BY max(v.sequence) DESC, digest
"""

_ANCHORED_SEQUENCES = """
SELECT DISTINCT a.sequence
  FROM indelible.anchors AS a
 WHERE a.chain_key = %(chain_key)s AND a.sequence > %(floor)s AND a.sequence < %(before)s
 ORDER BY a.sequence DESC
 LIMIT %(limit)s
"""

_REVOCATION_EVIDENCE = """
SELECT v.kind, sha256(v.der) AS digest, octet_length(v.der) AS size
  FROM indelible.anchor_evidence AS v
 WHERE v.chain_key = %(chain_key)s AND v.sequence = ANY (%(sequences)s) AND v.kind IN ('crl', 'ocsp')
 GROUP BY v.kind, digest, size
 ORDER BY max(v.sequence) DESC, v.kind, digest
"""

_HEADERS = """
SELECT DISTINCT v.der
  FROM indelible.anchor_evidence AS v
 WHERE v.chain_key = %(chain_key)s AND v.sequence > %(floor)s AND v.kind = 'header'
"""

_EVIDENCE_FILE = """
SELECT v.der
  FROM indelible.anchor_evidence AS v
 WHERE v.chain_key = %(chain_key)s AND v.kind = %(kind)s AND sha256(v.der) = %(digest)s
 LIMIT 1
"""

_DISCLOSURES = """
SELECT DISTINCT d.sequence, d.disclosure COLLATE "C"
  FROM indelible.disclosures AS d
 WHERE d.chain_key = %(chain_key)s
   AND (d.sequence, d.disclosure COLLATE "C") > (%(sequence)s, %(disclosure)s COLLATE "C")
 ORDER BY d.sequence, d.disclosure COLLATE "C"
 LIMIT %(limit)s
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceFile:
    """A piece of evidence, by its digest; `size` in bytes."""

    kind: str
    digest: bytes
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedAnchor:
    """An anchor as a bundle lists it. One that is not `complete` is a proof on its way, as of `obtained_at`."""

    sequence: int
    digest: bytes
    backend: str
    authority: str
    request: bytes
    response: bytes
    obtained_at: datetime
    complete: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingAnchor:
    """An anchor that was asked for and of which there is nothing yet."""

    sequence: int
    backend: str
    authority: str


class ChainSnapshot:
    """Reads one chain in one transaction: what is committed meanwhile does not appear. One read at a time."""

    def __init__(self, connection: Connection, chain: Chain) -> None:
        self._connection = connection
        self.chain = chain

    async def events(self) -> AsyncIterator[list[Event]]:
        """Every event in order, in batches of bounded size."""
        position = 1
        while batch := await read_batch(self._connection, self.chain.chain_key, position):
            position = batch[-1].sequence + 1
            yield batch

    async def anchor_floor(self, newest: int) -> int:
        """The sequence after which lie the newest `newest` anchors, or fewer where several share that sequence."""
        parameters = {"chain_key": self.chain.chain_key, "limit": newest}
        return int((await self._rows(_ANCHOR_FLOOR, parameters))[0][0])

    async def anchors(self, *, floor: int = 0) -> AsyncIterator[ListedAnchor]:
        """Every anchor past the sequence `floor`, by sequence, backend and authority; also proofs on their way."""
        # No backend has an empty name, so the first page begins after everything of `floor` and of none past it.
        sequence, backend, authority = floor + 1, "", ""
        while True:
            parameters = {
                "chain_key": self.chain.chain_key,
                "sequence": sequence,
                "backend": backend,
                "authority": authority,
                "limit": _ANCHOR_BATCH,
            }
            rows = await self._rows(_ANCHORS, parameters)
            for row in rows:
                anchor = _anchor(row)
                yield anchor
                sequence, backend, authority = anchor.sequence, anchor.backend, anchor.authority
            if len(rows) < _ANCHOR_BATCH:
                return

    async def anchored_digests(self) -> list[tuple[int, bytes]]:
        """Every sequence with the digest that was anchored for it or is about to be."""
        rows = await self._rows(_DIGESTS, {"chain_key": self.chain.chain_key})
        return [(sequence, bytes(digest)) for sequence, digest in rows]

    async def pending(self) -> list[PendingAnchor]:
        """What was asked for and is not among `anchors` yet, in the same order."""
        rows = await self._rows(_PENDING, {"chain_key": self.chain.chain_key})
        return [PendingAnchor(sequence=row[0], backend=row[1], authority=row[2]) for row in rows]

    async def session_end(self) -> SessionEnd | None:
        """Where the chain's session ended; None while it goes on."""
        return await session_end(self._connection, self.chain.chain_key)

    async def pending_items(self) -> tuple[PendingItem, ...]:
        """Recordings and clips that the chain waits for, or was closed without."""
        return await pending_items(self._connection, self.chain.chain_key)

    async def evidence(self, *, floor: int = 0) -> AsyncIterator[EvidenceFile]:
        """The distinct evidence of the anchors past `floor`: certificates, then revocation data from the newest on.

        Revocation lists may be gigabytes in all; they are looked at a few at a time, and only while the caller wants
        more.
        """
        parameters = {"chain_key": self.chain.chain_key, "floor": floor}
        for row in await self._rows(_CERTIFICATES, parameters):
            yield _evidence(row)
        seen: set[bytes] = set()
        before = self.chain.event_count + 1
        while page := await self._rows(
            _ANCHORED_SEQUENCES, parameters | {"before": before, "limit": _EVIDENCE_SEQUENCES}
        ):
            sequences = [row[0] for row in page]
            before = sequences[-1]
            for row in await self._rows(_REVOCATION_EVIDENCE, parameters | {"sequences": sequences}):
                item = _evidence(row)
                if item.digest not in seen:
                    seen.add(item.digest)
                    yield item

    async def headers(self, *, floor: int = 0) -> list[bytes]:
        """The lines about the Bitcoin blocks that the anchors past `floor` lead to, each once, in no order."""
        rows = await self._rows(_HEADERS, {"chain_key": self.chain.chain_key, "floor": floor})
        return [bytes(row[0]) for row in rows]

    async def evidence_bytes(self, item: EvidenceFile) -> bytes:
        """The DER bytes of one piece of evidence."""
        parameters = {"chain_key": self.chain.chain_key, "kind": item.kind, "digest": item.digest}
        return bytes((await self._rows(_EVIDENCE_FILE, parameters))[0][0])

    async def disclosures(self) -> AsyncIterator[tuple[int, str]]:
        """Sequence and disclosure of every sealed member not erased, by sequence and then by disclosure."""
        sequence, disclosure = 0, ""
        while True:
            parameters = {
                "chain_key": self.chain.chain_key,
                "sequence": sequence,
                "disclosure": disclosure,
                "limit": _DISCLOSURE_BATCH,
            }
            rows = await self._rows(_DISCLOSURES, parameters)
            for row in rows:
                sequence, disclosure = row
                yield sequence, disclosure
            if len(rows) < _DISCLOSURE_BATCH:
                return

    async def _rows(self, query: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        cursor = await self._connection.cursor(binary=True).execute(query, parameters)
        return await cursor.fetchall()


@asynccontextmanager
async def open_snapshot(pool: Pool, organisation_id: str, chain_id: str) -> AsyncIterator[ChainSnapshot]:
    """The chain as of now, for as long as the block runs; it keeps one connection.

    Raises `LedgerError` CHAIN_NOT_FOUND, DATABASE_UNAVAILABLE.
    """
    async with organisation_transaction(pool, organisation_id, snapshot=True) as connection:
        yield ChainSnapshot(connection, await find_chain(connection, organisation_id, chain_id))


def _evidence(row: tuple[Any, ...]) -> EvidenceFile:
    kind, digest, size = row
    return EvidenceFile(kind=kind, digest=bytes(digest), size=size)


def _anchor(row: tuple[Any, ...]) -> ListedAnchor:
    sequence, digest, backend, authority, request, response, obtained_at, complete = row
    return ListedAnchor(
        sequence=sequence,
        digest=bytes(digest),
        backend=backend,
        authority=authority,
        request=bytes(request),
        response=bytes(response),
        obtained_at=obtained_at,
        complete=complete,
    )
