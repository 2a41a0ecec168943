"""A session being recorded: real PostgreSQL, ledger and object store, LiveKit's double, and the use cases on top."""

import asyncio
import contextlib
import dataclasses
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from livekit.protocol.egress import EgressInfo, EgressStatus

from ledger.client import LedgerClient
from media.clips.relay import relay_once
from media.errors import MediaError, Reason
from media.ledgers import Ledgers
from media.recordings.attend import attend
from media.recordings.consent import ConsentWish, record_consent
from media.recordings.control import Control, ControlLimits
from media.recordings.livekit import LiveKit
from media.recordings.livekit_values import ApiKey, EgressStorage, LiveKitSettings
from media.recordings.start import StartWish, start_recording
from media.recordings.stop import stop_recording
from media.recordings.watch import attend_due
from media.recordings.webhook import take_webhook
from media.records.recording_values import Recording, RecordingFilter, Stay
from media.records.records import Records
from sandbox.database import Database
from sandbox.issuer import EVERY_SCOPE
from sandbox.livekit import Delivery, LiveKitDouble, LiveKitRoom
from tests.service.serving import FOREIGN_ORGANISATION, ORGANISATION, Service

OPERATOR = "ann"
# A busy machine is no outage. Who wants to see one, or the end of a limit, says so, or moves the clock.
LIVEKIT_SECONDS = 20.0
LIMITS = ControlLimits(ledger=30.0, patience=60.0)
_ALL_ARE_DUE = """
UPDATE evidence.recordings SET next_attempt_at = now() WHERE state IN ('STARTING', 'RECORDING', 'STOPPING')
"""
_OUTCOMES = {
    EgressStatus.EGRESS_COMPLETE: "complete",
    EgressStatus.EGRESS_LIMIT_REACHED: "cut_by_limit",
    EgressStatus.EGRESS_FAILED: "failed",
    EgressStatus.EGRESS_ABORTED: "aborted",
}


class Studio:
    """Everything around, and what tests do with it. Time goes on as it does, and jumps with `later`."""

    def __init__(self, control: Control, settings: LiveKitSettings, double: LiveKitDouble, service: Service) -> None:
        self.settings = settings
        self.jump_us = 0
        self.dsn = service.database.evidence_worker_dsn
        self.double = double
        self.service = service
        self.control = dataclasses.replace(control, clock=self.now)
        self.taken = 0

    def now(self) -> int:
        return time.time_ns() // 1000 + self.jump_us

    def later(self, seconds: float) -> None:
        """Let so much time have gone by for us; LiveKit's clock is its own."""
        self.jump_us += round(seconds * 1_000_000)

    def limited(self, **limits: float) -> None:
        changed = dataclasses.replace(self.control.limits, **limits)
        self.control = dataclasses.replace(self.control, limits=changed)

    @contextlib.asynccontextmanager
    async def impatient(self, seconds: float) -> AsyncIterator[None]:
        """Meanwhile LiveKit has only so long for an answer."""
        before = self.control
        settings = dataclasses.replace(self.settings, timeout_seconds=seconds)
        async with LiveKit(settings) as livekit:
            self.control = dataclasses.replace(before, livekit=livekit)
            yield
        self.control = before

    def another_process(self) -> Control:
        return dataclasses.replace(self.control, owner=secrets.token_hex(8))

    @contextlib.asynccontextmanager
    async def ledger(self, organisation: str = ORGANISATION) -> AsyncIterator[LedgerClient]:
        async with self.service.client(organisation) as client:
            yield client

    async def session(self, *people: str, organisation: str = ORGANISATION, name: str = "") -> "Session":
        """A session with an open chain, a room, and people in it who have not been asked yet."""
        chain_id = name or f"session-{secrets.token_hex(4)}"
        async with self.ledger(organisation) as client:
            await client.open_chain(chain_id, {"case": "7"})
        room = self.double.open_room(f"{organisation}:{chain_id}")
        for person in people:
            room.join(person)
        return Session(self, organisation, chain_id, room)

    async def look(self) -> None:
        """What a worker does, whether or not its time has come."""
        async with await psycopg.AsyncConnection.connect(self.dsn) as connection:
            await connection.execute(_ALL_ARE_DUE)
        await attend_due(self.control)

    async def take_reports(self) -> list[bool | Reason]:
        """Take what LiveKit has reported since, in the order of its sending: fresh or not, or why it was refused."""
        reports = self.double.webhooks()
        fresh, self.taken = reports[self.taken :], len(reports)
        return [await self.take(report) for report in fresh]

    async def take(self, report: Delivery) -> bool | Reason:
        keys = [ApiKey(key=self.double.api_key, secret=self.double.api_secret)]
        try:
            return await take_webhook(self.control, keys, report.body, report.authorization)
        except MediaError as error:
            return error.reason


