"""LiveKit's messages as values of ours. Whatever cannot be one raises ValueError: every text in them is hostile.

Participants choose names and attributes, and whoever holds a key chooses the rest. A NUL would be refused by the
database much later, and a line break would forge a line of a log.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Literal

from livekit.protocol.egress import EgressInfo, FileInfo
from livekit.protocol.egress import EgressStatus as WireStatus
from livekit.protocol.models import ParticipantInfo, TrackInfo, TrackType
from livekit.protocol.models import TrackSource as WireSource
from livekit.protocol.webhook import WebhookEvent as WireEvent

from media.recordings.livekit_values import (
    Egress,
    EgressFile,
    EgressKind,
    EgressStatus,
    Participant,
    ParticipantKind,
    Track,
    TrackSource,
    WebhookEvent,
    WebhookKind,
)

# LiveKit itself allows 256 for rooms and identities.
MAX_IDENTIFIER_CHARACTERS = 256
MAX_KEY_CHARACTERS = 1024  # as S3
MAX_EVENT_ID_CHARACTERS = 200  # as the database remembers; LiveKit's have 15
MAX_TEXT_CHARACTERS = 1000
# LiveKit's own bound of all attributes together is 64 KiB.
MAX_ATTRIBUTES = 256
MAX_TRACKS = 256
MAX_FILES = 64
# What an event may hold (RFC 7493): a greater one would be refused by every chain, for ever.
MAX_NUMBER = 2**53 - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_SECONDS = 253_402_300_799  # the last second of the year 9999
_NANOSECONDS = 1_000_000_000

_STATUSES: Mapping[int, EgressStatus] = MappingProxyType(
    {
        WireStatus.EGRESS_STARTING: EgressStatus.STARTING,
        WireStatus.EGRESS_ACTIVE: EgressStatus.ACTIVE,
        WireStatus.EGRESS_ENDING: EgressStatus.ENDING,
        WireStatus.EGRESS_COMPLETE: EgressStatus.COMPLETE,
        WireStatus.EGRESS_FAILED: EgressStatus.FAILED,
        WireStatus.EGRESS_ABORTED: EgressStatus.ABORTED,
        WireStatus.EGRESS_LIMIT_REACHED: EgressStatus.LIMIT_REACHED,
    }
)
_KINDS: Mapping[int, ParticipantKind] = MappingProxyType(
    {
        ParticipantInfo.STANDARD: ParticipantKind.STANDARD,
        ParticipantInfo.INGRESS: ParticipantKind.INGRESS,
        ParticipantInfo.EGRESS: ParticipantKind.EGRESS,
        ParticipantInfo.SIP: ParticipantKind.SIP,
        ParticipantInfo.AGENT: ParticipantKind.AGENT,
    }
)
_SOURCES: Mapping[int, TrackSource] = MappingProxyType(
    {
        WireSource.CAMERA: TrackSource.CAMERA,
        WireSource.MICROPHONE: TrackSource.MICROPHONE,
        WireSource.SCREEN_SHARE: TrackSource.SCREEN_SHARE,
        WireSource.SCREEN_SHARE_AUDIO: TrackSource.SCREEN_SHARE_AUDIO,
    }
)
# What reports about rooms, participants and so on cannot do without.
_PARTS: Mapping[str, tuple[Literal["room", "participant", "track", "egress_info"], ...]] = MappingProxyType(
    {
        "room": ("room",),
        "participant": ("room", "participant"),
        "track": ("room", "participant", "track"),
        "egress": ("egress_info",),
    }
)


def read_event(wire: WireEvent) -> WebhookEvent:
    """A report. Raises ValueError when its id, name, time or what it is about is missing or cannot be read."""
    name = _identifier(wire.event, "event")
    for part in _PARTS.get(name.partition("_")[0], ()):
        # The library reads any JSON in a part's place as an empty part.
        if not wire.HasField(part) or (part == "room" and not wire.room.name):
            raise ValueError(f"{part} is missing")
    created_at = instant(wire.created_at * _NANOSECONDS, "createdAt")
    if created_at is None:
        raise ValueError("createdAt is missing")
    egress = read_egress(wire.egress_info) if wire.HasField("egress_info") else None
    return WebhookEvent(
        event_id=_identifier(wire.id, "id", MAX_EVENT_ID_CHARACTERS),
        name=name,
        kind=WebhookKind(name) if name in set(WebhookKind) else WebhookKind.UNKNOWN,
        created_at=created_at,
        room=_optional(wire.room.name, "room.name") or (egress.room if egress else ""),
        room_sid=_optional(wire.room.sid, "room.sid"),
        participant=read_participant(wire.participant) if wire.HasField("participant") else None,
        track=read_track(wire.track) if wire.HasField("track") else None,
        egress=egress,
    )


def read_participant(wire: ParticipantInfo) -> Participant:
    """A participant. Raises ValueError."""
    _require_at_most(MAX_ATTRIBUTES, len(wire.attributes), "attributes")
    _require_at_most(MAX_TRACKS, len(wire.tracks), "tracks")
    # LiveKit's older seconds are kept beside the newer milliseconds.
    joined = wire.joined_at_ms * 1_000_000 or wire.joined_at * _NANOSECONDS
    attributes = {_identifier(name, "attribute"): _text(value) for name, value in wire.attributes.items()}
    return Participant(
        identity=_identifier(wire.identity, "identity"),
        sid=_optional(wire.sid, "sid"),
        name=_text(wire.name),
        kind=_KINDS.get(wire.kind, ParticipantKind.OTHER),
        joined_at=instant(joined, "joinedAt"),
        attributes=MappingProxyType(attributes),
        tracks=tuple(map(read_track, wire.tracks)),
    )


def read_track(wire: TrackInfo) -> Track:
    """A track. Raises ValueError."""
    return Track(
        sid=_identifier(wire.sid, "track.sid"),
        source=_SOURCES.get(wire.source, TrackSource.OTHER),
        is_video=wire.type == TrackType.VIDEO,
        muted=wire.muted,
    )


def read_egress(wire: EgressInfo) -> Egress:
    """An egress. Raises ValueError."""
    kind, identity, screen_share, keys = _request_of(wire)
    _require_at_most(MAX_FILES, len(wire.file_results), "fileResults")
    return Egress(
        egress_id=_identifier(wire.egress_id, "egressId"),
        room=_optional(wire.room_name, "roomName"),
        status=_STATUSES.get(wire.status, EgressStatus.UNKNOWN),
        kind=kind,
        identity=identity,
        screen_share=screen_share,
        keys=keys,
        started_at=instant(wire.started_at, "startedAt"),
        ended_at=instant(wire.ended_at, "endedAt"),
        updated_at=instant(wire.updated_at, "updatedAt"),
        error=_text(wire.error),
        error_code=wire.error_code,
        details=_text(wire.details),
        files=tuple(map(_read_file, wire.file_results)),
    )


def instant(nanoseconds: int, what: str) -> datetime | None:
    """A time of LiveKit's, cut off to microseconds; None for 0, which says "not yet". Raises ValueError."""
    if nanoseconds == 0:
        return None
    if not 0 < nanoseconds <= _LATEST_SECONDS * _NANOSECONDS:
        raise ValueError(f"{what} is not a time")
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def _request_of(wire: EgressInfo) -> tuple[EgressKind, str, bool, tuple[str, ...]]:
    """What was asked for: the kind, whose, whether their screen, and the keys of the files."""
    asked = wire.WhichOneof("request")
    if asked == "participant":
        request = wire.participant
        _require_at_most(MAX_FILES, len(request.file_outputs), "fileOutputs")
        keys = tuple(_key(output.filepath) for output in request.file_outputs)
        return EgressKind.PARTICIPANT, _identifier(request.identity, "identity"), request.screen_share, keys
    if asked == "room_composite":
        _require_at_most(MAX_FILES, len(wire.room_composite.file_outputs), "fileOutputs")
        keys = tuple(_key(output.filepath) for output in wire.room_composite.file_outputs)
        return EgressKind.ROOM_COMPOSITE, "", False, keys
    return EgressKind.OTHER, "", False, ()


