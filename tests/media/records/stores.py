"""The real object store, for tests of what the records and the store have to do with each other."""

import secrets

from media.storage.client import StoreSettings
from media.storage.store import EvidenceStore
from sandbox.objects import Objects


def locking_store(objects: Objects) -> EvidenceStore:
    """An empty bucket of its own, which can lock."""
    settings = StoreSettings(
        bucket=f"evidence-{secrets.token_hex(6)}",
        profile="seaweedfs",
        endpoint_url=objects.url,
        access_key=objects.access_key,
        secret_key=objects.secret_key,
    )
    store = EvidenceStore(settings)
    store.bucket.writer.create_bucket(Bucket=settings.bucket, ObjectLockEnabledForBucket=True)
    return store
