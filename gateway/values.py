"""What the gateway gives out, whatever the door: REST, GraphQL and webhooks show these values and no others.

Digests are lower-case hexadecimal, moments are UTC. JSON objects travel as the bytes they were hashed as, so that
nobody re-serialises evidence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field, WithJsonSchema

Item = TypeVar("Item")

Hex32 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="32 bytes in hexadecimal.")]
JsonObject = Annotated[bytes, WithJsonSchema({"type": "object", "description": "Any JSON object."})]

ChainState = Literal["open", "ended", "closed"]
ClipState = Literal[
    "requested", "waiting", "extracting", "storing", "preserved", "failed", "disposing", "disposed", "unspecified"
]
LockMode = Literal["none", "governance", "compliance", "unspecified"]
RestoreState = Literal["not_needed", "asked", "ready", "unspecified"]
ConsentAct = Literal["banner_shown", "given", "refused", "withdrawn", "unspecified"]
ParticipantRole = Literal["operator", "field", "unspecified"]
CompositeWay = Literal["from_files", "room", "unspecified"]
RecordingState = Literal[
    "starting",
    "recording",
    "stopping",
    "waiting",
    "processing",
    "completed",
    "failed",
    "disposing",
    "disposed",
    "unspecified",
]
EgressOutcome = Literal["complete", "cut_by_limit", "failed", "aborted", "never_finished", "unspecified"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[Item]):
    """Some of a list, and what to send as `cursor` for the rest; null on the last page."""

    items: tuple[Item, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Bytes:
    """A file in pieces, and what to call it. Whoever takes it closes `pieces` in the end."""

    pieces: Iterator[bytes]
    name: str


# The ledger


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingItem:
    """A recording or clip that was begun by the event `since_sequence` of a session and is not finished."""

    type: str
    item_id: str
    since_sequence: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A session's chain, or the organisation's operations chain, as it stands."""

    session_id: str
    type: Literal["session", "operations"]
    state: ChainState
    subject: JsonObject
    event_count: int
    head: Hex32
    opened_at: datetime
    ended_at: datetime | None
    closes_by: datetime | None
    closed_at: datetime | None
    pending: tuple[PendingItem, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """The ledger's signed word that it accepted events (docs/spec/receipt.md)."""

    session_id: str
    first_sequence: int
    last_sequence: int
    event_hashes: tuple[Hex32, ...]
    signed_note: str
    occurred_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A receipt, and whether the ledger had given it before."""

    receipt: Receipt
    replayed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionChange:
    """A session after it was opened, ended or closed, and the receipt of that."""

    session: Session
    receipt: Receipt


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One event of a chain; `payload` is canonical JSON, exactly as hashed."""

    sequence: int
    prev_hash: Hex32
    kind: str
    payload: JsonObject
    occurred_at: datetime
    hash: Hex32


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent:
    """An event to append; `sealed_members` names top-level members that are hashed as salted digests."""

    kind: str
    payload: JsonObject
    sealed_members: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchor:
    """Outside evidence for one checkpoint. `anchored_at` is the authority's time."""

    sequence: int
    digest: Hex32
    backend: str
    authority: str
    state: Literal["pending", "obtained"]
    attempts: int
    last_error: str
    requested_at: datetime
    next_attempt_at: datetime | None
    obtained_at: datetime | None
    anchored_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainCheck:
    """The ledger's own re-check of a chain; `first_divergent_sequence` is null when it is whole."""

    ok: bool
    event_count: int
    head: Hex32
    first_divergent_sequence: int | None
    divergence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """How many sealed members were erased now, and the receipt of the operations chain's note, if there were any."""

    erased_count: int
    receipt: Receipt | None


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyLink:
    """A link that shows a session to whoever holds it. `url` is empty where the ledger knows no public address."""

    link_id: str
    session_id: str
    token: str
    url: str
    expires_at: datetime
    head: Hex32


@dataclass(frozen=True, kw_only=True, slots=True)
class RevokedLink:
    """A link that was ended, and when it first was."""

    link_id: str
    revoked_at: datetime


# Clips


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """A stretch without footage inside the asked window."""

    starts_at: datetime
    ends_at: datetime
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """One file of a clip as it stands on record; `size` in bytes."""

    name: str
    size: int
    sha256: Hex32


@dataclass(frozen=True, kw_only=True, slots=True)
class LegalHold:
    """A hold on one clip or one recording; what tells of its lift is null while it stands."""

    hold_id: str
    clip_id: str | None
    reason: str
    placed_by: str
    placed_at: datetime
    lift_reason: str | None
    lifted_by: str | None
    lifted_at: datetime | None
    recording_id: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedHold:
    """A hold that was placed; `mirrored`: the object store enforces it too."""

    hold: LegalHold
    mirrored: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why something could not be made: a reason for programs, a sentence for people."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """The evidence of one incident on one camera (docs/spec/clip.md)."""

    clip_id: str
    source: str
    camera: str
    incident: str
    state: ClipState
    event_at: datetime
    asked_from: datetime
    asked_to: datetime
    actual_from: datetime | None
    actual_to: datetime | None
    gaps: tuple[Gap, ...]
    files: tuple[StoredFile, ...]
    holds: tuple[LegalHold, ...]
    failure: Failure | None
    session_id: str | None
    requested_by: str
    requested_at: datetime
    preserved_at: datetime | None
    retain_until: datetime | None
    disposed_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestedClip:
    """A clip, and whether this request was the first to ask for it."""

    clip: Clip
    created: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadLink:
    """An address that gives one file to whoever holds it; the bytes must have `sha256`. `size` in bytes."""

    url: str
    expires_at: datetime
    sha256: Hex32
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCheck:
    """One file, read back from the store now. `found_sha256` is null when the store gave nothing."""

    name: str
    ok: bool
    expected_sha256: Hex32
    found_sha256: Hex32 | None
    problem: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredCheck:
    """Whether every file of a clip or a recording still is what it was."""

    ok: bool
    files: tuple[FileCheck, ...]
    checked_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRestore:
    """How far the return of one archived file is."""

    name: str
    state: RestoreState
    ready_until: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRestore:
    """How far the return of an archived clip is."""

    files: tuple[FileRestore, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """How long clips and recordings are kept, in days; `set_by` is null while the product's default applies."""

    days: int
    lock_mode: LockMode
    set_by: str | None
    set_at: datetime | None


# Recordings


@dataclass(frozen=True, kw_only=True, slots=True)
class Consent:
    """What somebody in a session did about being recorded."""

    participant: str
    role: ParticipantRole
    act: ConsentAct
    notice: str
    recorded_at: datetime
    recorded_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedConsent:
    """A consent on the session's chain, and the recordings that it stopped."""

    consent: Consent
    stopped_recording_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ParticipantRecording:
    """One stay of a participant in a recording."""

    participant: str
    role: ParticipantRole
    tile: int
    outcome: EgressOutcome
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingFile:
    """One finished file of a recording; `size` in bytes, `duration_seconds` null where it has none."""

    name: str
    participant: str | None
    size: int
    sha256: Hex32
    raw_sha256: Hex32 | None
    starts_at: datetime | None
    duration_seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """The media of one session, or of one stretch of it."""

    recording_id: str
    session_id: str
    room: str
    operator: str
    composite: CompositeWay
    state: RecordingState
    annotations_expected: bool
    participants: tuple[ParticipantRecording, ...]
    files: tuple[RecordingFile, ...]
    failure: Failure | None
    notes: tuple[str, ...]
    requested_by: str
    started_at: datetime | None
    stopped_at: datetime | None
    stop_reason: str | None
    completed_at: datetime | None
    retain_until: datetime | None
    disposed_at: datetime | None
    holds: tuple[LegalHold, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StartedRecording:
    """A recording, and whether it was started now."""

    recording: Recording
    created: bool
