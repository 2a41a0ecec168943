"""What a bucket can do, found out by trying on scratch objects that no organisation could own.

Documentation and answers to `GET ?versioning` say what a store means to do; whether it enforces a lock, or honours a
condition instead of ignoring it, shows only when something that must be refused is tried.
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from media.storage.client import Bucket
from media.storage.errors import (
    ObjectExistsError,
    ObjectLockedError,
    StoredObjectMissingError,
    StoreError,
    StoreRefusedError,
    store_errors,
)
from media.storage.locks import delete_version, lock_until, set_legal_hold
from media.storage.reading import named_version
from media.storage.values import Capabilities, Profile, StoredObject

# No organisation begins with a dot.
SCRATCH_PREFIX = ".indelible/"
_WRONG_SHA256 = "A" * 43 + "="
# Long enough to be refused, short enough to be gone soon should nobody be allowed to remove it.
_LOCK_SECONDS = 30


def probe(bucket: Bucket, profile: Profile) -> Capabilities:
    """Try everything on scratch objects and clean up. Raises StoreUnavailableError, StoreRefusedError."""
    _require_bucket(bucket)
    key = f"{SCRATCH_PREFIX}probe-{secrets.token_hex(8)}"
    made: list[StoredObject] = []
    try:
        first = _put(bucket, key, made)
        # R2 has neither, and answers these calls with errors of its own.
        versioning = profile != "r2" and first.version_id is not None
        return Capabilities(
            versioning=versioning,
            conditional_writes=_refuses_to_overwrite(bucket, key, made),
            sha256_checksums=_checks_sha256(bucket, f"{key}-sum", made),
            legal_hold=versioning and _enforces_hold(bucket, first),
            object_lock=versioning and _enforces_lock(bucket, first),
            bypass_governance=versioning and _may_bypass(bucket, first),
        )
    finally:
        _clean_up(bucket, made)


def _require_bucket(bucket: Bucket) -> None:
    """Some stores make a bucket that is written to; one by a mistyped name would look fine, and be unguarded."""
    try:
        with store_errors("show the bucket"):
            bucket.reader.head_bucket(Bucket=bucket.name)
    except StoredObjectMissingError as error:
        raise StoreRefusedError(f"there is no bucket {bucket.name}; make it first", "NoSuchBucket") from error


def _put(bucket: Bucket, key: str, made: list[StoredObject], **condition: str) -> StoredObject:
    with store_errors("store", key):
        answer = bucket.reader.put_object(Bucket=bucket.name, Key=key, Body=b"probe", **condition)  # type: ignore[arg-type]  # the keywords are two of its own
    stored = StoredObject(key=key, version_id=named_version(answer.get("VersionId")), size=5, sha256="")
    made.append(stored)
    return stored


def _refuses_to_overwrite(bucket: Bucket, key: str, made: list[StoredObject]) -> bool:
    try:
        _put(bucket, key, made, IfNoneMatch="*")
    except ObjectExistsError:
        return True
    except StoreRefusedError:  # it does not know the condition, and says so
        return False
    return False


def _checks_sha256(bucket: Bucket, key: str, made: list[StoredObject]) -> bool:
    try:
        _put(bucket, key, made, ChecksumSHA256=_WRONG_SHA256)
    except StoreRefusedError:
        return True
    return False


def _enforces_hold(bucket: Bucket, stored: StoredObject) -> bool:
    def place() -> None:
        set_legal_hold(bucket, stored, held=True)

    enforced = _stops_deletion(bucket, stored, place)
    with suppress(StoreRefusedError, StoredObjectMissingError):
        set_legal_hold(bucket, stored, held=False)
    return enforced


def _enforces_lock(bucket: Bucket, stored: StoredObject) -> bool:
    until = datetime.now(UTC) + timedelta(seconds=_LOCK_SECONDS)

    def place() -> None:
        lock_until(bucket, stored, retain_until=int(until.timestamp() * 1_000_000), lock_mode="GOVERNANCE")

    return _stops_deletion(bucket, stored, place)


def _may_bypass(bucket: Bucket, stored: StoredObject) -> bool:
    try:
        delete_version(bucket, stored.key, stored.version_id, bypass=True)
    except (ObjectLockedError, StoreRefusedError):
        return False
    return True


def _stops_deletion(bucket: Bucket, stored: StoredObject, place: Callable[[], None]) -> bool:
    """Whether a version survives its deletion after `place`. One that was deleted cannot be held or locked any more."""
    try:
        place()
        delete_version(bucket, stored.key, stored.version_id, bypass=False)
    except ObjectLockedError:
        return True
    except (StoreRefusedError, StoredObjectMissingError):
        return False
    return False


def _clean_up(bucket: Bucket, made: list[StoredObject]) -> None:
    for stored in made:
        with suppress(StoreError):
            delete_version(bucket, stored.key, stored.version_id, bypass=stored.version_id is not None)
