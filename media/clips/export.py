"""Exporting a clip: the ledger's bundle of a chain, with the clip's files under data/artefacts (docs/spec/bundle.md).

1. The export is put on record, and its event waited for: the bundle then holds every event about the clip so far.
2. The ledger writes the bundle of the chain.
3. The custody document is written up to date, naming only events that this bundle holds.
4. The bundle is packed again with the artefacts, each read from the store and compared with its digest on the way, and
   with manifests that list them. Nothing of what the ledger wrote is changed but the lists of files.

Memory does not grow with the clip; the temporary directory holds the bundle, and the bundle with the clip.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.client import ClientError
from media.clips.access import current_custody, record_access, require_bytes, require_readable
from media.clips.documents import document_bytes
from media.clips.events import PRESERVED
from media.clips.packing import BundleFile, pack, stored_file, written_file
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
        await asyncio.to_thread(pack, plain, path, lambda about: _artefacts(clip, custody, about, exporter.store))
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


def _artefacts(
    clip: Clip, custody: dict[str, Any], about: Mapping[str, Any], store: EvidenceStore
) -> dict[str, BundleFile]:
    folder = f"data/artefacts/{clip.clip_id}/"
    files = {f"{folder}{artefact.name}": stored_file(store, artefact.stored) for artefact in clip.artefacts}
    to_date = _within(custody, about["chain_id"], about["event_count"])
    return files | {f"{folder}{CUSTODY_TO_DATE_NAME}": written_file(to_date)}


def _within(custody: dict[str, Any], chain_id: str, event_count: int) -> bytes:
    """The document, without pointers to events of this bundle's chain that the bundle does not reach."""
    for entry in custody["entries"]:
        event = entry["detail"].get("event")
        if event is not None and event["chain_id"] == chain_id and event["sequence"] > event_count:
            entry["detail"] = {**entry["detail"], "event": None}
    return document_bytes(custody)
