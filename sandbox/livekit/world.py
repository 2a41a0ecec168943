"""Rooms, who is in them, and when each could be seen. No network, no threads: whoever changes them holds a lock."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from livekit.protocol.models import ParticipantInfo, Room, TrackInfo, TrackSource, TrackType

from sandbox.livekit.film import Shown, tile_of

_NANOSECONDS = 1_000_000_000
# The page that films a room shows those who have this attribute with this value, and nobody else.
RECORDING_ATTRIBUTE, RECORDED = "indelible.recording", "yes"
_KINDS = {
    TrackSource.CAMERA: TrackType.VIDEO,
    TrackSource.MICROPHONE: TrackType.AUDIO,
    TrackSource.SCREEN_SHARE: TrackType.VIDEO,
}


class Clock:
    """The time in all that is filmed: the wall clock's, plus what it was moved ahead."""

    def __init__(self) -> None:
        self._ahead = 0

    def now(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns() + self._ahead

    def advance(self, seconds: float) -> None:
        """Jump ahead."""
        self._ahead += int(seconds * _NANOSECONDS)


def new_id(prefix: str) -> str:
    """An identifier as LiveKit makes them."""
    return f"{prefix}{secrets.token_hex(6)}"


@dataclass(slots=True)
class Member:
    """One participant in a room; `number` is their place in the order of first joining."""

    number: int
    info: ParticipantInfo
    shown_since: int | None = None


@dataclass(slots=True)
class RoomState:
    """One room from its opening until it is closed."""

    info: Room
    clock: Clock
    members: dict[str, Member] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    # What a page that films the room has shown and shows no more; times in nanoseconds.
    history: list[Shown] = field(default_factory=list)

    @classmethod
    def opened(cls, name: str, clock: Clock) -> "RoomState":
        """A new room with nobody in it."""
        now = clock.now()
        info = Room(
            sid=new_id("RM_"),
            name=name,
            empty_timeout=300,
            departure_timeout=20,
            creation_time=now // _NANOSECONDS,
            creation_time_ms=now // 1_000_000,
        )
        return cls(info=info, clock=clock)

    def join(self, identity: str, name: str, attributes: Mapping[str, str], kind: ParticipantInfo.Kind) -> Member:
        """Somebody comes in; who was there under that identity must have left."""
        now = self.clock.now()
        info = ParticipantInfo(
            sid=new_id("PA_"),
            identity=identity,
            name=name,
            state=ParticipantInfo.ACTIVE,
            joined_at=now // _NANOSECONDS,
            joined_at_ms=now // 1_000_000,
            attributes=attributes,
            kind=kind,
        )
        member = Member(self.numbers.setdefault(identity, len(self.numbers)), info)
        self.members[identity] = member
        self._count()
        self._show(member)
        return member

    def leave(self, identity: str) -> Member:
        """Somebody goes. Raises KeyError when they are not there."""
        member = self.members.pop(identity)
        self._hide(member)
        member.info.state = ParticipantInfo.DISCONNECTED
        self._count()
        return member

    def publish(self, identity: str, source: TrackSource) -> TrackInfo:
        """Somebody shows or sends something more."""
        member = self.members[identity]
        track = TrackInfo(
            sid=new_id("TR_"),
            source=source,
            type=_KINDS[source],
            name=TrackSource.Name(source).lower(),
            stream="camera",
        )
        member.info.tracks.append(track)
        member.info.is_publisher = True
        return track

    def unpublish(self, identity: str, source: TrackSource) -> TrackInfo:
        """Somebody ends what they showed. Raises StopIteration when they did not."""
        tracks = self.members[identity].info.tracks
        track = next(one for one in tracks if one.source == source)
        kept = TrackInfo()
        kept.CopyFrom(track)
        tracks.remove(track)
        return kept

    def set_attributes(self, identity: str, attributes: Mapping[str, str]) -> None:
        """Change these, delete those that are empty, leave the others."""
        member = self.members[identity]
        for name, value in attributes.items():
            if value:
                member.info.attributes[name] = value
            else:
                member.info.attributes.pop(name, None)
        self._hide(member)
        self._show(member)

    def shown(self, from_ns: int, to_ns: int) -> tuple[Shown, ...]:
        """What a page that has filmed the room in this time has shown, in µs."""
        now = [self._stretch(member, to_ns) for member in self.members.values() if member.shown_since is not None]
        return tuple(
            Shown(number=one.number, tile=one.tile, from_us=max(one.from_us, from_ns) // 1000, to_us=one.to_us // 1000)
            for one in (*self.history, *now)
            if one.to_us > from_ns and one.from_us < to_ns
        )

    def _show(self, member: Member) -> None:
        if member.info.attributes.get(RECORDING_ATTRIBUTE) == RECORDED:
            member.shown_since = self.clock.now()

    def _hide(self, member: Member) -> None:
        if member.shown_since is not None:
            self.history.append(self._stretch(member, self.clock.now()))
            member.shown_since = None

    def _stretch(self, member: Member, until: int) -> Shown:
        tile = tile_of(member.info.attributes, member.number)
        return Shown(number=member.number, tile=tile, from_us=member.shown_since or 0, to_us=until)

    def _count(self) -> None:
        self.info.num_participants = len(self.members)
