"""Objects that a lifecycle rule has moved to an archive: reading them takes a request first, and hours."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

from media.storage.client import Bucket
from media.storage.errors import StoreRefusedError, store_errors
from media.storage.reading import version_parameter
from media.storage.values import Availability, StoredObject

# Glacier Instant Retrieval (GLACIER_IR) is read like any other.
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html, x-amz-restore
_ONGOING = re.compile(r'ongoing-request="true"')
_EXPIRY = re.compile(r'expiry-date="([^"]+)"')


def availability(bucket: Bucket, stored: StoredObject) -> Availability:
    """Whether an object can be read now. Raises StoredObjectMissingError, StoreUnavailableError, StoreRefusedError."""
    with store_errors("show", stored.key):
        head = bucket.reader.head_object(Bucket=bucket.name, Key=stored.key, **version_parameter(stored.version_id))
    if head.get("StorageClass") not in _ARCHIVES:
        return Availability(state="ready")
    restore = head.get("Restore", "")
    if _ONGOING.search(restore):
        return Availability(state="restoring")
    expiry = _EXPIRY.search(restore)
    if expiry is None:
        return Availability(state="archived")
    try:
        until = parsedate_to_datetime(expiry[1])
    except ValueError:
        return Availability(state="restored")
    return Availability(state="restored", ready_until=int(until.replace(tzinfo=UTC).timestamp()) * 1_000_000)


def restore(bucket: Bucket, stored: StoredObject, *, days: int, tier: str) -> Availability:
    """Ask for a readable copy, for `days`, unless there is one or it was asked for. Returns how far it is.

    Raises StoredObjectMissingError, StoreUnavailableError, StoreRefusedError.
    """
    before = availability(bucket, stored)
    if before.state != "archived":
        return before
    try:
        with store_errors("restore", stored.key):
            bucket.reader.restore_object(
                Bucket=bucket.name,
                Key=stored.key,
                RestoreRequest={"Days": days, "GlacierJobParameters": {"Tier": tier}},  # type: ignore[typeddict-item]  # the store checks the tier
                **version_parameter(stored.version_id),
            )
    except StoreRefusedError as error:
        if error.code != "RestoreAlreadyInProgress":
            raise
    return Availability(state="restoring")
