"""The evidence store: one bucket, through which every clip goes out and is read back before it counts.

What it promises
1. A `StoredObject` names bytes that were sent, by their SHA-256, and of which a full read of that very version gave the
   same SHA-256 afterwards (`store_verified`). The store's own digests are never taken for it.
2. An upload whose answer was lost is recognised by its bytes, or sent again: then a version may be left that nobody
   owns, and the sweeper finds it. Nothing is taken for stored that was not read back.
3. Where the bucket keeps no versions, nothing that is there is overwritten; see `store_verified`.

Calls block; use threads. The store may be shared by them.
"""

import hashlib
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from media.errors import Reason
from media.storage import archive, locks
from media.storage.client import Bucket, StoreSettings, open_bucket
from media.storage.errors import (
    ObjectExistsError,
    StoredMismatchError,
    StoredObjectMissingError,
    StoreUnavailableError,
    store_errors,
)
from media.storage.probing import SCRATCH_PREFIX, probe
from media.storage.reading import (
    CHUNK_BYTES,
    Progress,
    attempt_of,
    difference,
    named_version,
    read_back,
    stream,
    version_parameter,
)
from media.storage.upload import UploadOptions, put
from media.storage.values import (
    Attempt,
    Availability,
    Capabilities,
    ListedObject,
    LockMode,
    ReadBack,
    StoredObject,
)

_STORE_ATTEMPTS = 3
RESTORE_DAYS = 7
RESTORE_TIER = "Standard"


