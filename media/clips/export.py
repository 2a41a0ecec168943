"""Exporting a clip: the ledger's bundle of a chain, with the clip's files under data/artefacts (docs/spec/bundle.md).

1. The export is put on record, and its event waited for: the bundle then holds every event about the clip so far.
2. The ledger writes the bundle of the chain.
3. The custody document is written up to date, naming only events that this bundle holds.
4. The bundle is packed again with the artefacts, each read from the store and compared with its digest on the way, and
   with manifests that list them. Nothing of what the ledger wrote is changed but the lists of files.

Memory does not grow with the clip; the temporary directory holds the bundle, and the bundle with the clip.
"""

import asyncio
import hashlib
import json
import stat
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ledger.client import ClientError
from media.clips.access import current_custody, record_access, require_bytes, require_readable
from media.clips.documents import document_bytes
from media.clips.events import PRESERVED
from media.errors import MediaError, Reason
from media.ledgers import Ledgers
from media.records.records import Records
from media.records.values import OPERATIONS_CHAIN_ID, Clip
from media.storage.errors import StoredObjectMissingError
from media.storage.store import EvidenceStore

CUSTODY_TO_DATE_NAME = "custody-to-date.json"
# How long an export waits until the relay has told the ledger everything about the clip.
RELAY_SECONDS = 30.0
POLL_SECONDS = 0.2
# The verifier's own limit for a file that is read into memory.
MAX_TAG_BYTES = 8 * 1024 * 1024

_COPY_BYTES = 1024 * 1024
# bundle.md, section 8: what a writer uses.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = (stat.S_IFREG | 0o644) << 16
_MADE_BY_UNIX = 3
_TAGS = ("bag-info.txt", "bagit.txt", "manifest-sha256.txt")
_TAG_MANIFEST = "tagmanifest-sha256.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exporter:
    """What exporting takes."""

    records: Records
    store: EvidenceStore
    ledgers: Ledgers


async def export_clip(exporter: Exporter, clip: Clip, *, chain_id: str, who: str, directory: Path) -> Path:
    """Write the bundle of `chain_id` with the clip into `directory`, which is the caller's to remove; its path.

    Raises MediaError: CHAIN_NOT_FOUND for a chain the clip is not noted on, LEDGER_UNAVAILABLE, STORED_MISMATCH,
    CLIP_ARCHIVED, and as `require_bytes`.
    """
    require_bytes(clip)
    await require_readable(exporter.store, clip.artefacts)
    if chain_id not in {OPERATIONS_CHAIN_ID, clip.session_chain_id}:
        raise _not_on_chain(clip, chain_id)
    await record_access(exporter.records, clip, "export", who=who, detail={"chain_id": chain_id})
    await _await_relay(exporter.records, clip, chain_id)
    plain = directory / "chain.zip"
    try:
        await exporter.ledgers.of(clip.organisation_id).export_bundle(chain_id, plain)
    except ClientError as error:
        raise MediaError(
            Reason.LEDGER_UNAVAILABLE, f"the ledger gave no bundle of the chain {chain_id}: {error.message}"
        ) from error
    custody = await current_custody(exporter.records, clip)
    path = directory / "clip.zip"
    try:
        await asyncio.to_thread(_pack, plain, path, clip, custody, exporter.store)
    except StoredObjectMissingError:
        # Gone because somebody disposed of it meanwhile, or lost.
        require_bytes(await exporter.records.get_clip(clip.organisation_id, clip.clip_id))
        raise
    return path


async def _await_relay(records: Records, clip: Clip, chain_id: str) -> None:
    """Wait until the chains know all about the clip. Raises MediaError (LEDGER_UNAVAILABLE, CHAIN_NOT_FOUND)."""
    until = time.monotonic() + RELAY_SECONDS
    while True:
        notes = await records.clip_notes(clip.organisation_id, clip.clip_id)
        if all(note.sequence is not None or note.refusal is not None for note in notes):
            break
        if time.monotonic() > until:
            raise MediaError(
                Reason.LEDGER_UNAVAILABLE,
                "the ledger has not yet been told everything about this clip; try again in a while",
                {"clip_id": str(clip.clip_id)},
            )
        await asyncio.sleep(POLL_SECONDS)
    if not any(note.kind == PRESERVED and note.chain_id == chain_id and note.sequence is not None for note in notes):
        raise _not_on_chain(clip, chain_id)


