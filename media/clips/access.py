"""Reading a clip: every address for its bytes, every export and every verification is on record before it is given."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from media.clips.custody import live_custody
from media.clips.events import accessed_note
from media.errors import MediaError, Reason
from media.records.kept import CLIP
from media.records.records import Records
from media.records.values import Access, AccessKind, Artefact, Clip
from media.storage.errors import StoredObjectMissingError
from media.storage.store import EvidenceStore
from media.storage.values import Availability, StoredObject

DEFAULT_LINK_SECONDS = 300
MAX_LINK_SECONDS = 3_600


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """An address that gives one artefact's bytes until `expires_at` (microseconds since 1970)."""

    url: str
    expires_at: int
    artefact: Artefact


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredCheck:
    """What reading one stored file back gave; `problem` is empty when it is what it was."""

    name: str
    expected_sha256: str
    found_sha256: str | None
    problem: str

    @property
    def ok(self) -> bool:
        """Whether the bytes are those that were preserved."""
        return not self.problem


async def record_access(  # noqa: PLR0913 - what the record of an access consists of
    records: Records, clip: Clip, kind: AccessKind, *, who: str, detail: Mapping[str, Any], artefact: str | None = None
) -> Access:
    """Put an access on record, and on its way to the operations chain."""
    access = Access(
        access_id=uuid4(),
        clip_id=clip.clip_id,
        kind=kind,
        who=who,
        at=time.time_ns() // 1000,
        artefact=artefact,
        detail=detail,
    )
    await records.add_access(clip.organisation_id, access, [accessed_note(access)])
    return access


async def create_link(  # noqa: PLR0913 - who wants what of which clip, and for how long
    records: Records, store: EvidenceStore, clip: Clip, *, name: str, who: str, valid_seconds: int
) -> Link:
    """An address for one artefact. Raises MediaError: ARTEFACT_NOT_FOUND, CLIP_ARCHIVED, and as `require_bytes`."""
    require_bytes(clip)
    artefact = next((one for one in clip.artefacts if one.name == name), None)
    if artefact is None:
        raise MediaError(
            Reason.ARTEFACT_NOT_FOUND,
            f"this clip has no artefact {name!r}; it has {', '.join(one.name for one in clip.artefacts)}",
            {"field": "artefact", "clip_id": str(clip.clip_id)},
        )
    await require_readable(store, [artefact])
    detail = {"valid_seconds": valid_seconds}
    access = await record_access(records, clip, "link", who=who, artefact=artefact.name, detail=detail)
    url = await asyncio.to_thread(
        store.presign,
        artefact.stored,
        valid_seconds=valid_seconds,
        file_name=f"{clip.camera_id}-{clip.incident_id}-{artefact.name}",
        media_type=artefact.media_type,
    )
    return Link(url=url, expires_at=access.at + valid_seconds * 1_000_000, artefact=artefact)


async def verify_stored(
    records: Records, store: EvidenceStore, clip: Clip, *, who: str
) -> tuple[list[StoredCheck], int]:
    """Read every artefact back now; what was found, and when.

    Raises MediaError: CLIP_ARCHIVED, STORE_UNAVAILABLE, and as `require_bytes`.
    """
    require_bytes(clip)
    checks = [await check_stored(store, artefact.name, artefact.stored) for artefact in clip.artefacts]
    access = await record_access(records, clip, "verify", who=who, detail=findings(checks))
    return checks, access.at


async def restore(store: EvidenceStore, clip: Clip) -> list[tuple[Artefact, Availability]]:
    """Have archived artefacts brought back; where each stands."""
    require_bytes(clip)
    return [(artefact, await asyncio.to_thread(store.restore, artefact.stored)) for artefact in clip.artefacts]


async def current_custody(records: Records, clip: Clip) -> dict[str, Any]:
    """The chain of custody up to now."""
    holds = await records.holds(CLIP, clip.organisation_id, clip.clip_id)
    accesses = await records.accesses(clip.organisation_id, clip.clip_id)
    notes = await records.clip_notes(clip.organisation_id, clip.clip_id)
    return live_custody(clip, holds, accesses, notes, as_of=time.time_ns() // 1000)


def require_bytes(clip: Clip) -> None:
    """Raises MediaError (CLIP_NOT_PRESERVED, CLIP_DISPOSED) unless the clip has bytes to read."""
    about = {"clip_id": str(clip.clip_id), "state": clip.state}
    if clip.state in {"DISPOSING", "DISPOSED"}:
        raise MediaError(Reason.CLIP_DISPOSED, "the clip was disposed of; its digests remain on record", about)
    if clip.state != "PRESERVED":
        raise MediaError(Reason.CLIP_NOT_PRESERVED, f"the clip is {clip.state.lower()}, not preserved", about)


async def require_readable(store: EvidenceStore, artefacts: Sequence[Artefact]) -> None:
    """Raises MediaError (CLIP_ARCHIVED) while an artefact must be restored before it can be read."""
    for artefact in artefacts:
        availability = await asyncio.to_thread(store.availability, artefact.stored)
        if not availability.is_readable:
            raise MediaError(
                Reason.CLIP_ARCHIVED,
                f"{artefact.name} is archived; ask for its restoration and come back when it is ready",
                {"artefact": artefact.name, "state": availability.state},
            )


async def check_stored(store: EvidenceStore, name: str, stored: StoredObject) -> StoredCheck:
    """Read one file back in full. Raises MediaError: CLIP_ARCHIVED, STORE_UNAVAILABLE."""
    found, problem = None, ""
    try:
        found = await asyncio.to_thread(store.read_back, stored)
    except StoredObjectMissingError:
        problem = "the store does not have it any more"
    if found is not None and found.sha256 != stored.sha256:
        problem = f"the store gave back {found.size} bytes of {stored.size}, with another digest"
    found_sha256 = None if found is None else found.sha256
    return StoredCheck(name=name, expected_sha256=stored.sha256, found_sha256=found_sha256, problem=problem)


def findings(checks: Sequence[StoredCheck]) -> dict[str, Any]:
    """What the record of a verification says."""
    return {
        "ok": all(check.ok for check in checks),
        "found": {check.name: check.found_sha256 for check in checks if not check.ok},
    }
