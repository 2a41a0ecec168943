"""What the processing of recordings reads and writes. Times: microseconds since 1970, UTC; digests: lower-case hex."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from media.records.recording_values import Member
from media.storage.values import StoredObject

EgressKind = Literal["participant", "composite"]
EgressOutcome = Literal["COMPLETE", "CUT_BY_LIMIT", "FAILED", "ABORTED", "NEVER_FINISHED"]
CompositeWay = Literal["FROM_FILES", "ROOM"]
# The steps of a recording's processing, each a job of its own: media/recordings/process.py.
Task = Literal["acquire", "participant", "composite", "complete", "settle"]
TaskState = Literal["OPEN", "DONE", "FAILED"]
FileRole = Literal["composite", "participant", "audio", "video", "annotations", "document"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Egress:
    """What LiveKit was asked to record, of one stay of a participant or of the room, and what it said became of it.

    `stay` counts those of one tile. `raw_key` is where LiveKit was told to put the file. `file_started_at` and
    `stated_size` are LiveKit's words about the finished file, None where it never said.
    """

    stay_id: UUID
    kind: EgressKind
    # None where LiveKit never answered that it records.
    egress_id: str | None
    raw_key: str
    participant: str | None
    tile: int | None
    stay: int
    file_started_at: int | None
    file_ended_at: int | None
    stated_size: int | None
    outcome: EgressOutcome | None
    outcome_detail: str
    outcome_at: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Raw:
    """One object that an egress left, as it was read in full. `counts`: it is the one that files are made from.

    `kept_because` is why it stays, None while that is open or where it need not. Once `drop_decided_at` is set, it is
    gone or about to be.
    """

    raw_id: UUID
    stay_id: UUID
    stored: StoredObject
    counts: bool
    read_at: int
    kept_because: str | None = None
    drop_decided_at: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingFile:
    """One finished file, with the digest that its stored bytes were read back to have.

    `raw_sha256`: of the raw objects it was made from. `facts` is its entry in recording.json beyond these members.
    `stored_at` is None until it is on record.
    """

    name: str
    role: FileRole
    media_type: str
    stored: StoredObject
    participant: str | None = None
    tile: int | None = None
    raw_sha256: tuple[str, ...] = ()
    starts_at: int | None = None
    duration_us: int | None = None
    stored_at: int | None = None
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotations:
    """The document of strokes as it was handed over; of no bytes where somebody said that nothing was drawn."""

    data: bytes
    sha256: str
    received_at: int
    received_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedTask:
    """What became of one job."""

    task: Task
    # None for a job about the whole recording.
    stay_id: UUID | None
    state: TaskState
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingWork:
    """A recording with all that its processing needs to know."""

    recording_id: UUID
    organisation_id: str
    session_chain_id: str
    room: str
    operator: str
    composite: CompositeWay
    state: str
    stream_copy: bool
    annotations_expected: bool
    annotations: Annotations | None
    requested_by: str
    started_at: int
    stopped_at: int | None
    stop_reason: str
    key_prefix: str
    # What went wrong so far without ending the recording, in words.
    remarks: tuple[str, ...]
    # Everybody who was ever given a tile, recorded or not.
    members: tuple[Member, ...]
    egresses: tuple[Egress, ...]
    raws: tuple[Raw, ...]
    files: tuple[RecordingFile, ...]
    tasks: tuple[FinishedTask, ...]

    def egress(self, stay_id: UUID) -> Egress:
        """The egress of this stay."""
        return next(egress for egress in self.egresses if egress.stay_id == stay_id)

    def raws_of(self, stay_id: UUID) -> tuple[Raw, ...]:
        """What an egress left."""
        return tuple(raw for raw in self.raws if raw.stay_id == stay_id)

    def source_of(self, stay_id: UUID) -> Raw | None:
        """The object of an egress that files are made from."""
        return next((raw for raw in self.raws_of(stay_id) if raw.counts), None)

    def task(self, task: Task, stay_id: UUID | None) -> FinishedTask | None:
        """What became of one job, None where there was none."""
        return next((one for one in self.tasks if (one.task, one.stay_id) == (task, stay_id)), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingJob:
    """One step of a recording's processing, leased to one worker; the lease as in `Job`."""

    job_id: UUID
    recording: RecordingWork
    task: Task
    stay_id: UUID | None
    attempt: int
    worker: str
    lease_number: int
    lease_seconds: float
    taken_at: float
