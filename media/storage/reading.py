"""Full reads of stored objects, hashed as the bytes arrive. A read that ends early is never taken for the whole."""

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from media.errors import Reason
from media.storage.client import Bucket
from media.storage.errors import (
    StoredMismatchError,
    StoredObjectMissingError,
    StoreUnavailableError,
    store_errors,
)
from media.storage.values import Attempt, ReadBack, StoredObject

CHUNK_BYTES = 1024 * 1024
_READ_TRIES = 4
_FIRST_PAUSE_SECONDS = 0.2

Progress = Callable[[int], None]


def read_back(
    bucket: Bucket, key: str, version_id: str | None, *, is_new: bool = False, progress: Progress | None = None
) -> ReadBack:
    """Read all of one version and hash it. Connections that break are tried again, from the beginning.

    With `is_new`, so is an object that is not there: some stores show it only seconds after they said they had it.
    `progress` gets the number of bytes of each chunk; what it raises ends the read. Raises StoredObjectMissingError,
    ObjectArchivedError, StoreUnavailableError, StoreRefusedError.
    """
    for attempt in range(1, _READ_TRIES):
        try:
            return _read_once(bucket, key, version_id, progress)
        except StoredObjectMissingError:
            if not is_new:
                raise
        except StoreUnavailableError:
            pass  # tried again
        time.sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
    return _read_once(bucket, key, version_id, progress)


def stream(bucket: Bucket, stored: StoredObject) -> Iterator[bytes]:
    """The bytes of an object as it is on record, in chunks.

    Raises StoredMismatchError at the end if they are not those; until then they are only what the store gave. Raises
    StoredObjectMissingError, ObjectArchivedError, StoreUnavailableError, StoreRefusedError.
    """
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(bucket, stored.key, stored.version_id):
        digest.update(chunk)
        size += len(chunk)
        if size > stored.size:
            break  # more than there should be: enough is known
        yield chunk
    found = ReadBack(size=size, sha256=digest.hexdigest())
    problem = difference(stored, found)
    if problem:
        raise StoredMismatchError(
            f"{stored.key} is not what was stored: {problem}", [attempt_of(stored, found, problem)]
        )


def difference(stored: StoredObject, found: ReadBack) -> str:
    """How what was read differs from what is on record; empty if it does not."""
    if found.size != stored.size:
        return f"{found.size} bytes were read back, {stored.size} were stored"
    if found.sha256 != stored.sha256:
        return "the bytes that were read back have another SHA-256"
    return ""


def attempt_of(stored: StoredObject, found: ReadBack | None, problem: str) -> Attempt:
    """What is kept of an upload that did not read back."""
    return Attempt(
        key=stored.key,
        version_id=stored.version_id,
        size=stored.size,
        expected_sha256=stored.sha256,
        found_size=found.size if found else None,
        found_sha256=found.sha256 if found else None,
        problem=problem,
    )


def version_parameter(version_id: str | None) -> dict[str, Any]:
    """The request parameter for a version; none in a bucket that keeps no versions."""
    return {} if version_id is None else {"VersionId": version_id}


def named_version(version_id: str | None) -> str | None:
    """A version as the store names it: buckets that keep none say "null", or nothing."""
    return None if version_id in {None, "", "null"} else version_id


def _read_once(bucket: Bucket, key: str, version_id: str | None, progress: Progress | None) -> ReadBack:
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(bucket, key, version_id):
        digest.update(chunk)
        size += len(chunk)
        if progress is not None:
            progress(len(chunk))
    return ReadBack(size=size, sha256=digest.hexdigest())


def _chunks(bucket: Bucket, key: str, version_id: str | None) -> Iterator[bytes]:
    with store_errors("give back", key):
        answer = bucket.reader.get_object(Bucket=bucket.name, Key=key, **version_parameter(version_id))
    body, promised, size = answer["Body"], answer["ContentLength"], 0
    try:
        while True:
            with store_errors("give back all of", key):
                chunk = body.read(CHUNK_BYTES)
            if not chunk:
                break
            size += len(chunk)
            yield chunk
    finally:
        body.close()
    if size != promised:
        raise StoreUnavailableError(
            Reason.STORE_UNAVAILABLE, f"the store broke off: {size} of {promised} bytes of {key}", {"key": key}
        )
