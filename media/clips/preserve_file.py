"""Preserving from a file at hand, with no service: the same artefacts, documents and keys as a preserved clip, on disk.

What is missing is what only a service gives: no events on a chain, no read-back from another machine's store. The
documents say so by who made them.
"""

import asyncio
import hashlib
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.timestamps import moment, rfc3339
from media.clips.custody import CUSTODY_NAME, Entry, custody_document, software
from media.clips.documents import METADATA_NAME, Digest, DocumentParts, metadata_document
from media.clips.placing import clock_of_file
from media.clips.preserve import digest_of, write_document
from media.clips.window import WindowLengths, choose_window
from media.errors import MediaError, Reason
from media.records.values import Clip
from media.storage.keys import check_identifier, clip_prefix
from media.video.apart import probe_apart, write_artefacts_apart
from media.video.values import Artefacts, ClockMap, ClockSource, Probe, Progress, Segment, Window

_PART = "clip preserve"
_SOURCE = "file"
# A clock nobody described may be so wrong, as that of a source without a setting.
_CLOCK_ERROR_US = 2_000_000
# A start that a person reads off a label or a log.
_GIVEN_ERROR_US = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class FileWish:
    """What to preserve of a file.

    `event_at` (UTC) or `event_offset` (after the first frame) says when the incident was, `started_at` when the first
    frame was, for files that do not tell; all in microseconds.
    """

    file: Path
    organisation_id: str
    camera_id: str
    incident_id: str
    event_at: int | None
    event_offset: int | None
    lengths: WindowLengths
    started_at: int | None
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PreservedFile:
    """What was made: the directory, and the documents as they stand there."""

    directory: Path
    clock: ClockMap
    metadata: dict[str, Any]
    digests: dict[str, Digest]


async def preserve_file(wish: FileWish, out: Path, progress: Callable[[Progress], None]) -> PreservedFile:
    """Preserve from a file under `out`, whole or not at all; the file itself is only read.

    Raises MediaError: as `probe` and `write_artefacts` do, OUTSIDE_FOOTAGE with what the file covers, and
    IDEMPOTENCY_CONFLICT when this incident has its clip there already. Raises OSError when `out` cannot be written.
    """
    check_identifier(wish.camera_id, "camera")
    check_identifier(wish.incident_id, "incident")
    segment = await _read(wish)
    window = _window(wish, segment)
    prefix = clip_prefix(wish.organisation_id, window.event_at, wish.camera_id, wish.incident_id)
    directory = out / prefix
    if directory.exists():
        raise MediaError(
            Reason.IDEMPOTENCY_CONFLICT,
            f"this incident has its clip already, in {directory}; a second one is never made",
            {"field": "incident"},
        )
    clip = _clip(wish, window, prefix)
    # On the same disk, so that a rename suffices; and a refusal leaves no directories behind.
    beside = next(parent for parent in directory.absolute().parents if parent.is_dir())
    with tempfile.TemporaryDirectory(prefix=".making-", dir=beside, ignore_cleanup_errors=True) as making:
        made = Path(making) / wish.incident_id
        artefacts = await write_artefacts_apart([segment], window, made, progress=progress)
        digests = {one.name: await digest_of(one.path, _nothing) for one in artefacts.all}
        metadata = _write_documents(made, clip, segment, artefacts, digests)
        directory.parent.mkdir(parents=True, exist_ok=True)
        # The directory appears with everything in it, or not at all.
        os.rename(made, directory)  # noqa: PTH104 - a rename takes no time worth a thread
    return PreservedFile(directory=directory, clock=segment.clock, metadata=metadata, digests=digests)