class Session:
    """One session of one organisation."""

    def __init__(self, studio: Studio, organisation: str, chain_id: str, room: LiveKitRoom) -> None:
        self.studio = studio
        self.organisation = organisation
        self.chain_id = chain_id
        self.room = room

    async def consent(
        self, who: str, act: Any = "GIVEN", *, key: str = "", role: Any = None, control: Control | None = None
    ) -> tuple[UUID, ...]:
        """Which recordings it stopped."""
        wish = ConsentWish(
            session_chain_id=self.chain_id,
            participant=who,
            role=role or ("OPERATOR" if who == OPERATOR else "FIELD"),
            act=act,
            notice="banner 3",
            idempotency_key=key or str(uuid4()),
        )
        return (await record_consent(control or self.studio.control, self.organisation, wish, by="gateway"))[1]

    async def consents(self, *people: str) -> None:
        for person in people:
            await self.consent(person)

    async def start(self, *, composite: Any = "FROM_FILES", control: Control | None = None, **more: Any) -> Recording:
        recording, self.created = await start_recording(
            control or self.studio.control, self.organisation, self.wish(composite=composite, **more), by="gateway"
        )
        return recording

    def wish(self, **changes: Any) -> StartWish:
        values: dict[str, Any] = {
            "session_chain_id": self.chain_id,
            "room": self.room.name,
            "operator": OPERATOR,
            "composite": "FROM_FILES",
        }
        return StartWish(**(values | changes))

    async def stop(self, recording: Recording, reason: str = "") -> Recording:
        return await stop_recording(
            self.studio.control, self.organisation, recording.recording_id, reason=reason, by="gateway"
        )

    async def recordings(self) -> list[Recording]:
        wanted = RecordingFilter(session_chain_id=self.chain_id)
        found = await self.studio.control.records.recordings.list(self.organisation, wanted, after=None, limit=100)
        return list(reversed(found))

    async def recording(self) -> Recording:
        (only,) = await self.recordings()
        return only

    async def attend(self, recording: Recording, **options: Any) -> bool:
        return await attend(self.studio.control, recording, **options)

    async def until(
        self, holds: Callable[[Recording], bool], *, reports: bool = True, seconds: float = 60.0
    ) -> Recording:
        """Look and take reports, as a worker and a service would, until the recording is so."""
        until = time.monotonic() + seconds
        while True:
            if reports:
                await self.studio.take_reports()
            await attend(self.studio.control, (await self.recordings())[-1], with_session=True)
            recording = (await self.recordings())[-1]
            if holds(recording):
                return recording
            assert time.monotonic() < until, f"still {recording}"
            await asyncio.sleep(0.02)

    async def waiting(self, **options: Any) -> Recording:
        """The recording once LiveKit has nothing more to do with it."""
        return await self.until(lambda one: one.state == "WAITING", **options)

    async def events(self, chain_id: str = "") -> list[tuple[str, dict[str, Any]]]:
        """What the chain says beyond what the ledger says itself."""
        async with self.studio.ledger(self.organisation) as client:
            await relay_all(self.studio.control)
            found = [event async for event in client.list_events(chain_id or self.chain_id)]
        return [
            (event.kind, event.content)
            for event in found
            if not event.kind.startswith(("chain.", "ledger.", "session."))
        ]

    async def kinds(self) -> list[str]:
        return [kind for kind, _ in await self.events()]

    def egresses(self) -> list[EgressInfo]:
        """Everything LiveKit ever recorded of this room."""
        return [one for one in self.studio.double.egresses() if one.room_name == self.room.name]

    def recorded(self) -> list[str]:
        """Who is being recorded now; "" is the composite."""
        active = (EgressStatus.EGRESS_STARTING, EgressStatus.EGRESS_ACTIVE)
        return sorted(one.participant.identity for one in self.egresses() if one.status in active)

    async def check(self) -> None:
        """Nothing lost, nothing recorded twice, the chain tells the truth. For a session that is recorded no longer."""
        told = await self.events()
        told += [
            (kind, content)
            for kind, content in await self.events("operations")
            if content.get("session_chain_id") == self.chain_id and (kind, content) not in told
        ]
        recordings = await self.recordings()
        assert all(one.state == "WAITING" for one in recordings), recordings
        _check_nothing_lost(told, self.egresses())
        _check_nothing_twice(self.egresses(), [stay for one in recordings for stay in one.stays])
        _check_consents_came_first(told)
        _check_records_agree(told, recordings)


