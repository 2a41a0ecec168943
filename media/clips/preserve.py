"""Preserving one clip, from the footage to the record.

1. The source is looked up, in its organisation only.
2. Footage of the window is copied here and hashed: the digest at acquisition. When some is still to come, the job is
   given back until then.
3. The artefacts are cut in a process of its own: footage is hostile until it has been read.
4. Every artefact is hashed as it was made.
5. metadata.json is written: what was made of what, by which clock, with which tools.
6. Each is stored: hashed once more while it is sent, read back in full, and compared.
7. custody.json, which tells all this, is stored last, likewise.
8. One transaction makes it a clip: artefacts with keys, versions and digests, the state, and the events for the chains.

Before step 8 there is no clip: a worker that dies at any point leaves a job whose lease runs out, local files in a
temporary directory of its own, and uploads that no record knows. The next worker begins at step 1, and the sweeper
(sweep.py) removes such uploads once the clip has ended. After step 8 nothing remains to be done but to relay the
events, which are rows of the same transaction (relay.py). A worker that lost its lease cannot commit step 8: the
records refuse.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from media.clips.custody import CUSTODY_NAME, Entry, custody_document, software
from media.clips.documents import (
    METADATA_NAME,
    Digest,
    DocumentParts,
    document_bytes,
    explained,
    gap_list,
    media_type_of,
    metadata_document,
    role_of,
)
from media.clips.events import preserved_notes
from media.clips.footage import Footage, Found
from media.clips.lease import Lease
from media.clips.sources import Sources
from media.clips.workplace import own_directory
from media.records.records import Records
from media.records.values import Artefact, ArtefactRole, Clip, Job, Preserved
from media.storage.keys import artefact_key
from media.storage.store import EvidenceStore
from media.storage.values import StoredObject
from media.video.apart import write_artefacts_apart
from media.video.values import Artefacts, Limits, VideoSettings, Window

_READ_BYTES = 1024 * 1024
_PART = "evidence worker"


@dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """What preserving takes; the same for every job of a process."""

    records: Records
    store: EvidenceStore
    sources: Sources
    footage: Footage
    # Holds copies of footage and artefacts of running jobs; a new directory for each, removed at its end.
    directory: Path | None = None
    settings: VideoSettings = field(default_factory=VideoSettings)
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], int] = lambda: time.time_ns() // 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Later:
    """Footage is still to come: the job is due again after `seconds`."""

    seconds: float
    why: str


@dataclass(slots=True)
class Preserving:
    """How far a job came: what a failure must keep for inspection."""

    stored: list[Artefact] = field(default_factory=list)


async def preserve(job: Job, lease: Lease, workshop: Workshop, preserving: Preserving) -> Preserved | Later:
    """Carry one job out; returns after the commit.

    Raises MediaError when it cannot be done (now, or ever: worker.py tells them apart), LeaseLostError.
    """
    clip = job.clip
    custody = [_requested(clip)]

    # 1. The operator may have removed the source since the request.
    source = workshop.sources.find(clip.organisation_id, clip.source_id)
    window = Window(asked_from=clip.asked_from, asked_to=clip.asked_to, event_at=clip.event_at)

    async with own_directory(workshop.directory) as directory:
        # 2. Nothing is stored yet: dying here loses copies only.
        found = await workshop.footage.find(
            source, window, directory=_made(directory / "footage"), now=workshop.clock(), progress=lease.tick
        )
        if not found.complete:
            return _later(found, workshop.clock())
        custody += _acquired(found, workshop.clock(), job.attempt)

        # 3. and 4. As above.
        await lease.enter("EXTRACTING")
        artefacts = await write_artefacts_apart(
            found.segments,
            window,
            directory / "artefacts",
            settings=workshop.settings,
            limits=workshop.limits,
            progress=lease.tick,
        )
        digests = {one.name: await digest_of(one.path, lease.tick) for one in artefacts.all}
        made_at = workshop.clock()
        custody += [_made_entry(one.name, digests[one.name], made_at, derivative=True) for one in artefacts.all]

        # 5. From here on artefacts and documents are files alike.
        metadata = directory / "artefacts" / METADATA_NAME
        document = metadata_document(_parts(clip, found, artefacts, digests, made_at))
        digests[METADATA_NAME] = write_document(metadata, document)
        custody.append(_made_entry(METADATA_NAME, digests[METADATA_NAME], made_at, derivative=False))

        # 6. Dying from here on leaves uploads without a record. They are under the clip's own keys, so the next worker
        # adds versions beside them (or, in a bucket without versions, replaces them), and indexes only its own.
        await lease.enter("STORING")
        files = [_File(name=one.name, role=role_of(one, artefacts), path=one.path) for one in artefacts.all]
        files.append(_File(name=METADATA_NAME, role="metadata", path=metadata))
        for file in files:
            stored = await _store(file, digests[file.name], clip, lease, workshop)
            preserving.stored.append(stored)
            custody.append(_stored(stored, workshop.clock()))

        # 7. As 6. The document ends here: what follows is on record, and on the operations chain.
        entries = [entry.document() for entry in custody]
        path = directory / "artefacts" / CUSTODY_NAME
        digest = write_document(path, custody_document(clip, entries, as_of=workshop.clock()))
        file = _File(name=CUSTODY_NAME, role="custody", path=path)
        preserving.stored.append(await _store(file, digest, clip, lease, workshop))

    # 8. Dying before this commit: as 6. Dying after it: the clip is preserved, and the next relay tells the chains.
    outcome = Preserved(
        artefacts=tuple(preserving.stored),
        actual_from=artefacts.clip.actual_from,
        actual_to=artefacts.clip.actual_to,
        gaps=tuple(gap_list(explained(artefacts.gaps, found.gaps))),
        facts={"custody": entries, "clock": document["clock"]},
        preserved_at=workshop.clock(),
    )
    await workshop.records.finish(job, outcome, preserved_notes(clip, outcome))
    return outcome


async def digest_of(path: Path, tick: Callable[[], None]) -> Digest:
    """Size and SHA-256 of a file that was just made."""
    return await asyncio.to_thread(_digest_of, path, tick)


def write_document(path: Path, document: dict[str, Any]) -> Digest:
    """Write a document; its size and SHA-256."""
    data = document_bytes(document)
    path.write_bytes(data)
    return Digest(size=len(data), sha256=hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    name: str
    role: ArtefactRole
    path: Path


async def _store(file: _File, digest: Digest, clip: Clip, lease: Lease, workshop: Workshop) -> Artefact:
    """Send a file, read it back, and compare both with the digest it had when it was made."""
    media_type = media_type_of(file.name)
    stored: StoredObject = await asyncio.to_thread(
        workshop.store.store_verified,
        artefact_key(clip.key_prefix, file.name),
        file.path,
        media_type=media_type,
        expected_sha256=digest.sha256,
        progress=lease.tick,
    )
    lease.tick()
    return Artefact(name=file.name, role=file.role, media_type=media_type, stored=stored)


def _parts(clip: Clip, found: Found, artefacts: Artefacts, digests: dict[str, Digest], made_at: int) -> DocumentParts:
    return DocumentParts(
        clip=clip,
        segments=found.segments,
        gaps=explained(artefacts.gaps, found.gaps),
        artefacts=artefacts,
        digests=digests,
        notes=found.notes,
        made_at=made_at,
    )


def _later(found: Found, now: int) -> Later:
    seconds = max(0.0, (found.again_at - now) / 1_000_000)
    return Later(seconds=seconds, why="footage of the window is still to come")


def _requested(clip: Clip) -> Entry:
    return Entry(
        at=clip.requested_at,
        actor=clip.requested_by,
        actor_kind="person",
        action="requested",
        detail={"source": clip.source_id, "session_chain_id": clip.session_chain_id},
    )


def _acquired(found: Found, at: int, attempt: int) -> Sequence[Entry]:
    return [
        Entry(
            at=at,
            actor=software(_PART),
            actor_kind="software",
            action="acquired",
            object=segment.source_name,
            digest_after=segment.sha256,
            # What earlier workers did before they died counts for nothing, but that they did is not hidden.
            detail={"attempt": attempt},
        )
        for segment in found.segments
    ]


def _made_entry(name: str, digest: Digest, at: int, *, derivative: bool) -> Entry:
    return Entry(
        at=at,
        actor=software(_PART),
        actor_kind="software",
        action="derived" if derivative else "written",
        object=name,
        digest_after=digest.sha256,
        detail={"size": digest.size},
    )


def _stored(artefact: Artefact, at: int) -> Entry:
    stored = artefact.stored
    return Entry(
        at=at,
        actor=software(_PART),
        actor_kind="software",
        action="stored and read back",
        object=artefact.name,
        digest_before=stored.sha256,
        digest_after=stored.sha256,
        detail={"key": stored.key, "version_id": stored.version_id, "size": stored.size},
    )


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _digest_of(path: Path, tick: Callable[[], None]) -> Digest:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
            size += len(chunk)
            tick()
    return Digest(size=size, sha256=digest.hexdigest())
