"""Writing a bundle: one snapshot of the chain, staged on disk, then packed."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import rfc8785

from ledger.bundle.bag import Bag, HashedFile
from ledger.bundle.readme import ReadmeFacts, SessionFacts, readme_text
from ledger.chain.event import Event
from ledger.store.snapshots import ChainSnapshot, ListedAnchor, PendingAnchor
from ledger.timestamps import moment, rfc3339

FORMAT = "indelible-bundle/1"

# Limits of a reader (bundle.md, sections 3 and 7). The newest anchors are kept: a checkpoint commits to every event
# before it, so the newest anchor covers what older ones covered.
MAX_ANCHORS = 10_000
MAX_EVIDENCE_BYTES = 32 * 1024 * 1024
MAX_EVIDENCE_FILE_BYTES = 16 * 1024 * 1024
# Hundreds of revocation lists say no more than the newest; this keeps the number of files within a reader's limit.
MAX_EVIDENCE_FILES = 150

HEADERS = "data/evidence/bitcoin-headers.txt"
_EVIDENCE_PLACES = {
    "certificate": ("certificates", "der"),
    "crl": ("crls", "crl"),
    "ocsp": ("ocsp", "ocsp"),
}


class SnapshotStore(Protocol):
    """What the writer needs of a store."""

    def snapshot(self, organisation_id: str, chain_id: str) -> AbstractAsyncContextManager[ChainSnapshot]:
        """The chain as of one moment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleSummary:
    """What a written bundle holds. `exported_at` is the time of the newest thing in it, not of the export.

    `anchor_count` counts what was obtained; `pending_count` what was asked for, also where a proof has begun.
    """

    chain_id: str
    head: bytes
    event_count: int
    anchor_count: int
    pending_count: int
    exported_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class _Events:
    """What the events themselves say of the chain."""

    organisation: dict[str, Any]
    count: int
    head: bytes
    newest_at: datetime


async def write_bundle(
    store: SnapshotStore, organisation_id: str, chain_id: str, *, include_disclosures: bool, target: BinaryIO
) -> BundleSummary:
    """Write the bundle of a chain as a zip to `target`, which must be seekable.

    The same chain with the same anchors gives the same bytes, in any process. Memory does not grow with the chain;
    the temporary directory holds the bundle once. Raises `LedgerError` CHAIN_NOT_FOUND, DATABASE_UNAVAILABLE.
    """
    if not target.seekable():
        raise ValueError("a bundle is written to a seekable file: its headers state sizes that are known later")
    async with _staging() as directory:
        bag = Bag(directory)
        async with store.snapshot(organisation_id, chain_id) as snapshot:
            summary = await _stage(snapshot, bag, include_disclosures=include_disclosures)
        await asyncio.to_thread(_pack, bag, summary, target)
        return summary


@asynccontextmanager
async def _staging() -> AsyncIterator[Path]:
    staging = tempfile.TemporaryDirectory(prefix="indelible-bundle-")
    try:
        yield Path(staging.name)
    finally:
        # Up to 20,000 files: removing them takes a while in which the service must go on answering.
        await asyncio.to_thread(staging.cleanup)


async def _stage(snapshot: ChainSnapshot, bag: Bag, *, include_disclosures: bool) -> BundleSummary:
    floor = await snapshot.anchor_floor(MAX_ANCHORS)
    events = await _stage_events(snapshot, bag)
    anchors = await _stage_anchors(snapshot, bag, floor=floor)
    await _stage_evidence(snapshot, bag, floor=floor)
    if include_disclosures:
        await _stage_disclosures(snapshot, bag)
    pending = (await snapshot.pending())[-MAX_ANCHORS:]
    exported_at = max([events.newest_at, *anchors.times])
    chain_id = snapshot.chain.chain_id
    bag.add("data/bundle.json", _bundle_json(chain_id, events, anchors.entries, pending, exported_at))
    facts = ReadmeFacts(
        chain_id=chain_id,
        organisation=events.organisation,
        event_count=events.count,
        head=events.head,
        exported_at=exported_at,
        anchors=anchors.entries,
        unfinished=anchors.unfinished,
        pending=pending,
        omitted_through=floor,
        has_disclosures="data/disclosures.jsonl" in bag,
        session=await _session(snapshot),
    )
    bag.add("data/README.txt", readme_text(facts).encode())
    return BundleSummary(
        chain_id=chain_id,
        head=events.head,
        event_count=events.count,
        anchor_count=len(anchors.entries) - len(anchors.unfinished),
        pending_count=len(pending) + len(anchors.unfinished),
        exported_at=exported_at,
    )


async def _session(snapshot: ChainSnapshot) -> SessionFacts | None:
    end = await snapshot.session_end()
    if end is None:
        return None
    return SessionFacts(
        ended_by=end.sequence,
        closes_by=moment(end.closes_by_us),
        closed=snapshot.chain.state == "closed",
        pending=await snapshot.pending_items(),
    )


async def _stage_events(snapshot: ChainSnapshot, bag: Bag) -> _Events:
    organisation: dict[str, Any] = {}
    last: Event | None = None
    with bag.create("data/events.jsonl") as file:
        async for batch in snapshot.events():
            if last is None:
                # The opening event, not today's settings, says what the organisation is called in this chain.
                organisation = json.loads(batch[0].payload)["organisation"]
            last = batch[-1]
            # Formatting and hashing a batch takes milliseconds in which the service must go on answering.
            await asyncio.to_thread(_write_lines, file, batch)
    if last is None:
        raise RuntimeError("a chain has at least its opening event")
    return _Events(
        organisation={"id": organisation["id"], "name": organisation["name"]},
        count=last.sequence,
        head=last.hash,
        newest_at=moment(last.occurred_at_us),
    )