def _check_nothing_lost(told: list[tuple[str, dict[str, Any]]], egresses: list[EgressInfo]) -> None:
    """Whatever LiveKit recorded is on the chain, with the end that LiveKit gave it, and every beginning has its end."""
    started = {
        one["egress_id"]: one for kind, one in told if kind.endswith(("participant_started", "composite_started"))
    }
    ended = [one for kind, one in told if kind.endswith(("participant_ended", "composite_ended"))]
    by_egress = {one["egress_id"]: one for one in ended}
    assert len({one["stay_id"] for one in ended}) == len(ended)
    assert {one["stay_id"] for one in started.values()} <= {one["stay_id"] for one in ended}
    late = {one["egress_id"]: one for kind, one in told if kind == "recording.late_result"}
    for egress in egresses:
        assert egress.egress_id in started, f"LiveKit recorded {egress}, and the chain does not know"
        assert started[egress.egress_id]["participant" if egress.participant.identity else "key"]
        told_of = late.get(egress.egress_id, by_egress[egress.egress_id])
        if egress.status in _OUTCOMES and told_of["outcome"] != "never_finished":
            assert told_of["outcome"] == _OUTCOMES[egress.status]
            if told_of["outcome"] in {"complete", "cut_by_limit"}:
                assert told_of["file"]["duration_us"] == egress.file_results[0].duration // 1000
                assert told_of["file"]["size"] == egress.file_results[0].size


def _check_nothing_twice(egresses: list[EgressInfo], stays: list[Stay]) -> None:
    """At no moment were there two egresses of one participant, or two composites; and no key was used twice."""
    keys = [egress.file_results[0].filename for egress in egresses]
    assert len(keys) == len(set(keys))
    assert len({stay.egress_id for stay in stays if stay.egress_id}) == len([stay for stay in stays if stay.egress_id])
    spans: dict[str, list[tuple[int, int]]] = {}
    for egress in egresses:
        # An egress that never ends takes no more pictures once it was told to end.
        ends_at = egress.ended_at or egress.updated_at
        spans.setdefault(egress.participant.identity, []).append((egress.started_at, ends_at))
    for who, of_one in spans.items():
        ordered = sorted(of_one)
        for (_, ends_at), (starts_at, _) in itertools.pairwise(ordered):
            assert ends_at <= starts_at, f"{who or 'the room'} was recorded twice at the same time"


def _check_consents_came_first(told: list[tuple[str, dict[str, Any]]]) -> None:
    """On the chain itself, each recording of somebody comes after their consent and not after their withdrawal."""
    given: dict[str, str] = {}
    for kind, content in told:
        if kind == "consent.given":
            given[content["consent_id"]] = content["participant"]
        if kind == "recording.participant_started":
            assert given[content["consent_id"]] == content["participant"]


def _check_records_agree(told: list[tuple[str, dict[str, Any]]], recordings: list[Recording]) -> None:
    begun = [content["recording_id"] for kind, content in told if kind == "recording.started"]
    assert begun == [str(one.recording_id) for one in recordings]
    stopped = [content["recording_id"] for kind, content in told if kind == "recording.stopped"]
    assert sorted(stopped) == sorted(begun)
    ended = {content["stay_id"]: content for kind, content in told if kind.endswith("_ended")}
    for recording in recordings:
        for stay in recording.stays:
            assert ended[str(stay.stay_id)]["outcome"] == str(stay.outcome).lower()


async def relay_all(control: Control) -> None:
    while await relay_once(control.records, control.ledgers):
        pass


async def reason_of(refused: Coroutine[Any, Any, object]) -> Reason:
    with pytest.raises(MediaError) as caught:
        await refused
    return caught.value.reason


def make_tokens(directory: Path, service: Service) -> Path:
    for organisation_id in (ORGANISATION, FOREIGN_ORGANISATION):
        token = service.issuer.mint(organisation_id, scopes=EVERY_SCOPE, subject="evidence-service", seconds=7200)
        (directory / f"{organisation_id}.token").write_text(token)
    return directory


def livekit_settings(double: LiveKitDouble, storage: EgressStorage) -> LiveKitSettings:
    return LiveKitSettings(
        url=double.url,
        keys=(ApiKey(key=double.api_key, secret=double.api_secret),),
        storage=storage,
        timeout_seconds=LIVEKIT_SECONDS,
    )


@contextlib.asynccontextmanager
async def open_control(
    database: Database, service: Service, tokens: Path, settings: LiveKitSettings
) -> AsyncIterator[Control]:
    records = await Records.open(evidence_dsn=database.evidence_dsn, worker_dsn=database.evidence_worker_dsn)
    ledgers = Ledgers(service.address, None, tokens)
    try:
        async with LiveKit(settings) as livekit:
            yield Control(
                records=records, ledgers=ledgers, livekit=livekit, layout_url="http://layout.test/", limits=LIMITS
            )
    finally:
        await ledgers.close()
        await records.close()
