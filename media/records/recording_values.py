"""What the records hold of recordings. Times are microseconds since 1970, UTC."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from media.records.values import AccessKind, Disposal, Hold

ConsentAct = Literal["BANNER_SHOWN", "GIVEN", "REFUSED", "WITHDRAWN"]
ParticipantRole = Literal["OPERATOR", "FIELD"]
CompositeWay = Literal["FROM_FILES", "ROOM"]
RecordingState = Literal[
    "STARTING", "RECORDING", "STOPPING", "WAITING", "PROCESSING", "COMPLETED", "FAILED", "DISPOSING", "DISPOSED"
]
StayPart = Literal["participant", "composite"]
StayState = Literal["ASKED", "ACTIVE", "STOPPING", "ENDED"]
EgressOutcome = Literal["COMPLETE", "CUT_BY_LIMIT", "FAILED", "ABORTED", "NEVER_FINISHED"]

RUNNING: tuple[RecordingState, ...] = ("STARTING", "RECORDING")


@dataclass(frozen=True, kw_only=True, slots=True)
class Consent:
    """What somebody in a session did about being recorded, or that they were shown the banner."""

    consent_id: UUID
    organisation_id: str
    session_chain_id: str
    participant: str
    role: ParticipantRole
    act: ConsentAct
    notice: str
    recorded_by: str
    recorded_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """Somebody who takes part in a recording, with the tile that stays theirs."""

    participant: str
    role: ParticipantRole
    tile: int
    first_seen_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFacts:
    """What LiveKit says about the file that an egress wrote; what it did not say is None."""

    started_at: int | None
    ended_at: int | None
    duration_us: int | None
    size: int | None
    location: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stay:
    """One egress: of a participant while they are there, or of the room's composite, which has neither name nor tile.

    `raw_key` is where LiveKit was told to put the file. `number` counts those of one tile. `tried_at` is when LiveKit
    was last asked to start it, `started_at` when it says that it did.
    """

    stay_id: UUID
    recording_id: UUID
    part: StayPart
    participant: str | None
    tile: int | None
    number: int
    raw_key: str
    asked_at: int
    attempts: int = 0
    tried_at: int | None = None
    state: StayState = "ASKED"
    egress_id: str | None = None
    started_at: int | None = None
    stop_reason: str | None = None
    stopped_at: int | None = None
    outcome: EgressOutcome | None = None
    ended_at: int | None = None
    error: str = ""
    file: FileFacts | None = None

    @property
    def is_open(self) -> bool:
        """Whether its outcome is not known yet."""
        return self.state != "ENDED"


@dataclass(frozen=True, kw_only=True, slots=True)
class StayEnd:
    """How an egress ended. `error` is empty where nothing went wrong."""

    outcome: EgressOutcome
    ended_at: int
    error: str = ""
    file: FileFacts | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRecording:
    """What somebody asks to be recorded, with those who were found in the room."""

    recording_id: UUID
    organisation_id: str
    session_chain_id: str
    room: str
    operator: str
    composite: CompositeWay
    annotations_expected: bool
    stream_copy: bool
    requested_by: str
    started_at: int
    members: tuple[Member, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """The record of one recording. `ended_at` is when it was completed or failed; its retention counts from there."""

    recording_id: UUID
    organisation_id: str
    session_chain_id: str
    room: str
    operator: str
    composite: CompositeWay
    annotations_expected: bool
    stream_copy: bool
    key_prefix: str
    requested_by: str
    started_at: int
    state: RecordingState
    stopped_at: int | None
    stopped_by: str | None
    stop_reason: str | None
    failure_reason: str | None
    failure_message: str | None
    ended_at: int | None
    empty_since: int | None
    disposed_at: int | None
    retain_until: int | None
    members: tuple[Member, ...]
    stays: tuple[Stay, ...]
    # What went wrong without ending it, in words.
    remarks: tuple[str, ...]
    # The holds that stand.
    holds: tuple[Hold, ...]
    disposal: Disposal | None

    @property
    def open_stays(self) -> tuple[Stay, ...]:
        """The egresses whose outcome is not known yet."""
        return tuple(stay for stay in self.stays if stay.is_open)

    def member(self, participant: str) -> Member | None:
        """Somebody who takes part, None for anybody else."""
        return next((one for one in self.members if one.participant == participant), None)

    def stays_of(self, participant: str | None) -> tuple[Stay, ...]:
        """The egresses of one participant, or, for None, of the composite; oldest first."""
        return tuple(stay for stay in self.stays if stay.participant == participant)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingFilter:
    """Which recordings to list; what is None does not restrict. `started_to` is exclusive."""

    session_chain_id: str | None = None
    states: tuple[RecordingState, ...] | None = None
    started_from: int | None = None
    started_to: int | None = None
    held: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """A report of LiveKit's about one recording, as it is remembered."""

    event_id: str
    recording_id: UUID
    organisation_id: str
    event: str
    egress_id: str | None
    participant: str | None
    body_sha256: str
    received_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HandedOver:
    """What was drawn in the session, as somebody handed it over; no bytes where nothing was."""

    document: bytes
    handed_by: str
    handed_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingAccess:
    """Somebody was given bytes of a recording, or an address that gives them, or had them read back."""

    access_id: UUID
    recording_id: UUID
    kind: AccessKind
    who: str
    at: int
    file: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def new_id() -> UUID:
    """An id that sorts by time (RFC 9562 version 7), so that neighbours in time are neighbours in an index."""
    number = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
    return UUID(int=number & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)
