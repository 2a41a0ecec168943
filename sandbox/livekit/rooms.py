"""A room as tests move it: people come, go, come back, and show their screens."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from livekit.protocol.models import ParticipantInfo, TrackSource

from sandbox.livekit.reports import about_room
from sandbox.livekit.world import Member, RoomState

if TYPE_CHECKING:
    from sandbox.livekit.double import LiveKitDouble


class LiveKitRoom:
    """One room of a running double."""

    def __init__(self, double: "LiveKitDouble", state: RoomState) -> None:
        self._double = double
        self._state = state

    @property
    def name(self) -> str:
        """Its name."""
        return self._state.info.name

    def join(
        self,
        identity: str,
        *,
        name: str = "",
        attributes: Mapping[str, str] | None = None,
        kind: ParticipantInfo.Kind = ParticipantInfo.STANDARD,
        publishes: bool = True,
    ) -> str:
        """Somebody comes in, with camera and microphone unless `publishes` is false; their `sid`."""
        with self._double.lock:
            if identity in self._state.members:
                self._go(identity)  # LiveKit puts out whoever was there under that identity
            member = self._state.join(identity, name or identity, attributes or {}, kind)
            self._double.report(about_room("participant_joined", self._state, member))
            for source in (TrackSource.CAMERA, TrackSource.MICROPHONE) if publishes else ():
                self._publish(member, source)
            return member.info.sid

    def leave(self, identity: str) -> None:
        """Somebody goes; what records them ends."""
        with self._double.lock:
            self._go(identity)
            self._double.end_egress_of(self._state, identity)

    def reconnect(self, identity: str, *, egress_ends: bool = True) -> str:
        """Somebody loses the connection and comes back under the same identity; their new `sid`.

        What records them ends, unless they were away for too short a time to be noticed by it.
        """
        with self._double.lock:
            info = self._state.members[identity].info
            if egress_ends:
                self.leave(identity)
            return self.join(identity, name=info.name, attributes=dict(info.attributes))

    def share_screen(self, identity: str) -> None:
        """Somebody shows their screen."""
        with self._double.lock:
            self._publish(self._state.members[identity], TrackSource.SCREEN_SHARE)

    def stop_sharing(self, identity: str) -> None:
        """They show it no more."""
        with self._double.lock:
            track = self._state.unpublish(identity, TrackSource.SCREEN_SHARE)
            member = self._state.members[identity]
            self._double.report(about_room("track_unpublished", self._state, member, track))

    def close(self) -> None:
        """Everybody goes, everything that records ends, and the room is no more."""
        with self._double.lock:
            for identity in list(self._state.members):
                self.leave(identity)
            self._double.end_egress_of(self._state, None)
            self._double.rooms.pop(self.name, None)
            self._double.report(about_room("room_finished", self._state))

    def _go(self, identity: str) -> None:
        member = self._state.leave(identity)
        self._double.report(about_room("participant_left", self._state, member))

    def _publish(self, member: Member, source: TrackSource) -> None:
        track = self._state.publish(member.info.identity, source)
        self._double.report(about_room("track_published", self._state, member, track))
