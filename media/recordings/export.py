"""Exporting a recording: the ledger's bundle of a chain, with the recording's files under data/artefacts.

1. The export is put on record, and its event waited for, with all others about the recording.
2. The ledger writes the bundle of the chain.
3. The bundle is packed again with the files, each read from the store and compared with its digest on the way.

What LiveKit left and is kept is not in it: recording.json says where it lies, and under which digest.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ledger.client import ClientError
from media.clips.export import POLL_SECONDS, RELAY_SECONDS, Exporter
from media.clips.packing import BundleFile, pack, stored_file
from media.errors import MediaError, Reason
from media.recordings.access import record_access, require_bytes, require_readable
from media.records.recording_values import Recording
from media.records.values import OPERATIONS_CHAIN_ID
from media.storage.errors import StoredObjectMissingError


async def export_recording(
    exporter: Exporter, recording: Recording, *, chain_id: str, who: str, directory: Path
) -> Path:
    """Write the bundle of `chain_id` with the recording into `directory`, which is the caller's to remove; its path.

    Raises MediaError: CHAIN_NOT_FOUND for a chain that does not tell of the recording's end, LEDGER_UNAVAILABLE,
    RECORDING_NOT_COMPLETED, RECORDING_DISPOSED, STORED_MISMATCH, CLIP_ARCHIVED.
    """
    require_bytes(recording)
    if chain_id not in {OPERATIONS_CHAIN_ID, recording.session_chain_id}:
        raise _not_on_chain(recording, chain_id)
    files = await exporter.records.recordings.files(recording.organisation_id, recording.recording_id)
    await require_readable(exporter.store, files)
    await record_access(exporter.records, recording, "export", who=who, detail={"chain_id": chain_id})
    await _await_relay(exporter, recording)
    plain, path = directory / "chain.zip", directory / "recording.zip"
    try:
        await exporter.ledgers.of(recording.organisation_id).export_bundle(chain_id, plain)
    except ClientError as error:
        if error.reason == "CHAIN_NOT_FOUND":
            raise _not_on_chain(recording, chain_id) from error
        raise MediaError(
            Reason.LEDGER_UNAVAILABLE, f"the ledger gave no bundle of the chain {chain_id}: {error.message}"
        ) from error
    folder = f"data/artefacts/{recording.recording_id}/"

    def add(_: Mapping[str, Any]) -> dict[str, BundleFile]:
        return {f"{folder}{file.name}": stored_file(exporter.store, file.stored) for file in files}

    try:
        await asyncio.to_thread(pack, plain, path, add)
    except StoredObjectMissingError:
        # Gone because somebody disposed of it meanwhile, or lost.
        require_bytes(await exporter.records.recordings.get(recording.organisation_id, recording.recording_id))
        raise
    return path


async def _await_relay(exporter: Exporter, recording: Recording) -> None:
    until = time.monotonic() + RELAY_SECONDS
    while not await exporter.records.recording_jobs.is_told(recording.recording_id):
        if time.monotonic() > until:
            raise MediaError(
                Reason.LEDGER_UNAVAILABLE,
                "the ledger has not yet been told everything about this recording; try again in a while",
                {"recording_id": str(recording.recording_id)},
            )
        await asyncio.sleep(POLL_SECONDS)


def _not_on_chain(recording: Recording, chain_id: str) -> MediaError:
    return MediaError(
        Reason.CHAIN_NOT_FOUND,
        f"no chain {chain_id!r} tells of this recording; leave chain_id empty for its session's",
        {"field": "chain_id", "recording_id": str(recording.recording_id)},
    )
