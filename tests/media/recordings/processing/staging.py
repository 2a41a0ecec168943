"""What tests of processing share: recordings as LiveKit left them, workers, and a ledger's side of the relay."""

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from prometheus_client import CollectorRegistry

from media.clips.events import time_text
from media.clips.sweep import sweep
from media.metrics import WorkerMetrics
from media.recordings.lanes import Lanes
from media.recordings.making import Maker
from media.recordings.plan import Waiting
from media.recordings.process import Studio
from media.records.recording_rows import work_in
from media.records.recording_values import (
    CompositeWay,
    Consent,
    EgressOutcome,
    FileFacts,
    HandedOver,
    Member,
    NewRecording,
    Recording,
    Stay,
    StayEnd,
)
from media.records.recording_work import RecordingWork
from media.records.records import Records
from media.records.transactions import worker_transaction
from media.records.values import Note
from media.storage.keys import raw_recording_key
from media.storage.store import EvidenceStore
from media.video.composite_values import CompositeSettings
from media.video.recording_values import EncodingSettings
from sandbox.livekit.film import Filming, film_participant

FILMING = Filming(width=160, height=90, rate=10)
STARTED_AT = 1_795_000_000_000_000
SECOND = 1_000_000
SESSION = "inspection-7"
SETTINGS = EncodingSettings(preset="ultrafast", threads=1)
COMPOSITE = CompositeSettings(width=320, height=180, frame_rate=10, preset="ultrafast", threads=1)


@dataclass(frozen=True, kw_only=True)
class Left:
    """What became of one egress: `uploads` are the bytes it left, one after the other."""

    tile: int | None = 0
    stay: int = 1
    outcome: EgressOutcome = "COMPLETE"
    uploads: tuple[bytes, ...] | None = None
    starts_after: float = 0.0
    seconds: float = 1.0
    is_told: bool = True
    size: int | None = None
    error: str = ""

    @property
    def starts_at(self) -> int:
        return STARTED_AT + round(self.starts_after * SECOND)

    @property
    def contents(self) -> tuple[bytes, ...]:
        if self.uploads is not None:
            return self.uploads
        return (film(self.tile or 0, self.starts_at, self.seconds),)


def film(number: int, starts_at: int = STARTED_AT, seconds: float = 1.0, crf: int = 30) -> bytes:
    """A participant's file."""
    return film_participant(FILMING, number, starts_at, round(seconds * SECOND), crf)


def stroke(tile: int = 0) -> bytes:
    """A document with one broad red stroke across a tile, drawn a third of a second after the start."""
    points = [[0.2, 0.7, 300], [0.8, 0.7, 310]]
    drawn = {
        "id": "stroke-1",
        "tile": tile,
        "author": "operator",
        "tool": "pen",
        "colour": "#ff0000",
        "opacity": 1,
        "width": 0.1,
        "points": points,
    }
    document = {
        "format": "indelible-annotations/1",
        "started_at": time_text(STARTED_AT),
        "strokes": [drawn],
        "actions": [],
    }
    return json.dumps(document).encode()


