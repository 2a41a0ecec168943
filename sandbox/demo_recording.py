"""The recording in the demonstration: consented to, joined late, drawn on, awaited on the chain, shown and exported."""

import asyncio
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from google.protobuf.message import Message
from indelible.evidence.v1 import evidence_pb2

from ledger.client import BlockingLedgerClient, ClientError, Event
from media.calling import EvidenceCaller
from media.clips.events import time_text
from media.recordings.events import COMPLETED, FAILED
from media.recordings.tiles import tile_layout
from media.settings import CallerSettings
from sandbox.demo_anchors import DemoError
from sandbox.narrator import Narrator
from sandbox.stack import ORGANISATION_ID, Stack
from sandbox.story import (
    BANNER,
    CLOSING,
    DRAWN,
    FIELD,
    FILMED_BEFORE_SECONDS,
    FILMED_TOGETHER_SECONDS,
    LATE,
    OPERATOR,
    RECORDED_MEANING,
    SHOWN_AFTER_SECONDS,
)

if TYPE_CHECKING:
    from av import VideoFrame

# Encoding takes some seconds; a busy machine may take long to start what encodes.
_WAIT_SECONDS = 150.0
_POLL_SECONDS = 0.1
PICTURE = "recording.png"
_COMPOSITE = "composite.mp4"
# Red above the other two colours of a pixel by so much, of 255, is the pen of the story.
_RED = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorder:
    """Whoever records the session: the integrator, with the operator's token."""

    stack: Stack
    ledger: BlockingLedgerClient
    token: str
    chain_id: str

    @property
    def room(self) -> str:
        """LiveKit's room of the session; its name says whose it is."""
        return f"{ORGANISATION_ID}:{self.chain_id}"

    def gather(self) -> None:
        """Operator and technician meet in a room."""
        livekit = self._livekit()
        livekit.open_room(self.room)
        for participant in (OPERATOR, FIELD):
            livekit.join(self.room, participant)

    def try_without_consent(self) -> str:
        """Try to record before anybody was asked; how that is refused. Raises DemoError if it is not."""
        try:
            self._start()
        except ClientError as refusal:
            if refusal.reason == "CONSENT_MISSING":
                return f"refused. {refusal.message}"
            raise
        raise DemoError("a recording was begun without consent")

    def consent(self, participant: str) -> None:
        """Show somebody the banner, and note that they agree."""
        role = "OPERATOR" if participant == OPERATOR else "FIELD"
        for act in ("BANNER_SHOWN", "GIVEN"):
            request = evidence_pb2.RecordConsentRequest(
                session_chain_id=self.chain_id,
                participant=participant,
                role=evidence_pb2.ParticipantRole.Value(f"PARTICIPANT_ROLE_{role}"),
                act=evidence_pb2.ConsentAct.Value(f"CONSENT_ACT_{act}"),
                notice=BANNER,
                idempotency_key=f"{participant}-{act}".lower(),
            )
            self._call("RecordConsent", request)

    def start(self) -> str:
        """Begin to record; the recording's id, once everybody is being recorded."""
        recording_id = self._start()
        self._await_participants(recording_id, 2)
        return recording_id

    def go_on(self, recording_id: str) -> None:
        """Time passes; somebody joins late, agrees, and is recorded as well."""
        livekit = self._livekit()
        livekit.advance(FILMED_BEFORE_SECONDS)
        livekit.join(self.room, LATE)
        self.consent(LATE)
        self._await_participants(recording_id, 3)
        livekit.advance(FILMED_TOGETHER_SECONDS)

    def stop(self, recording_id: str) -> None:
        """End the recording."""
        request = evidence_pb2.StopRecordingRequest(recording_id=recording_id, reason="inspection finished")
        self._call("StopRecording", request)

    def hand_over_strokes(self, recording_id: str) -> int:
        """Hand over what was drawn; how many strokes."""
        people = self._participants(recording_id)
        latest = max(person.started_at.ToMicroseconds() for person in people)
        document = {
            "format": "indelible-annotations/1",
            "started_at": time_text(latest),
            "strokes": list(DRAWN),
            "actions": [],
        }
        request = evidence_pb2.ProcessRecordingRequest(
            recording_id=recording_id, annotations=json.dumps(document).encode()
        )
        self._call("ProcessRecording", request)
        return len(DRAWN)

    def await_completed(self) -> Event:
        """The event that says the recording is completed. Raises DemoError when there is none, PartEndedError."""

        def ended() -> list[Event]:
            return list(self.ledger.list_events(self.chain_id, kinds=[COMPLETED, FAILED]))

        event: Event = self._await(ended, "no recording was completed")[0]
        if event.kind == FAILED:
            raise DemoError(f"the recording failed: {event.content['message']} [{event.content['reason']}]")
        return event

    def show(self, recording_id: str, target: Path) -> str:
        """Save a picture of the composite as a PNG file; what is on it. Raises DemoError if the strokes are not."""
        import av  # noqa: PLC0415 - clips and recordings need it, the rest of the demonstration does not

        link = self._call(
            "CreateRecordingLink", evidence_pb2.CreateRecordingLinkRequest(recording_id=recording_id, file=_COMPOSITE)
        )
        answer = httpx.get(link.url, timeout=_WAIT_SECONDS).raise_for_status()
        begun = [person.started_at.ToMicroseconds() for person in self._participants(recording_id)]
        # Everybody is there, and everything is drawn.
        at = (max(begun) - min(begun)) / 1_000_000 + SHOWN_AFTER_SECONDS
        with av.open(io.BytesIO(answer.content), "r") as container:
            frame = next(one for one in container.decode(video=0) if one.time is not None and one.time >= at)
        drawn = _strokes_on(frame)
        if drawn != len(DRAWN):
            raise DemoError(f"{drawn} of {len(DRAWN)} strokes are on the picture")
        _save(frame, target)
        return f"{drawn} strokes, in the tiles that they were drawn in, {at:.1f} s into {_COMPOSITE}"

    def export(self, recording_id: str, target: Path) -> None:
        """Write the bundle of the session's chain with the recording in it. Raises ClientError."""
        request = evidence_pb2.ExportRecordingRequest(recording_id=recording_id)

        async def export() -> None:
            async with self._service() as service:
                await service.export(request, target)

        asyncio.run(export())

    def _start(self) -> str:
        request = evidence_pb2.StartRecordingRequest(
            session_chain_id=self.chain_id, room=self.room, operator=OPERATOR, annotations_expected=True
        )
        return str(self._call("StartRecording", request).recording.recording_id)

    def _participants(self, recording_id: str) -> Sequence[Any]:
        request = evidence_pb2.GetRecordingRequest(recording_id=recording_id)
        return list(self._call("GetRecording", request).recording.participants)

    def _await_participants(self, recording_id: str, count: int) -> None:
        def all_there() -> bool:
            people = self._participants(recording_id)
            return sum(1 for person in people if person.HasField("started_at")) == count

        self._await(all_there, f"LiveKit does not record {count} participants")

    def _await(self, find: Callable[[], Any], otherwise: str) -> Any:
        deadline = time.monotonic() + _WAIT_SECONDS
        while not (found := find()):
            if time.monotonic() > deadline:
                raise DemoError(f"{otherwise}, {_WAIT_SECONDS:g} seconds long")
            self.stack.check()
            time.sleep(_POLL_SECONDS)
        return found

    def _livekit(self) -> Any:
        if self.stack.livekit is None:
            raise DemoError("there is no LiveKit here")
        return self.stack.livekit

    def _call(self, method: str, request: Message) -> Any:
        async def call() -> Any:
            async with self._service() as service:
                return await service.call(method, request)

        return asyncio.run(call())

    def _service(self) -> EvidenceCaller:
        address = self.stack.evidence.address
        return EvidenceCaller(CallerSettings(address=address, token=self.token, certificate_authority=None))


