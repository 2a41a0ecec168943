"""The real object store, for tests of what the records and the store have to do with each other."""

import secrets

from media.storage.client import StoreSettings
from media.storage.store import EvidenceStore
from sandbox.objects import Objects


def locking_bucket(objects: Objects, endpoint_url: str | None = None) -> StoreSettings:
    """An empty bucket of its own, which can lock, reached at `endpoint_url` or directly."""
    settings = StoreSettings(
        bucket=f"evidence-{secrets.token_hex(6)}",
        profile="seaweedfs",
        endpoint_url=endpoint_url or objects.url,
        access_key=objects.access_key,
        secret_key=objects.secret_key,
    )
    EvidenceStore(settings).bucket.writer.create_bucket(Bucket=settings.bucket, ObjectLockEnabledForBucket=True)
    return settings


def locking_store(objects: Objects) -> EvidenceStore:
    """The store in such a bucket."""
    return EvidenceStore(locking_bucket(objects))
