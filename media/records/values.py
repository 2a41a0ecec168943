"""What the records hold. Times are microseconds since 1970, UTC; digests are lower-case hex."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from media.storage.values import Attempt, LockMode, StoredObject

ClipState = Literal["REQUESTED", "WAITING", "EXTRACTING", "STORING", "PRESERVED", "FAILED", "DISPOSING", "DISPOSED"]
ArtefactRole = Literal["native", "primary", "thumbnail", "preview", "metadata", "custody"]
AccessKind = Literal["link", "download", "export", "verify"]

# The chain every organisation has, and on which everything is noted.
OPERATIONS_CHAIN_ID = "operations"
# Seven years with two leap days.
DEFAULT_RETENTION_DAYS = 2_557
DEFAULT_LOCK_MODE: LockMode = "GOVERNANCE"
DAY_US = 86_400_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """An event for the ledger, kept in the transaction it tells about and relayed afterwards.

    `subject_id` names what it is about: the clip, hold, access or change of retention. With `kind` and chain it is the
    idempotency key, so the same thing is told once.
    """

    kind: str
    payload: Mapping[str, Any]
    subject_id: UUID
    chain_id: str = OPERATIONS_CHAIN_ID


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxNote:
    """A note that waits for its turn to be relayed. `payload` is the JSON text as it was kept."""

    note_id: int
    organisation_id: str
    chain_id: str
    kind: str
    payload: str
    idempotency_key: str
    attempts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NoteState:
    """What became of a note: `sequence` and `event_hash` once it is on the chain, `refusal` if it never will be."""

    kind: str
    chain_id: str
    subject_id: UUID
    payload: Mapping[str, Any]
    sequence: int | None
    event_hash: str | None
    refusal: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractionRequest:
    """What somebody wants preserved. Organisation, source and incident together make one clip, for ever."""

    organisation_id: str
    source_id: str
    camera_id: str
    incident_id: str
    event_at: int
    asked_from: int
    asked_to: int
    session_chain_id: str | None
    requested_by: str
    requested_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Artefact:
    """One file of a preserved clip, with the digest that its stored bytes were read back to have."""

    name: str
    role: ArtefactRole
    media_type: str
    stored: StoredObject


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """A legal hold on one clip or one recording. It stands while `lifted_at` is None."""

    hold_id: UUID
    clip_id: UUID | None = None
    recording_id: UUID | None = None
    reason: str
    placed_by: str
    placed_at: int
    lift_reason: str | None = None
    lifted_by: str | None = None
    lifted_at: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Disposal:
    """Who decided to dispose of a clip or a recording, why and when."""

    by: str
    reason: str
    decided_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """The record of one clip. `ended_at` is when it was preserved or failed; its retention counts from there."""

    clip_id: UUID
    organisation_id: str
    source_id: str
    camera_id: str
    incident_id: str
    key_prefix: str
    event_at: int
    asked_from: int
    asked_to: int
    session_chain_id: str | None
    requested_by: str
    requested_at: int
    state: ClipState
    attempts: int
    last_error: str
    actual_from: int | None
    actual_to: int | None
    gaps: tuple[Mapping[str, Any], ...]
    facts: Mapping[str, Any] | None
    failure_reason: str | None
    failure_message: str | None
    ended_at: int | None
    retain_until: int | None
    disposal: Disposal | None
    disposed_at: int | None
    artefacts: tuple[Artefact, ...]
    # The holds that stand.
    holds: tuple[Hold, ...]
    # What a failed preservation left in the store for inspection.
    kept: tuple[Attempt, ...]
    # Whether the store enforces lock and holds as they are on record now; None where that is not done yet.
    protection_enforced: bool | None

    @property
    def stored(self) -> tuple[StoredObject, ...]:
        """Every object in the store that belongs to the clip: what disposal must delete."""
        kept = (
            StoredObject(key=one.key, version_id=one.version_id, size=one.size, sha256=one.expected_sha256)
            for one in self.kept
        )
        return (*(artefact.stored for artefact in self.artefacts), *kept)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipFilter:
    """Which clips to list; what is None does not restrict. `event_to` is exclusive."""

    camera_id: str | None = None
    incident_id: str | None = None
    states: tuple[ClipState, ...] | None = None
    event_from: int | None = None
    event_to: int | None = None
    held: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A clip to be made, leased to one worker. `lease_number` tells this lease from every other one.

    `taken_at`, of this process's monotonic clock in seconds, is before the lease began.
    """

    clip: Clip
    worker: str
    lease_number: int
    lease_seconds: float
    taken_at: float

    @property
    def attempt(self) -> int:
        """How often this clip has been taken up, this time included."""
        return self.clip.attempts


@dataclass(frozen=True, kw_only=True, slots=True)
class Preserved:
    """The outcome of a job that succeeded. `facts` is what the documents say beyond the columns."""

    artefacts: tuple[Artefact, ...]
    actual_from: int
    actual_to: int
    gaps: tuple[Mapping[str, Any], ...]
    facts: Mapping[str, Any]
    preserved_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """The outcome of a job that will never succeed, and what it left in the store for inspection."""

    reason: str
    message: str
    failed_at: int
    kept: tuple[Attempt, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """Somebody was given bytes of a clip, or an address that gives them."""

    access_id: UUID
    clip_id: UUID
    kind: AccessKind
    who: str
    at: int
    # None: all of them.
    artefact: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """How long an organisation keeps clips, and how the store locks them. Without `change_id` it is the default."""

    organisation_id: str
    days: int = DEFAULT_RETENTION_DAYS
    lock_mode: LockMode = DEFAULT_LOCK_MODE
    change_id: UUID | None = None
    reason: str = ""
    changed_by: str = ""
    changed_at: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Protection:
    """How the store should guard a clip's or a recording's objects. The two numbers say of which moment that is."""

    subject_id: UUID
    organisation_id: str
    number: int
    objects: tuple[StoredObject, ...]
    retain_until: int
    lock_mode: LockMode
    held: bool
    retention_number: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """How much work waits: for the metrics."""

    clips: int
    oldest_clip_at: int | None
    # Steps of recordings' processing.
    steps: int
    notes: int
    disposals: int
    unprotected: int


class LeaseLostError(Exception):
    """The job's lease ran out or was taken over. Whatever this worker still does for it counts for nothing."""
