"""What the evidence store says about objects. Times are microseconds since 1970, UTC; digests are lower-case hex."""

from dataclasses import dataclass
from typing import Literal

LockMode = Literal["NONE", "GOVERNANCE", "COMPLIANCE"]
Profile = Literal["aws", "r2", "seaweedfs"]
AvailabilityState = Literal["ready", "archived", "restoring", "restored"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """An object as it was sent and read back: the digest is ours, never the store's."""

    key: str
    # None in a bucket that keeps no versions.
    version_id: str | None
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadBack:
    """What a full read of an object gave."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """An upload that did not read back as it was sent, for whoever looks into it."""

    key: str
    version_id: str | None
    size: int
    expected_sha256: str
    # None when nothing could be read.
    found_size: int | None
    found_sha256: str | None
    problem: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedObject:
    """One version of an object, or a marker that hides older ones, as the store lists it."""

    key: str
    version_id: str | None
    size: int
    modified_at: int
    is_delete_marker: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Availability:
    """Whether an object can be read now.

    "ready": yes. "archived": it must be restored first. "restoring": that was asked for. "restored": yes, until
    `ready_until`.
    """

    state: AvailabilityState
    ready_until: int | None = None

    @property
    def is_readable(self) -> bool:
        """Whether a read would give bytes now."""
        return self.state in {"ready", "restored"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a bucket was seen to do, by trying."""

    versioning: bool
    # Whether it stops the deletion of a locked version, and of one under a legal hold.
    object_lock: bool
    legal_hold: bool
    # Whether our key may delete a version that is locked in GOVERNANCE mode.
    bypass_governance: bool
    conditional_writes: bool
    sha256_checksums: bool