def _write_lines(file: HashedFile, events: Sequence[Event]) -> None:
    # The payload goes in as it was hashed: it is canonical already, and a second serialiser could only differ.
    lines = "".join(
        f'{{"hash":"{event.hash.hex()}","kind":"{event.kind}","occurred_at":"{rfc3339(moment(event.occurred_at_us))}",'
        f'"payload":{event.payload},"prev_hash":"{event.prev_hash.hex()}","sequence":{event.sequence}}}\n'
        for event in events
    )
    file.write(lines.encode())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Anchors:
    """`unfinished` names the files of proofs that their calendars have yet to complete."""

    entries: list[dict[str, Any]]
    times: list[datetime]
    unfinished: set[str]


async def _stage_anchors(snapshot: ChainSnapshot, bag: Bag, *, floor: int) -> _Anchors:
    staged = _Anchors(entries=[], times=[], unfinished=set())
    async for anchor in snapshot.anchors(floor=floor):
        contents = _anchor_files(anchor)
        for path, data in contents.values():
            bag.add(path, data)
        files = {role: path for role, (path, _) in contents.items()}
        staged.entries.append(_anchor_entry(anchor, files))
        staged.times.append(anchor.obtained_at)
        if not anchor.complete:
            staged.unfinished.update(files.values())
    return staged


def _anchor_files(anchor: ListedAnchor) -> dict[str, tuple[str, bytes]]:
    """Path and content of each of an anchor's files, by its role (bundle.md, section 6)."""
    name = f"data/anchors/{anchor.sequence}-{anchor.backend}-{anchor.authority}"
    match anchor.backend:
        case "tezos":  # the receipt holds the operation that was sent
            return {"receipt": (f"{name}.tezos.json", anchor.response)}
        case "opentimestamps":  # the proof begins with what was sent
            return {"proof": (f"{name}.ots", anchor.response)}
        case _:
            return {"request": (f"{name}.tsq", anchor.request), "response": (f"{name}.tsr", anchor.response)}


def _anchor_entry(anchor: ListedAnchor, files: dict[str, str]) -> dict[str, Any]:
    return {
        # Where the digest stands under the anchored value, the receipt says.
        "aggregation": json.loads(anchor.response)["aggregation"] if anchor.backend == "tezos" else None,
        "authority": anchor.authority,
        "backend": anchor.backend,
        "digest": anchor.digest.hex(),
        "files": files,
        "obtained_at": rfc3339(anchor.obtained_at),
        "sequence": anchor.sequence,
    }


async def _stage_evidence(snapshot: ChainSnapshot, bag: Bag, *, floor: int) -> None:
    """As much as a reader accepts: certificates before revocation data, the newest before the older."""
    headers = _header_lines(await snapshot.headers(floor=floor))
    if headers:
        bag.add(HEADERS, headers)
    room, files = MAX_EVIDENCE_BYTES - len(headers), 0
    async for item in snapshot.evidence(floor=floor):
        if item.size > MAX_EVIDENCE_FILE_BYTES:
            continue
        if item.size > room or files == MAX_EVIDENCE_FILES:
            return
        folder, suffix = _EVIDENCE_PLACES[item.kind]
        bag.add(f"data/evidence/{folder}/{item.digest.hex()}.{suffix}", await snapshot.evidence_bytes(item))
        room -= item.size
        files += 1


def _header_lines(lines: Sequence[bytes]) -> bytes:
    """The headers by height. Of two that claim one height, at least one is wrong, and a reader would refuse both."""
    by_height: dict[int, set[bytes]] = {}
    for line in lines:
        by_height.setdefault(int(line.split()[0]), set()).add(line)
    return b"".join(line for _, (line, *others) in sorted(by_height.items()) if not others)


async def _stage_disclosures(snapshot: ChainSnapshot, bag: Bag) -> None:
    disclosures = snapshot.disclosures()
    first = await anext(disclosures, None)
    if first is None:
        return
    with bag.create("data/disclosures.jsonl") as file:
        file.write(_disclosure_line(*first))
        async for sequence, disclosure in disclosures:
            file.write(_disclosure_line(sequence, disclosure))


def _disclosure_line(sequence: int, disclosure: str) -> bytes:
    return rfc8785.dumps({"disclosure": disclosure, "sequence": sequence}) + b"\n"


def _bundle_json(
    chain_id: str,
    events: _Events,
    anchors: Sequence[dict[str, Any]],
    pending: Sequence[PendingAnchor],
    exported_at: datetime,
) -> bytes:
    return rfc8785.dumps(
        {
            "anchors": list(anchors),
            "chain_id": chain_id,
            "event_count": events.count,
            "exported_at": rfc3339(exported_at),
            "format": FORMAT,
            "head": events.head.hex(),
            "organisation": events.organisation,
            "pending": [
                {"authority": job.authority, "backend": job.backend, "sequence": job.sequence} for job in pending
            ],
        }
    )


def _pack(bag: Bag, summary: BundleSummary, target: BinaryIO) -> None:
    bag.finish(external_identifier=summary.chain_id, dated=summary.exported_at)
    bag.write_zip(target, top=summary.chain_id)