class EvidenceStore:
    """One bucket. Every method raises StoreUnavailableError and StoreRefusedError, besides what it says."""

    def __init__(self, settings: StoreSettings) -> None:
        """Prepare; nothing is sent yet."""
        self.settings = settings
        self.bucket: Bucket = open_bucket(settings)
        self._probing = threading.Lock()
        self._capabilities: Capabilities | None = None

    def capabilities(self, *, again: bool = False) -> Capabilities:
        """What the bucket was seen to do; tried once, and `again` when asked."""
        with self._probing:
            if self._capabilities is None or again:
                self._capabilities = probe(self.bucket, self.settings.profile)
            return self._capabilities

    def store_verified(  # noqa: PLR0913 - what an upload consists of
        self,
        key: str,
        path: Path,
        *,
        media_type: str,
        expected_sha256: str | None = None,
        attempts: int = _STORE_ATTEMPTS,
        progress: Progress | None = None,
    ) -> StoredObject:
        """Store a file, read all of it back, and try again with a new version if that is not what was sent.

        In a bucket without versions, an object under the key is the leftover of an attempt that died: it is taken if
        its bytes are the file's, and removed if not. So call this only while the clip's lease is yours. `progress` gets
        the number of bytes of each chunk sent or read, and 0 just before anything is removed; what it raises ends the
        call, so it is the place to stop a worker whose lease has run out. Raises StoredMismatchError with every attempt
        if none read back, or if the file is not what `expected_sha256` says.
        """
        failed: list[Attempt] = []
        while len(failed) < attempts:
            stored = self._put(key, path, media_type, progress)
            if expected_sha256 is not None and stored.sha256 != expected_sha256:
                problem = "the file on the worker's disk is no longer what was written there"
                raise StoredMismatchError(f"{path.name}: {problem}", [*failed, attempt_of(stored, None, problem)])
            try:
                found = read_back(self.bucket, key, stored.version_id, is_new=True, progress=progress)
                problem = difference(stored, found)
            except StoredObjectMissingError:
                found, problem = None, "the store has no such object after it said it stored it"
            if not problem:
                return stored
            failed.append(attempt_of(stored, found, problem))
        raise StoredMismatchError(f"{key} did not read back as it was sent, {attempts} times: {problem}", failed)

    def read_back(self, stored: StoredObject, *, progress: Progress | None = None) -> ReadBack:
        """Read all of an object and hash it. Raises StoredObjectMissingError, ObjectArchivedError."""
        return read_back(self.bucket, stored.key, stored.version_id, progress=progress)

    def read_listed(self, listed: ListedObject, *, progress: Progress | None = None) -> ReadBack:
        """As `read_back`, of an object that somebody else stored."""
        return read_back(self.bucket, listed.key, listed.version_id, progress=progress)

    def stream(self, stored: StoredObject) -> Iterator[bytes]:
        """The bytes of an object, in chunks of at most 1 MiB.

        Raises StoredMismatchError after the last chunk if they are not those on record, StoredObjectMissingError,
        ObjectArchivedError.
        """
        return stream(self.bucket, stored)

    def presign(self, stored: StoredObject, *, valid_seconds: int, file_name: str, media_type: str) -> str:
        """An address that gives this version's bytes to whoever holds it, until then."""
        with store_errors("sign an address for", stored.key):
            return self.bucket.reader.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": self.bucket.name,
                    "Key": stored.key,
                    "ResponseContentDisposition": f'attachment; filename="{file_name}"',
                    "ResponseContentType": media_type,
                    **version_parameter(stored.version_id),
                },
                ExpiresIn=valid_seconds,
            )

    def availability(self, stored: StoredObject) -> Availability:
        """Whether an object can be read now. Raises StoredObjectMissingError."""
        return archive.availability(self.bucket, stored)

    def restore(self, stored: StoredObject, *, days: int = RESTORE_DAYS, tier: str = RESTORE_TIER) -> Availability:
        """Ask for a readable copy of an archived object; repeating it is harmless. Raises StoredObjectMissingError."""
        return archive.restore(self.bucket, stored, days=days, tier=tier)

    def protect(self, stored: StoredObject, *, retain_until: int | None, lock_mode: LockMode, held: bool) -> bool:
        """See that the store guards a version as the records do; False where the bucket cannot.

        The legal hold becomes what `held` says. The lock is placed or extended until `retain_until`, never weakened:
        disposal passes a GOVERNANCE lock, and nobody a COMPLIANCE one. Raises StoredObjectMissingError.
        """
        can = self.capabilities()
        if can.legal_hold:
            locks.set_legal_hold(self.bucket, stored, held=held)
        if can.object_lock and retain_until is not None:
            locks.lock_until(self.bucket, stored, retain_until=retain_until, lock_mode=lock_mode)
        return can.legal_hold and can.object_lock

    def delete(self, stored: StoredObject) -> None:
        """Delete this version for ever; gone already is fine. Raises ObjectLockedError."""
        self._delete(stored.key, stored.version_id)

    def delete_listed(self, listed: ListedObject) -> None:
        """Delete what was listed: one version, or one marker. Gone already is fine. Raises ObjectLockedError."""
        self._delete(listed.key, listed.version_id)

    def list_objects(self, prefix: str = "") -> Iterator[ListedObject]:
        """Every version of every object under `prefix`, scratch objects apart."""
        can = self.capabilities()
        pages = self._version_pages(prefix) if can.versioning else self._object_pages(prefix)
        for listed in pages:
            if not listed.key.startswith(SCRATCH_PREFIX):
                yield listed

    def abort_unfinished(self, *, older_than: int) -> int:
        """Give up uploads that were begun before then and never completed. Returns how many there were."""
        with store_errors("list unfinished uploads"):
            pages = self.bucket.reader.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket.name)
            found = [
                (upload["Key"], upload["UploadId"])
                for page in pages
                for upload in page.get("Uploads", [])
                if upload["Initiated"].timestamp() * 1_000_000 < older_than
            ]
        for key, upload_id in found:
            with store_errors("give up", key):
                self.bucket.reader.abort_multipart_upload(Bucket=self.bucket.name, Key=key, UploadId=upload_id)
        return len(found)

    @cached_property
    def _extra(self) -> dict[str, Any]:
        extra: dict[str, Any] = {}
        if self.settings.encryption:
            extra["ServerSideEncryption"] = self.settings.encryption
        if self.settings.kms_key:
            extra["SSEKMSKeyId"] = self.settings.kms_key
        return extra

    def _put(self, key: str, path: Path, media_type: str, progress: Progress | None) -> StoredObject:
        can = self.capabilities()
        options = UploadOptions(
            only_if_new=not can.versioning and can.conditional_writes,
            sends_checksum=can.sha256_checksums,
            extra=self._extra,
        )
        for _ in range(_STORE_ATTEMPTS):
            there = None if can.versioning else self._make_room(key, path, progress)
            if there is not None:
                return there
            try:
                return put(self.bucket, key, path, media_type=media_type, options=options, progress=progress)
            except ObjectExistsError:
                continue  # between the look and the upload: perhaps our own, whose answer was lost
        raise StoreUnavailableError(
            Reason.STORE_UNAVAILABLE, f"somebody else keeps writing {key}; try again", {"key": key}
        )

    def _make_room(self, key: str, path: Path, progress: Progress | None) -> StoredObject | None:
        """Where there are no versions: the object under the key if it is this file, else nothing, and none is there."""
        try:
            with store_errors("look for", key):
                size = self.bucket.reader.head_object(Bucket=self.bucket.name, Key=key)["ContentLength"]
        except StoredObjectMissingError:
            return None
        sha256 = _hash(path)
        if size == path.stat().st_size and read_back(self.bucket, key, None).sha256 == sha256:
            return StoredObject(key=key, version_id=None, size=size, sha256=sha256)
        if progress is not None:
            progress(0)
        self._delete(key, None)
        return None

    def _delete(self, key: str, version_id: str | None) -> None:
        can = self.capabilities()
        # Without a version, a bucket that keeps them would only hide the object.
        version = "null" if version_id is None and can.versioning else version_id
        locks.delete_version(self.bucket, key, version, bypass=can.bypass_governance)

    def _version_pages(self, prefix: str) -> Iterator[ListedObject]:
        pages = self.bucket.reader.get_paginator("list_object_versions").paginate(
            Bucket=self.bucket.name, Prefix=prefix
        )
        with store_errors("list objects"):
            for page in pages:
                for version in page.get("Versions", []):
                    yield _listed(version, size=version["Size"], is_marker=False)
                for marker in page.get("DeleteMarkers", []):
                    yield _listed(marker, size=0, is_marker=True)

    def _object_pages(self, prefix: str) -> Iterator[ListedObject]:
        pages = self.bucket.reader.get_paginator("list_objects_v2").paginate(Bucket=self.bucket.name, Prefix=prefix)
        with store_errors("list objects"):
            for page in pages:
                for found in page.get("Contents", []):
                    yield _listed(found, size=found["Size"], is_marker=False)


def _listed(found: Any, *, size: int, is_marker: bool) -> ListedObject:
    return ListedObject(
        key=found["Key"],
        version_id=named_version(found.get("VersionId")),
        size=size,
        modified_at=int(found["LastModified"].timestamp() * 1_000_000),
        is_delete_marker=is_marker,
    )


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
