"""One egress of the double: what was asked for, how far it is, and the file that comes of it."""

from dataclasses import dataclass

from livekit.protocol.egress import (
    EgressInfo,
    EgressStatus,
    EncodedFileOutput,
    FileInfo,
    ParticipantEgressRequest,
    RoomCompositeEgressRequest,
)

from sandbox.livekit.faults import EgressFaults, Outcome
from sandbox.livekit.film import Filming, film_participant, film_room, tiles_in
from sandbox.livekit.world import RoomState, new_id

# The first picture comes after the egress has started: whoever aligns to the wrong time is off by so much.
FIRST_PICTURE_NS = 40_000_000
# What LiveKit says.
_ENDINGS = {
    Outcome.COMPLETE: (EgressStatus.EGRESS_COMPLETE, "", 0),
    Outcome.LIMIT_REACHED: (EgressStatus.EGRESS_LIMIT_REACHED, "Session limit reached", 413),
    Outcome.FAILED: (EgressStatus.EGRESS_FAILED, "pipeline failed", 500),
    Outcome.ABORTED: (EgressStatus.EGRESS_ABORTED, "Stop called before pipeline could start", 412),
}
_WITH_FILE = frozenset({Outcome.COMPLETE, Outcome.LIMIT_REACHED})

Request = ParticipantEgressRequest | RoomCompositeEgressRequest


@dataclass(slots=True)
class EgressRun:
    """An egress: `info` is what LiveKit tells of it, `request` what was asked for, with its secrets."""

    info: EgressInfo
    room: RoomState
    request: Request
    number: int | None  # the participant's; None records the room
    faults: EgressFaults
    ordered_to_end: bool = False

    @classmethod
    def begun(cls, room: RoomState, request: Request, number: int | None, faults: EgressFaults) -> "EgressRun":
        """A new one, which is starting."""
        now = room.clock.now()
        info = EgressInfo(
            egress_id=new_id("EG_"),
            room_id=room.info.sid,
            room_name=room.info.name,
            status=EgressStatus.EGRESS_STARTING,
            started_at=now,
            updated_at=now,
        )
        told = _without_secrets(request)
        if isinstance(told, ParticipantEgressRequest):
            info.participant.CopyFrom(told)
        else:
            info.room_composite.CopyFrom(told)
        info.file_results.extend(FileInfo(filename=output.filepath) for output in request.file_outputs)
        return cls(info=info, room=room, request=request, number=number, faults=faults)

    @property
    def output(self) -> EncodedFileOutput:
        """What was asked for as the file."""
        return self.request.file_outputs[0]

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.info.status <= EgressStatus.EGRESS_ENDING

    def snapshot(self) -> EgressInfo:
        """What LiveKit tells of it now."""
        told = EgressInfo()
        told.CopyFrom(self.info)
        return told

    def activate(self) -> None:
        """It records."""
        self._change(EgressStatus.EGRESS_ACTIVE)
        self.info.file_results[0].started_at = self.info.started_at + FIRST_PICTURE_NS

    def order_end(self) -> None:
        """It is to end, and writes what it has."""
        self._change(EgressStatus.EGRESS_ENDING)
        self.ordered_to_end = True
        file = self.info.file_results[0]
        file.ended_at = max(self.room.clock.now(), file.started_at + 1)
        file.duration = file.ended_at - file.started_at

    def shoot(self, filming: Filming, *, again: bool = False) -> bytes:
        """The bytes of its file; `again` gives other bytes of the same pictures."""
        file = self.info.file_results[0]
        starts_at, duration = file.started_at // 1000, file.duration // 1000
        crf = 30 if again else 23
        if self.number is not None:
            return film_participant(filming, self.number, starts_at, duration, crf)
        shown = self.room.shown(file.started_at, file.ended_at)
        given = tiles_in(self.request.layout) if isinstance(self.request, RoomCompositeEgressRequest) else frozenset()
        return film_room(filming, shown, starts_at, duration, crf, given)

    def finish(self, outcome: Outcome, *, location: str = "", size: int = 0, error: str = "") -> None:
        """It has ended."""
        status, words, code = _ENDINGS[outcome]
        self._change(status)
        self.info.ended_at = self.info.updated_at
        self.info.error, self.info.error_code = error or words, code
        self.info.details = "End reason: StopEgress API" if self.ordered_to_end and not words else ""
        file = self.info.file_results[0]
        if outcome in _WITH_FILE:
            file.location, file.size = location, size
        elif outcome is Outcome.ABORTED:
            file.CopyFrom(FileInfo(filename=file.filename))

    def _change(self, status: EgressStatus) -> None:
        self.info.status = status
        self.info.updated_at = self.room.clock.now()


def has_file(outcome: Outcome) -> bool:
    """Whether an egress that ends so leaves a file."""
    return outcome in _WITH_FILE


def _without_secrets(request: Request) -> Request:
    """The request as LiveKit shows it to whoever lists recordings."""
    told = type(request)()
    told.CopyFrom(request)  # type: ignore[arg-type]  # the same type by construction
    for output in told.file_outputs:
        if output.WhichOneof("output") == "s3":
            output.s3.access_key = "{access_key}" if output.s3.access_key else ""
            output.s3.secret = "{secret}" if output.s3.secret else ""
    return told