def tell_recording(narrator: Narrator, recorder: Recorder) -> str:
    """Ask everybody, record, and stop; the recording's id."""
    narrator.step(
        "Record the call, with everybody's consent",
        "Nobody is recorded who was not asked: each consent is an event of the chain, and the database itself refuses "
        "a recording without them.",
    )
    recorder.gather()
    narrator.line(f"Recording before anybody was asked: {recorder.try_without_consent()}")
    for participant in (OPERATOR, FIELD):
        recorder.consent(participant)
    recording_id = recorder.start()
    narrator.line(f"{OPERATOR} and {FIELD} agreed, and are recorded: {recording_id}")
    recorder.go_on(recording_id)
    narrator.line(f"{LATE} joined late, agreed, and is recorded as well; the picture makes room for a third.")
    recorder.stop(recording_id)
    return recording_id


def tell_end(directory: Path, narrator: Narrator, recorder: Recorder, recording_id: str) -> None:
    """End the session before the recording's files are ready, and wait for them."""
    chain, receipt = recorder.ledger.end_session(recorder.chain_id, CLOSING)
    if [item.item_id for item in chain.pending] != [recording_id]:
        raise DemoError(f"the session ended with {chain.pending} pending, not with the recording")
    digest = receipt.event_hashes[0].hex()
    narrator.event(chain.event_count, "grpc", "session.ended", digest, "Over, and anchored at once as it stands.")
    narrator.line(
        "The recording is still being processed: the chain takes its events, and no others, until it is done."
    )
    narrator.line(f"The operator's {recorder.hand_over_strokes(recording_id)} strokes are handed over, and burned in.")
    event = recorder.await_completed()
    narrator.event(event.sequence, "grpc", event.kind, event.hash.hex(), RECORDED_MEANING)
    for artefact in event.content["artefacts"]:
        narrator.line(f"{artefact['size']:>8} bytes  {artefact['name']:<23} {artefact['sha256'][:16]}…")
    narrator.line(f"On this picture: {recorder.show(recording_id, directory / PICTURE)}.")
    narrator.line(str(directory / PICTURE))


def _strokes_on(frame: "VideoFrame") -> int:
    """How many of the story's strokes are red where they were drawn."""
    pixels = frame.to_ndarray(format="rgb24").astype(int)
    layout = tile_layout([0, 1, 2], frame.width, frame.height)
    found = 0
    for stroke in DRAWN:
        rect = layout[stroke["tile"]]
        x, y, _ = stroke["points"][0]
        red, green, blue = pixels[rect.y + round(y * (rect.height - 1)), rect.x + round(x * (rect.width - 1))]
        found += bool(red - max(green, blue) > _RED)
    return found


def _save(frame: "VideoFrame", target: Path) -> None:
    import av  # noqa: PLC0415 - as above

    with av.open(str(target), "w", format="image2", options={"update": "1"}) as output:
        stream = output.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "rgb24"
        picture = frame.reformat(format="rgb24")
        picture.pts = None
        output.mux([*stream.encode(picture), *stream.encode(None)])
