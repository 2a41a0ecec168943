"""Locks and legal holds of single versions, and their deletion, in a bucket that can lock."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal

from media.errors import Reason
from media.storage.client import Bucket
from media.storage.errors import (
    ObjectLockedError,
    StoredObjectMissingError,
    StoreRefusedError,
    StoreUnavailableError,
    store_errors,
)
from media.storage.reading import version_parameter
from media.storage.values import LockMode, StoredObject

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LegalHoldError(ObjectLockedError):
    """A legal hold keeps the object. Unlike a lock, it can be taken off at any time."""


def set_legal_hold(bucket: Bucket, stored: StoredObject, *, held: bool) -> None:
    """Place or lift the store's legal hold; doing it again changes nothing. Raises StoreError."""
    status: Literal["ON", "OFF"] = "ON" if held else "OFF"
    with store_errors("hold" if held else "release", stored.key):
        bucket.reader.put_object_legal_hold(
            Bucket=bucket.name, Key=stored.key, LegalHold={"Status": status}, **version_parameter(stored.version_id)
        )


def lock_until(bucket: Bucket, stored: StoredObject, *, retain_until: int, lock_mode: LockMode) -> None:
    """See that a version is locked at least until then, in that mode. A lock is never shortened or weakened.

    Raises StoreError.
    """
    until = _EPOCH + timedelta(microseconds=retain_until)
    if lock_mode == "NONE" or until <= datetime.now(UTC):
        return
    mode, locked_until = _lock(bucket, stored)
    if mode == "COMPLIANCE":
        lock_mode = "COMPLIANCE"
    if mode == lock_mode and locked_until is not None and locked_until >= until.replace(microsecond=0):
        return
    if locked_until is not None and locked_until > until:
        until = locked_until
    parameters = version_parameter(stored.version_id)
    if mode not in {None, lock_mode}:  # to COMPLIANCE: stronger, but a change all the same
        parameters["BypassGovernanceRetention"] = True
    with store_errors("lock", stored.key):
        bucket.reader.put_object_retention(
            Bucket=bucket.name,
            Key=stored.key,
            Retention={"Mode": lock_mode, "RetainUntilDate": until},
            **parameters,
        )


def delete_version(bucket: Bucket, key: str, version: str | None, *, bypass: bool) -> None:
    """Delete one version for ever, and look whether it is gone. Not there already is fine.

    Raises ObjectLockedError, StoreUnavailableError, StoreRefusedError.
    """
    parameters = version_parameter(version)
    if bypass:  # not sent as false either: some stores refuse what they do not know
        parameters["BypassGovernanceRetention"] = True
    try:
        with store_errors("delete", key):
            bucket.reader.delete_object(Bucket=bucket.name, Key=key, **parameters)
    except StoredObjectMissingError:
        return
    except StoreRefusedError as error:
        locked = _what_keeps(bucket, key, version)
        if locked is None:
            raise
        raise locked from error
    with suppress(StoredObjectMissingError):
        with store_errors("show", key):
            bucket.reader.head_object(Bucket=bucket.name, Key=key, **version_parameter(version))
        raise StoreUnavailableError(
            Reason.STORE_UNAVAILABLE, f"the store still shows {key} after deleting it", {"key": key}
        )


def _what_keeps(bucket: Bucket, key: str, version: str | None) -> ObjectLockedError | None:
    stored = StoredObject(key=key, version_id=version, size=0, sha256="")
    with suppress(StoreRefusedError, StoredObjectMissingError):
        with store_errors("show the hold of", key):
            hold = bucket.reader.get_object_legal_hold(Bucket=bucket.name, Key=key, **version_parameter(version))
        if hold.get("LegalHold", {}).get("Status") == "ON":
            return LegalHoldError(Reason.CLIP_LOCKED, f"{key} is kept by a legal hold in the store", {"key": key})
    mode, until = _lock(bucket, stored)
    if until is None or until <= datetime.now(UTC):
        return None
    reason = f"{key} is kept by a {mode} lock in the store until {until:%Y-%m-%dT%H:%M:%SZ}"
    return ObjectLockedError(Reason.CLIP_LOCKED, reason, {"key": key})


def _lock(bucket: Bucket, stored: StoredObject) -> tuple[str | None, datetime | None]:
    """Mode and end of the lock on a version; None without."""
    try:
        with store_errors("show the lock of", stored.key):
            found = bucket.reader.get_object_retention(
                Bucket=bucket.name, Key=stored.key, **version_parameter(stored.version_id)
            ).get("Retention", {})
    except StoreRefusedError:  # NoSuchObjectLockConfiguration: this version was never locked
        return None, None
    return found.get("Mode"), found.get("RetainUntilDate")
