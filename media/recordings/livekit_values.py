"""What LiveKit tells about rooms, participants and recordings, as values of ours.

Times are UTC to the microsecond: LiveKit's nanoseconds, cut off. Identifiers that LiveKit or a participant chose are
bounded and free of control characters (`livekit_reading`), so that they can be stored, logged and compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """One pair of LiveKit's: the name of the key, and the secret that belongs to it."""

    key: str
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class EgressStorage:
    """Where LiveKit's egress uploads to. Without an access key it uses the credentials it was installed with."""

    bucket: str
    region: str
    endpoint_url: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveKitSettings:
    """How to reach LiveKit. The first key signs our calls; webhooks signed with any of them are believed.

    `url` is http(s):// or ws(s)://; `timeout_seconds` is how long one attempt may take.
    """

    url: str
    keys: tuple[ApiKey, ...]
    storage: EgressStorage
    timeout_seconds: float = 10.0


class ParticipantKind(StrEnum):
    """Who or what takes part."""

    STANDARD = "standard"
    INGRESS = "ingress"
    EGRESS = "egress"
    SIP = "sip"
    AGENT = "agent"
    OTHER = "other"


class TrackSource(StrEnum):
    """Where the media of a track comes from."""

    CAMERA = "camera"
    MICROPHONE = "microphone"
    SCREEN_SHARE = "screen_share"
    SCREEN_SHARE_AUDIO = "screen_share_audio"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """One published stream of sound or pictures."""

    sid: str
    source: TrackSource
    is_video: bool
    muted: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Participant:
    """One stay in a room: who reconnects has the same `identity` and another `sid`."""

    identity: str
    sid: str
    name: str
    kind: ParticipantKind
    joined_at: datetime | None
    attributes: Mapping[str, str]
    tracks: tuple[Track, ...]

    @property
    def is_person(self) -> bool:
        """Whether it may be somebody: neither LiveKit's own recorder nor a program that serves the room."""
        return self.kind not in {ParticipantKind.EGRESS, ParticipantKind.AGENT}

    @property
    def shares_screen(self) -> bool:
        """Whether a screen is being shown."""
        return any(track.source is TrackSource.SCREEN_SHARE for track in self.tracks)


class EgressStatus(StrEnum):
    """How far an egress is."""

    STARTING = "starting"
    ACTIVE = "active"
    ENDING = "ending"
    COMPLETE = "complete"
    FAILED = "failed"
    ABORTED = "aborted"
    # Usable, but cut off: its own outcome, not a failure.
    LIMIT_REACHED = "limit_reached"
    # A status that LiveKit got after this was written.
    UNKNOWN = "unknown"


class EgressKind(StrEnum):
    """What an egress records."""

    PARTICIPANT = "participant"
    ROOM_COMPOSITE = "room_composite"
    # Somebody else's: we start no others.
    OTHER = "other"


@dataclass(frozen=True, kw_only=True, slots=True)
class EgressFile:
    """One file that an egress wrote. `started_at` is when its first picture was taken: align to it and nothing else."""

    key: str
    location: str
    started_at: datetime | None
    ended_at: datetime | None
    duration_us: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Egress:
    """LiveKit's recording of one thing into files. `keys` are as they were asked for; `files` are what became of them.

    `identity` is empty unless it records a participant. `error`, `error_code` and `details` are LiveKit's words.
    """

    egress_id: str
    room: str
    status: EgressStatus
    kind: EgressKind
    identity: str
    screen_share: bool
    keys: tuple[str, ...]
    started_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime | None
    error: str
    error_code: int
    details: str
    files: tuple[EgressFile, ...]

    @property
    def is_active(self) -> bool:
        """Whether it records, or is about to, or is still writing."""
        return self.status in {EgressStatus.STARTING, EgressStatus.ACTIVE, EgressStatus.ENDING}

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return not self.is_active and self.status is not EgressStatus.UNKNOWN


class WebhookKind(StrEnum):
    """What LiveKit reports, under LiveKit's own names."""

    ROOM_STARTED = "room_started"
    ROOM_FINISHED = "room_finished"
    PARTICIPANT_JOINED = "participant_joined"
    PARTICIPANT_LEFT = "participant_left"
    PARTICIPANT_CONNECTION_ABORTED = "participant_connection_aborted"
    TRACK_PUBLISHED = "track_published"
    TRACK_UNPUBLISHED = "track_unpublished"
    EGRESS_STARTED = "egress_started"
    EGRESS_UPDATED = "egress_updated"
    EGRESS_ENDED = "egress_ended"
    # Anything else: later versions report more, and that is no error.
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookEvent:
    """One report, verified. `event_id` is the same in every delivery of it; `room` is empty when it names none.

    `participant`, `track` and `egress` are there in every report of a kind that is about one. With a track comes no
    more of its participant than identity and sid.
    """

    event_id: str
    name: str
    kind: WebhookKind
    created_at: datetime
    room: str
    room_sid: str
    participant: Participant | None
    track: Track | None
    egress: Egress | None