def _not_on_chain(clip: Clip, chain_id: str) -> MediaError:
    return MediaError(
        Reason.CHAIN_NOT_FOUND,
        f"this clip is not noted on a chain {chain_id!r}; leave chain_id empty for the operations chain",
        {"field": "chain_id", "clip_id": str(clip.clip_id)},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """A file of the new bundle: its digest, its size, and where its bytes come from."""

    sha256: str
    size: int
    chunks: Iterator[bytes]


def _pack(plain: Path, target: Path, clip: Clip, custody: dict[str, Any], store: EvidenceStore) -> None:
    """The bundle with the clip, in the one way that bundle.md, section 8, allows a writer."""
    with zipfile.ZipFile(plain) as bundle:
        top = bundle.infolist()[0].filename.partition("/")[0]
        digests = _manifest_of(bundle, top)
        about = json.loads(_read(bundle, f"{top}/data/bundle.json"))
        added = _artefacts(clip, _within(custody, about["chain_id"], about["event_count"]), store)
        digests |= {path: file.sha256 for path, file in added.items()}
        tags = _tag_files(bundle, top, digests, added)
        kept = {info.filename: info for info in bundle.infolist()}
        names = sorted({*kept, *(f"{top}/{path}" for path in added)})
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for name in names:
                path = name.removeprefix(f"{top}/")
                file = added.get(path)
                if path in tags:
                    _write(archive, name, len(tags[path]), iter((tags[path],)))
                elif file is not None:
                    _write(archive, name, file.size, file.chunks)
                else:
                    with bundle.open(kept[name]) as source:
                        _write(archive, name, kept[name].file_size, iter(lambda: source.read(_COPY_BYTES), b""))
    plain.unlink()


def _artefacts(clip: Clip, custody: bytes, store: EvidenceStore) -> dict[str, _File]:
    folder = f"data/artefacts/{clip.clip_id}/"
    files = {
        f"{folder}{artefact.name}": _File(
            sha256=artefact.stored.sha256, size=artefact.stored.size, chunks=store.stream(artefact.stored)
        )
        for artefact in clip.artefacts
    }
    files[f"{folder}{CUSTODY_TO_DATE_NAME}"] = _File(
        sha256=hashlib.sha256(custody).hexdigest(), size=len(custody), chunks=iter((custody,))
    )
    return files


def _within(custody: dict[str, Any], chain_id: str, event_count: int) -> bytes:
    """The document, without pointers to events of this bundle's chain that the bundle does not reach."""
    for entry in custody["entries"]:
        event = entry["detail"].get("event")
        if event is not None and event["chain_id"] == chain_id and event["sequence"] > event_count:
            entry["detail"] = {**entry["detail"], "event": None}
    return document_bytes(custody)


def _tag_files(
    bundle: zipfile.ZipFile, top: str, digests: Mapping[str, str], added: Mapping[str, _File]
) -> dict[str, bytes]:
    """The lists of files, with what is added (bundle.md, section 2)."""
    octets = sum(file.size for file in added.values())
    info = _read(bundle, f"{top}/bag-info.txt").decode()
    head, _, oxum = info.rpartition("Payload-Oxum: ")
    before, _, count = oxum.strip().partition(".")
    tags = {
        "bag-info.txt": f"{head}Payload-Oxum: {int(before) + octets}.{int(count) + len(added)}\n".encode(),
        "bagit.txt": _read(bundle, f"{top}/bagit.txt"),
        "manifest-sha256.txt": "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items())).encode(),
    }
    tags[_TAG_MANIFEST] = "".join(f"{hashlib.sha256(tags[name]).hexdigest()}  {name}\n" for name in _TAGS).encode()
    return tags


def _manifest_of(bundle: zipfile.ZipFile, top: str) -> dict[str, str]:
    lines = _read(bundle, f"{top}/manifest-sha256.txt").decode().splitlines()
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def _read(bundle: zipfile.ZipFile, name: str) -> bytes:
    """A tag file of the ledger's bundle. Raises MediaError (LEDGER_UNAVAILABLE) for one that it would not write."""
    if bundle.getinfo(name).file_size > MAX_TAG_BYTES:
        raise MediaError(Reason.LEDGER_UNAVAILABLE, f"the ledger's bundle has an impossible {name}")
    return bundle.read(name)


def _write(archive: zipfile.ZipFile, name: str, size: int, chunks: Iterator[bytes]) -> None:
    info = zipfile.ZipInfo(name, _ZIP_TIME)
    info.create_system = _MADE_BY_UNIX
    info.external_attr = _REGULAR_FILE
    # Known in advance, so that the local header is right at once and says Zip64 only when it must.
    info.file_size = size
    with archive.open(info, "w") as member:
        _copy(chunks, member)


def _copy(chunks: Iterator[bytes], target: IO[bytes]) -> None:
    for chunk in chunks:
        target.write(chunk)