@dataclass
class Stage:
    """One bucket and one database, with a worker."""

    records: Records
    store: EvidenceStore
    directory: Path
    # What the chains were told: chain, kind and payload, in order.
    told: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    # As the ledger keeps them: what is told again has no effect.
    keys: set[tuple[str, str]] = field(default_factory=set)

    @property
    def studio(self) -> Studio:
        return Studio(
            jobs=self.records.recording_jobs,
            store=self.store,
            maker=Maker(settings=SETTINGS, composite_settings=COMPOSITE),
            directory=self.directory,
            waiting=Waiting(annotations=0.5, upload=0.5, again=0.1, told=0.02, retry=0.01),
        )

    async def recorded(
        self,
        *left: Left,
        composite: CompositeWay = "FROM_FILES",
        annotations: bytes | None = None,
        expected: bool = False,
        stream_copy: bool = False,
        absent: tuple[int, ...] = (),
    ) -> UUID:
        """A recording that was stopped, all of whose egresses have ended as told; `absent` tiles have none."""
        recording = await self._begun(left, absent, composite, expected=expected, stream_copy=stream_copy)
        for one in left:
            await self._stay(recording, one)
        stopped = self._note("recording.stopped", recording.recording_id)
        await self.records.attendance.stop(recording, by="ann", reason="over", at=now(), note=stopped)
        if annotations is not None:
            handed = HandedOver(document=annotations, handed_by="ann", handed_at=now())
            await self.records.recordings.hand_over("acme", recording.recording_id, handed)
        await self.records.attendance.hand_to_processing(recording)
        return recording.recording_id

    async def processed(self, recording_id: UUID, *, seconds: float = 240) -> RecordingWork:
        """Work, and tell the ledger, until nothing is left to be done."""
        lanes = Lanes(self.studio, WorkerMetrics(CollectorRegistry()), name="one", lease_seconds=300)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await self.advance()
            job = await self.records.recording_jobs.claim(worker="one", lease_seconds=300)
            if job is not None:
                await lanes.work(job)
                continue
            await self.tell()
            work = await self.work_of(recording_id)
            if work.state in {"COMPLETED", "FAILED"} and all(task.state != "OPEN" for task in work.tasks):
                await self.tell()
                return work
            await asyncio.sleep(0.02)
        raise AssertionError(f"not processed: {await self.work_of(recording_id)}")

    async def advance(self) -> None:
        await self.records.recording_jobs.advance(now=now(), annotation_wait_seconds=self.studio.waiting.annotations)

    async def tell(self) -> None:
        """Play the ledger: take every note, in order."""
        while notes := await self.records.due_notes(200):
            for note in notes:
                if (note.chain_id, note.idempotency_key) not in self.keys:
                    self.keys.add((note.chain_id, note.idempotency_key))
                    self.told.append((note.chain_id, note.kind, json.loads(note.payload)))
                digest = hashlib.sha256(str(note.note_id).encode()).hexdigest()
                await self.records.note_sent(note.note_id, sequence=len(self.told), event_hash=digest)

    async def work_of(self, recording_id: UUID) -> RecordingWork:
        async with worker_transaction(self.records.recording_jobs._pool) as connection:
            return await work_in(connection, recording_id)

    async def swept(self) -> int:
        """Go through the store once, as the sweeper does."""
        return await sweep(self.records, self.store, grace_seconds=-60)

    def kinds(self, chain_id: str = SESSION) -> list[str]:
        return [kind for chain, kind, _ in self.told if chain == chain_id]

    def payloads(self, kind: str, chain_id: str = SESSION) -> list[dict[str, Any]]:
        return [payload for chain, told, payload in self.told if (chain, told) == (chain_id, kind)]

    def stored(self, recording_id: UUID) -> dict[str, list[bytes]]:
        """Every object of a recording, with the bytes of each of its versions."""
        found: dict[str, list[bytes]] = {}
        bucket = self.store.bucket
        for one in self.store.list_objects("acme/recordings/"):
            if not one.is_delete_marker and f"/{recording_id}/" in one.key:
                answer = bucket.reader.get_object(Bucket=bucket.name, Key=one.key, VersionId=one.version_id or "null")
                found.setdefault(one.key, []).append(answer["Body"].read())
        return found

    def put(self, key: str, content: bytes) -> None:
        """What LiveKit does at the end of an egress."""
        self.store.bucket.writer.put_object(Bucket=self.store.bucket.name, Key=key, Body=content)

    async def _begun(
        self,
        left: Sequence[Left],
        absent: tuple[int, ...],
        composite: CompositeWay,
        *,
        expected: bool,
        stream_copy: bool,
    ) -> Recording:
        people = sorted({one.tile for one in left if one.tile is not None} | {0, *absent})
        for tile in people:
            consent = Consent(
                consent_id=uuid4(),
                organisation_id="acme",
                session_chain_id=SESSION,
                participant=name_of(tile),
                role="FIELD" if tile else "OPERATOR",
                act="GIVEN",
                notice="banner 1",
                recorded_by="ann",
                recorded_at=STARTED_AT,
            )
            note = self._note("consent.given", consent.consent_id)
            await self.records.recordings.add_consent(consent, idempotency_key=str(consent.consent_id), note=note)
        wanted = NewRecording(
            recording_id=uuid4(),
            organisation_id="acme",
            session_chain_id=SESSION,
            room="acme:room-1",
            operator=name_of(0),
            composite=composite,
            annotations_expected=expected,
            stream_copy=stream_copy,
            requested_by="ann",
            started_at=STARTED_AT,
            members=tuple(
                Member(
                    participant=name_of(tile),
                    role="FIELD" if tile else "OPERATOR",
                    tile=tile,
                    first_seen_at=min([one.starts_at for one in left if one.tile == tile], default=STARTED_AT),
                )
                for tile in people
            ),
        )
        recording = await self.records.recordings.begin(
            wanted, note=self._note("recording.started", wanted.recording_id)
        )
        assert recording is not None
        return recording

    async def _stay(self, recording: Recording, left: Left) -> None:
        """LiveKit is asked for an egress, records, uploads, and says how it ended."""
        attendance, part = self.records.attendance, "composite" if left.tile is None else "participant"
        stay = Stay(
            stay_id=uuid4(),
            recording_id=recording.recording_id,
            part="composite" if left.tile is None else "participant",
            participant=None if left.tile is None else name_of(left.tile),
            tile=left.tile,
            number=left.stay,
            raw_key=raw_recording_key("acme", recording.recording_id, left.tile, left.stay),
            asked_at=STARTED_AT,
        )
        assert await attendance.ask(recording, stay)
        started = self._note(f"recording.{part}_started", stay.stay_id)
        egress_id = f"EG_{stay.stay_id.hex[:12]}"
        await attendance.note_active(recording, stay, egress_id=egress_id, started_at=STARTED_AT, note=started)
        for content in left.contents:
            self.put(stay.raw_key, content)
        size = left.size if left.size is not None else len(left.contents[-1]) if left.contents else None
        file = FileFacts(
            started_at=left.starts_at,
            ended_at=left.starts_at + round(left.seconds * SECOND),
            duration_us=round(left.seconds * SECOND),
            size=size,
            location=None,
        )
        end = StayEnd(outcome=left.outcome, ended_at=now(), error=left.error, file=file if left.is_told else None)
        ended = self._note(f"recording.{part}_ended", stay.stay_id)
        await attendance.end_stay(recording, stay, end, ended)

    @staticmethod
    def _note(kind: str, subject: UUID) -> Note:
        return Note(kind=kind, payload={"recording_id": str(subject)}, subject_id=subject, chain_id=SESSION)


def name_of(tile: int) -> str:
    return f"field-{tile}" if tile else "operator"


def now() -> int:
    return time.time_ns() // 1000
