"""Moving a recording's files between the store and a worker's disk: every byte is hashed on the way, both ways."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from media.errors import MediaError, Reason
from media.records.recording_work import Raw, RecordingWork
from media.storage.errors import StoredMismatchError, StoredObjectMissingError
from media.storage.keys import artefact_key
from media.storage.store import EvidenceStore
from media.storage.values import ListedObject, ReadBack, StoredObject

# Free space that is left to others when footage is fetched.
SPARE_BYTES = 64 << 20

Tick = Callable[..., None]


async def look_for(store: EvidenceStore, key: str) -> list[ListedObject]:
    """Every version of the object under a key."""
    listed = await asyncio.to_thread(lambda: list(store.list_objects(key)))
    return [one for one in listed if one.key == key and not one.is_delete_marker]


async def read_twice(store: EvidenceStore, listed: ListedObject, tick: Tick) -> ReadBack:
    """Read an object in full and hash it, and once more: what is written on a chain must not be one bad read.

    Raises MediaError (RAW_CHANGED) where the two differ, and as the store does.
    """
    first = await asyncio.to_thread(store.read_listed, listed, progress=tick)
    again = await asyncio.to_thread(store.read_listed, listed, progress=tick)
    if first != again:
        raise MediaError(Reason.RAW_CHANGED, f"{listed.key} did not give the same bytes twice", {"key": listed.key})
    return first


async def fetch(store: EvidenceStore, raw: Raw, target: Path, tick: Tick) -> Path:
    """Copy a raw object here, comparing it with its digest of the first read.

    Raises MediaError (RAW_CHANGED) if its bytes are others now, RAW_MISSING if it is gone, TOO_LARGE for the disk.
    """
    stored = raw.stored

    def copy() -> Path:
        if shutil.disk_usage(target.parent).free < stored.size + SPARE_BYTES:
            raise OSError(f"there is no room for {stored.size} bytes in {target.parent}")
        with target.open("wb") as file:
            for chunk in store.stream(stored):
                file.write(chunk)
                tick()
        return target

    try:
        return await asyncio.to_thread(copy)
    except StoredMismatchError as error:
        message = f"{stored.key} is not what it was when it was first read"
        raise MediaError(Reason.RAW_CHANGED, message, {"key": stored.key}) from error
    except StoredObjectMissingError as error:
        message = f"{stored.key} is gone since it was first read"
        raise MediaError(Reason.RAW_MISSING, message, {"key": stored.key}) from error


async def store_file(  # noqa: PLR0913, PLR0917 - what storing a file takes
    store: EvidenceStore, recording: RecordingWork, name: str, path: Path, sha256: str, tick: Tick
) -> StoredObject:
    """Send a finished file, read all of it back, and compare both with the digest it had when it was made.

    Raises StoredMismatchError, and as the store does.
    """
    return await asyncio.to_thread(
        store.store_verified,
        artefact_key(recording.key_prefix, name),
        path,
        media_type=media_type_of(name),
        expected_sha256=sha256,
        progress=tick,
    )


def media_type_of(name: str) -> str:
    """The media type of a recording's file, by its name."""
    return {"mp4": "video/mp4", "m4a": "audio/mp4", "json": "application/json"}[name.rpartition(".")[2]]