async def _read(wish: FileWish) -> Segment:
    """The file, read as a whole and placed in wall time."""
    written = await asyncio.to_thread(lambda: wish.file.stat().st_mtime_ns // 1000)
    (probe,) = await probe_apart([wish.file])
    if isinstance(probe, MediaError):
        raise probe
    digest = await digest_of(wish.file, _nothing)
    clock = _clock(wish, probe, written)
    return Segment(
        path=wish.file.resolve(),
        clock=clock,
        starts_at=clock.utc_of(0),
        ends_at=clock.utc_of(probe.video.duration_us),
        # Documents are UTF-8; a name may be any bytes.
        source_name=os.fsencode(wish.file.name).decode("utf-8", "backslashreplace"),
        sha256=digest.sha256,
    )


def _clock(wish: FileWish, probe: Probe, written: int) -> ClockMap:
    if wish.started_at is not None:
        return ClockMap(anchors=((0, wish.started_at),), error_us=_GIVEN_ERROR_US, source=ClockSource.GIVEN)
    return clock_of_file(probe, written, _CLOCK_ERROR_US)


def _window(wish: FileWish, segment: Segment) -> Window:
    """The window around the event, which the file must show. Raises MediaError (OUTSIDE_FOOTAGE)."""
    event_at = segment.clock.utc_of(wish.event_offset) if wish.event_offset is not None else wish.event_at
    if event_at is None:
        raise MediaError(Reason.INVALID_ARGUMENT, "it is not said when the incident was", {"field": "at"})
    if not segment.starts_at <= event_at < segment.ends_at:
        first, last = rfc3339(moment(segment.starts_at)), rfc3339(moment(segment.ends_at))
        seconds = (segment.ends_at - segment.starts_at) / 1_000_000
        raise MediaError(
            Reason.OUTSIDE_FOOTAGE,
            f"{rfc3339(moment(event_at))} is outside of this file, which covers {first} to {last} "
            f"({seconds:.1f} seconds from its first frame)",
            {"covers_from": first, "covers_to": last},
        )
    return choose_window(event_at, wish.lengths)


def _write_documents(
    directory: Path, clip: Clip, segment: Segment, artefacts: Artefacts, digests: dict[str, Digest]
) -> dict[str, Any]:
    """metadata.json and custody.json; `digests` gets theirs too."""
    now = time.time_ns() // 1000
    parts = DocumentParts(
        clip=clip,
        segments=[segment],
        gaps=artefacts.gaps,
        artefacts=artefacts,
        digests=dict(digests),
        notes=[f"The wall clock comes from: {clock_words(segment.clock)}."],
        made_at=now,
    )
    metadata = metadata_document(parts)
    digests[METADATA_NAME] = write_document(directory / METADATA_NAME, metadata)
    entries = [_entry(now, "acquired", segment.source_name, after=segment.sha256)]
    for name, digest in digests.items():
        entries.append(_entry(now, "written" if name == METADATA_NAME else "derived", name, after=digest.sha256))
    for name, digest in digests.items():
        entries.append(_read_back(directory / name, digest))
    person = Entry(at=clip.requested_at, actor=clip.requested_by, actor_kind="person", action="requested")
    document = custody_document(clip, [one.document() for one in (person, *entries)], as_of=time.time_ns() // 1000)
    digests[CUSTODY_NAME] = write_document(directory / CUSTODY_NAME, document)
    return metadata


def _read_back(path: Path, digest: Digest) -> Entry:
    """Raises MediaError (STORED_MISMATCH) when the disk gives back something else."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest.sha256:
        raise MediaError(Reason.STORED_MISMATCH, f"{path.name} does not read back as it was written")
    return _entry(time.time_ns() // 1000, "stored and read back", path.name, before=digest.sha256, after=found)


def _entry(at: int, action: str, name: str, *, before: str | None = None, after: str | None = None) -> Entry:
    return Entry(
        at=at,
        actor=software(_PART),
        actor_kind="software",
        action=action,
        object=name,
        digest_before=before,
        digest_after=after,
    )


def clock_words(clock: ClockMap) -> str:
    """In words, what told the wall clock of a file, and how far it may be wrong."""
    sources = {
        ClockSource.GIVEN: "the start that was given",
        ClockSource.FILE_INFO: "the creation time in the file",
        ClockSource.MODIFIED_AT: "the time the file was last written, since it tells none itself",
    }
    return f"{sources[clock.source]}, right to within {clock.error_us / 1_000_000:.1f} seconds"


def _clip(wish: FileWish, window: Window, prefix: str) -> Clip:
    """The clip as its documents name it. There is no record, so its id follows from its key."""
    return Clip(
        clip_id=uuid.uuid5(uuid.NAMESPACE_URL, prefix),
        organisation_id=wish.organisation_id,
        source_id=_SOURCE,
        camera_id=wish.camera_id,
        incident_id=wish.incident_id,
        key_prefix=prefix,
        event_at=window.event_at,
        asked_from=window.asked_from,
        asked_to=window.asked_to,
        session_chain_id=None,
        requested_by=wish.by,
        requested_at=time.time_ns() // 1000,
        state="STORING",
        attempts=1,
        last_error="",
        actual_from=None,
        actual_to=None,
        gaps=(),
        facts=None,
        failure_reason=None,
        failure_message=None,
        ended_at=None,
        retain_until=None,
        disposal=None,
        disposed_at=None,
        artefacts=(),
        holds=(),
        kept=(),
        protection_enforced=None,
    )


def _nothing(*_: object) -> None:
    return