def _read_file(wire: FileInfo) -> EgressFile:
    if not (0 <= wire.size <= MAX_NUMBER and 0 <= wire.duration // 1000 <= MAX_NUMBER):
        raise ValueError("a file has a size or duration that none can have")
    return EgressFile(
        key=_key(wire.filename),
        location=_text(wire.location),
        started_at=instant(wire.started_at, "file.startedAt"),
        ended_at=instant(wire.ended_at, "file.endedAt"),
        duration_us=wire.duration // 1000,
        size=wire.size,
    )


def _identifier(text: str, what: str, longest: int = MAX_IDENTIFIER_CHARACTERS) -> str:
    if not text:
        raise ValueError(f"{what} is missing")
    return _optional(text, what, longest)


def _optional(text: str, what: str, longest: int = MAX_IDENTIFIER_CHARACTERS) -> str:
    if len(text) > longest:
        raise ValueError(f"{what} is longer than {longest} characters")
    if not text.isprintable():
        raise ValueError(f"{what} has characters that cannot be printed")
    return text


def _key(text: str) -> str:
    return _optional(text, "a file's key", MAX_KEY_CHARACTERS)


def _text(text: str) -> str:
    """Words for people: cut off, and free of what cannot be printed."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)[
        :MAX_TEXT_CHARACTERS
    ]


def _require_at_most(most: int, count: int, what: str) -> None:
    if count > most:
        raise ValueError(f"more than {most} {what}")
