"""Recordings through the running service: gRPC, NATS and the command line, with a worker and LiveKit's double."""

import asyncio
import hashlib
import json
import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import nats
import pytest
from click.testing import CliRunner
from indelible.evidence.v1 import evidence_pb2, evidence_pb2_grpc

from ledger.client import ClientError
from ledger.messaging.streams import DEAD_STREAM
from media.clips.request import TELL_SECONDS
from media.commands.recording import recording as command
from media.service.allowance import Allowance
from media.service.inbox import PROCESS_QUEUE
from sandbox.database import Databases
from sandbox.issuer import EVERY_SCOPE, Issuer
from sandbox.livekit import ApiFaults, Filming, LiveKitDouble
from sandbox.nats import Nats
from sandbox.objects import Objects
from tests.media.service.evidence import PATIENCE_SECONDS, TEST_SECONDS, Evidence, extraction, running_evidence
from tests.media.service.test_evidence_holds import until
from tests.service.calling import Refusal, refusal_of
from tests.service.serving import FOREIGN_ORGANISATION, running_service

pytestmark = pytest.mark.timeout(TEST_SECONDS)

NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def double() -> Iterator[LiveKitDouble]:
    filming = Filming(width=160, height=96, composite_width=160, composite_height=96, rate=5)
    with LiveKitDouble(filming=filming) as running:
        yield running


@pytest.fixture(scope="module")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Nats(tmp_path_factory.mktemp("nats"))
    try:
        yield server.start().url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def recorder(
    tmp_path_factory: pytest.TempPathFactory,
    databases: Databases,
    migrated_template: Any,
    issuer: Issuer,
    objects: Objects,
    double: LiveKitDouble,
    nats_url: str,
) -> Iterator[Evidence]:
    """An evidence service that records, with one worker."""
    extra = {
        "INDELIBLE_NATS_URL": nats_url,
        "INDELIBLE_LIVEKIT_URL": double.url,
        "INDELIBLE_LIVEKIT_API_KEY": double.api_key,
        "INDELIBLE_LIVEKIT_API_SECRET": double.api_secret,
        "INDELIBLE_LIVEKIT_LAYOUT_URL": "http://layout.test/",
        "INDELIBLE_LIVEKIT_S3_ACCESS_KEY": objects.access_key,
        "INDELIBLE_LIVEKIT_S3_SECRET_KEY": objects.secret_key,
    }
    with (
        databases.copy(migrated_template) as database,
        running_service(tmp_path_factory.mktemp("ledger"), database, issuer) as ledger,
        running_evidence(tmp_path_factory.mktemp("evidence"), ledger, objects, extra=extra) as running,
    ):
        running.work_impatiently()
        yield running


class Visit:
    """One session with people in its room."""

    def __init__(self, recorder: Evidence, double: LiveKitDouble, *people: str) -> None:
        self.recorder = recorder
        self.double = double
        self.chain_id = f"visit-{os.urandom(4).hex()}"
        self.room = double.open_room(f"acme:{self.chain_id}")
        with recorder.ledger.blocking_client() as client:
            client.open_chain(self.chain_id, {})
        for person in people:
            self.room.join(person)

    def consent(self, who: str, act: str = "GIVEN") -> Any:
        request = evidence_pb2.RecordConsentRequest(
            session_chain_id=self.chain_id,
            participant=who,
            role=evidence_pb2.PARTICIPANT_ROLE_OPERATOR if who == "ann" else evidence_pb2.PARTICIPANT_ROLE_FIELD,
            act=evidence_pb2.ConsentAct.Value(f"CONSENT_ACT_{act}"),
            notice="banner 3",
            idempotency_key=os.urandom(8).hex(),
        )
        return self.recorder.call("RecordConsent", request)

    def start(self, **more: Any) -> Any:
        request = evidence_pb2.StartRecordingRequest(
            session_chain_id=self.chain_id, room=self.room.name, operator="ann", **more
        )
        return self.recorder.call("StartRecording", request)

    def get(self, recording_id: str) -> evidence_pb2.Recording:
        request = evidence_pb2.GetRecordingRequest(recording_id=recording_id)
        found: evidence_pb2.Recording = self.recorder.call("GetRecording", request).recording
        return found

    def until(self, recording_id: str, *states: int, seconds: float = PATIENCE_SECONDS) -> evidence_pb2.Recording:
        until = time.monotonic() + seconds
        while True:
            found = self.get(recording_id)
            if found.state in states:
                return found
            assert time.monotonic() < until, f"{found}{self.recorder.log_tail()}"
            time.sleep(0.2)

    def recorded(self) -> list[str]:
        active = (0, 1)
        return sorted(
            one.participant.identity
            for one in self.double.egresses()
            if one.room_name == self.room.name and one.status in active
        )


def refused(recorder: Evidence, method: str, request: Any, **options: Any) -> Refusal:
    with pytest.raises(grpc.RpcError) as caught:
        recorder.call(method, request, **options)
    return refusal_of(caught.value)


def receive(recorder: Evidence, body: bytes, authorization: str) -> Any:
    """What LiveKit sends, without any token."""
    with grpc.insecure_channel(recorder.address) as channel:
        stub = evidence_pb2_grpc.EvidenceServiceStub(channel)
        request = evidence_pb2.ReceiveLiveKitWebhookRequest(body=body, authorization=authorization)
        return stub.ReceiveLiveKitWebhook(request, timeout=60)


def test_a_session_is_recorded_processed_and_given_out(recorder: Evidence, double: LiveKitDouble) -> None:
    visit = Visit(recorder, double, "ann", "bob")
    assert refused(recorder, "StartRecording", _start(visit)).reason == "CONSENT_MISSING"
    for who in ("ann", "bob"):
        visit.consent(who)
    answer = visit.start()
    assert (answer.created, answer.recording.state) == (True, evidence_pb2.RECORDING_STATE_RECORDING)
    assert visit.start().created is False
    recording_id = answer.recording.recording_id
    assert [(one.participant, one.tile) for one in answer.recording.participants] == [("ann", 0), ("bob", 1)]
    visit.room.join("cem")
    visit.consent("cem")
    assert visit.recorded() == ["ann", "bob", "cem"]
    assert list(visit.consent("cem", "WITHDRAWN").stopped_recording_ids) == [recording_id]
    assert visit.recorded() == ["ann", "bob"]
    double.advance(1)
    recorder.call("StopRecording", evidence_pb2.StopRecordingRequest(recording_id=recording_id, reason="done"))
    assert visit.recorded() == []
    done = visit.until(recording_id, evidence_pb2.RECORDING_STATE_COMPLETED, evidence_pb2.RECORDING_STATE_FAILED)
    assert done.state == evidence_pb2.RECORDING_STATE_COMPLETED, done
    names = [file.name for file in done.files]
    assert {"composite.mp4", "participant-0.mp4", "participant-1.mp4", "recording.json"} <= set(names)
    request = evidence_pb2.CreateRecordingLinkRequest(recording_id=recording_id, file="composite.mp4")
    link = recorder.call("CreateRecordingLink", request)
    with urllib.request.urlopen(link.url, timeout=60) as given:
        assert hashlib.sha256(given.read()).digest() == link.sha256
    listed = recorder.call("ListRecordings", evidence_pb2.ListRecordingsRequest(session_chain_id=visit.chain_id))
    assert [one.recording_id for one in listed.recordings] == [recording_id]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (accesses := _accesses(recorder, recording_id)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert [(one["access"], one["file"], one["who"]) for one in accesses] == [("link", "composite.mp4", "ann")]


def test_a_recording_is_held_from_its_start_on_until_the_hold_is_lifted(
    recorder: Evidence, double: LiveKitDouble
) -> None:
    visit = Visit(recorder, double, "ann")
    visit.consent("ann")
    recording_id = visit.start().recording.recording_id
    wanted = evidence_pb2.PlaceLegalHoldRequest(recording_id=recording_id, reason="case 7", idempotency_key="early")
    placed = recorder.call("PlaceLegalHold", wanted)
    assert (placed.hold.recording_id, placed.hold.clip_id, placed.mirrored) == (recording_id, "", False)
    assert recorder.call("PlaceLegalHold", wanted).hold == placed.hold
    double.advance(1)
    recorder.call("StopRecording", evidence_pb2.StopRecordingRequest(recording_id=recording_id))
    done = visit.until(recording_id, evidence_pb2.RECORDING_STATE_COMPLETED)
    assert list(done.holds) == [placed.hold]
    dispose = evidence_pb2.DisposeRecordingRequest(recording_id=recording_id, reason="asked to")
    # Until the raw files are settled it is not completed for a disposal either.
    assert refused(recorder, "DisposeRecording", dispose).reason in {"RECORDING_HELD", "RECORDING_NOT_COMPLETED"}
    again = evidence_pb2.PlaceLegalHoldRequest(recording_id=recording_id, reason="case 8", idempotency_key="late")
    second = recorder.call("PlaceLegalHold", again)
    assert second.mirrored
    for held, ids in ((True, [recording_id]), (False, [])):
        listed = recorder.call("ListRecordings", evidence_pb2.ListRecordingsRequest(held=held))
        assert [one.recording_id for one in listed.recordings if one.recording_id == recording_id] == ids
    verify = evidence_pb2.VerifyStoredRecordingRequest(recording_id=recording_id)

    def raw_files_are_kept() -> bool:
        checked = recorder.call("VerifyStoredRecording", verify)
        assert checked.ok
        return {file.name for file in checked.files} - {file.name for file in done.files} == {"raw/0-1.mp4"}

    until(raw_files_are_kept)
    recorder.settled(recording_id, "recording")
    for hold in (placed.hold, second.hold):
        request = evidence_pb2.LiftLegalHoldRequest(hold_id=hold.hold_id, reason="case closed")
        lifted = recorder.call("LiftLegalHold", request).hold
        assert (lifted.recording_id, lifted.lift_reason) == (recording_id, "case closed")
    recorder.settled(recording_id, "recording")

    def is_disposed_of() -> bool:
        try:
            disposed = recorder.call("DisposeRecording", dispose).recording
        except grpc.RpcError as error:
            # That its raw files stay is on record a moment before the work on them is over.
            if refusal_of(error).reason != "RECORDING_NOT_COMPLETED":
                raise
            return False
        return bool(disposed.state in {evidence_pb2.RECORDING_STATE_DISPOSING, evidence_pb2.RECORDING_STATE_DISPOSED})

    until(is_disposed_of)
    visit.until(recording_id, evidence_pb2.RECORDING_STATE_DISPOSED)
    document = json.loads(
        recorder.call("GetCustody", evidence_pb2.GetCustodyRequest(recording_id=recording_id)).document
    )
    actions = [entry["action"] for entry in document["entries"]]
    assert (actions.count("hold placed"), actions.count("hold lifted"), actions.count("dropped")) == (2, 2, 0)
    assert {"disposal decided", "deleted", "verified"} <= set(actions)
    late = evidence_pb2.PlaceLegalHoldRequest(recording_id=recording_id, reason="x", idempotency_key="too late")
    assert refused(recorder, "PlaceLegalHold", late).reason == "RECORDING_DISPOSED"


def test_another_organisation_sees_nothing_of_it(recorder: Evidence, double: LiveKitDouble) -> None:
    visit = Visit(recorder, double, "ann")
    visit.consent("ann")
    recording_id = visit.start().recording.recording_id
    asked: dict[str, Any] = {
        "GetRecording": evidence_pb2.GetRecordingRequest(recording_id=recording_id),
        "StopRecording": evidence_pb2.StopRecordingRequest(recording_id=recording_id),
        "ProcessRecording": evidence_pb2.ProcessRecordingRequest(recording_id=recording_id),
        "CreateRecordingLink": evidence_pb2.CreateRecordingLinkRequest(recording_id=recording_id, file="x"),
        "PlaceLegalHold": evidence_pb2.PlaceLegalHoldRequest(
            recording_id=recording_id, reason="x", idempotency_key="x"
        ),
        "GetCustody": evidence_pb2.GetCustodyRequest(recording_id=recording_id),
        "VerifyStoredRecording": evidence_pb2.VerifyStoredRecordingRequest(recording_id=recording_id),
        "DisposeRecording": evidence_pb2.DisposeRecordingRequest(recording_id=recording_id, reason="x"),
    }
    for method, request in asked.items():
        theirs = refused(recorder, method, request, organisation_id=FOREIGN_ORGANISATION)
        request.recording_id = NOWHERE
        never = refused(recorder, method, request)
        assert theirs.code is never.code is grpc.StatusCode.NOT_FOUND
        assert theirs.message.replace(recording_id, "") == never.message.replace(NOWHERE, "")
    assert not recorder.call(
        "ListRecordings", evidence_pb2.ListRecordingsRequest(), organisation_id=FOREIGN_ORGANISATION
    ).recordings
    start = refused(recorder, "StartRecording", _start(visit), organisation_id=FOREIGN_ORGANISATION)
    assert start.reason == "ROOM_NOT_FOUND"
    assert visit.recorded() == ["ann"]


def test_livekit_reports_without_a_token_and_nobody_else_does(recorder: Evidence, double: LiveKitDouble) -> None:
    visit = Visit(recorder, double, "ann")
    visit.consent("ann")
    started = visit.start().recording
    egress_id = started.participants[0].egress_id
    double.end_egress(egress_id)
    double.wait_until_ended(egress_id)
    report = double.wait_for_webhook("egress_ended", egress_id=egress_id)
    for body, authorization in ((report.body + b" ", report.authorization), (report.body, "Bearer x"), (b"", "")):
        with pytest.raises(grpc.RpcError) as caught:
            receive(recorder, body, authorization)
        refusal = refusal_of(caught.value)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "WEBHOOK_REFUSED")
    assert receive(recorder, report.body, report.authorization).fresh
    assert not receive(recorder, report.body, report.authorization).fresh
    assert visit.get(started.recording_id).participants[0].outcome == evidence_pb2.EGRESS_OUTCOME_COMPLETE
    assert 'indelible_evidence_livekit_reports_total{outcome="refused"}' in recorder.metrics()


def test_reports_are_limited_in_the_long_run() -> None:
    now = [0.0]
    allowance = Allowance(per_second=10, at_once=3, clock=lambda: now[0])
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]
    now[0] = 0.1
    assert [allowance.take() for _ in range(2)] == [True, False]
    now[0] = 100
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("method", "fields", "field"),
    [
        (
            "RecordConsent",
            {"role": 1, "act": 2, "participant": "x", "notice": "n", "idempotency_key": "k"},
            "session_chain_id",
        ),
        ("RecordConsent", {"session_chain_id": "operations", "role": 1, "act": 2}, "session_chain_id"),
        ("RecordConsent", {"session_chain_id": "s", "role": 1, "act": 2}, "participant"),
        ("RecordConsent", {"session_chain_id": "s", "role": 1, "act": 2, "participant": "a\0b"}, "participant"),
        ("RecordConsent", {"session_chain_id": "s", "role": 1, "act": 2, "participant": "x" * 129}, "participant"),
        ("RecordConsent", {"session_chain_id": "s", "role": 0, "act": 2}, "role"),
        ("RecordConsent", {"session_chain_id": "s", "role": 2, "act": 9}, "act"),
        ("RecordConsent", {"session_chain_id": "s", "role": 1, "act": 2, "participant": "x", "notice": " "}, "notice"),
        (
            "RecordConsent",
            {"session_chain_id": "s", "role": 1, "act": 2, "participant": "x", "notice": "n", "idempotency_key": "é"},
            "idempotency_key",
        ),
        ("StartRecording", {"session_chain_id": "S", "room": "acme:r", "operator": "x"}, "session_chain_id"),
        ("StartRecording", {"session_chain_id": "s", "room": "", "operator": "x"}, "room"),
        ("StartRecording", {"session_chain_id": "s", "room": "acme:r"}, "operator"),
        ("StartRecording", {"session_chain_id": "s", "room": "acme:r", "operator": "x", "composite": 9}, "composite"),
        ("StopRecording", {"recording_id": "../x"}, "recording_id"),
        ("StopRecording", {"recording_id": NOWHERE, "reason": "x" * 201}, "reason"),
        ("ListRecordings", {"states": [99]}, "states"),
        ("ListRecordings", {"page_token": "nonsense"}, "page_token"),
        ("ListRecordings", {"page_token": "nonsense", "held": True}, "page_token"),
        ("ProcessRecording", {"recording_id": "x"}, "recording_id"),
        ("PlaceLegalHold", {"recording_id": "x", "reason": "r", "idempotency_key": "k"}, "recording_id"),
        ("PlaceLegalHold", {"reason": "r", "idempotency_key": "k"}, "clip_id"),
        (
            "PlaceLegalHold",
            {"recording_id": NOWHERE, "clip_id": NOWHERE, "reason": "r", "idempotency_key": "k"},
            "recording_id",
        ),
        ("PlaceLegalHold", {"recording_id": NOWHERE, "reason": " ", "idempotency_key": "k"}, "reason"),
        ("GetCustody", {"recording_id": NOWHERE, "clip_id": NOWHERE}, "recording_id"),
        ("DisposeRecording", {"recording_id": NOWHERE, "reason": ""}, "reason"),
        ("VerifyStoredRecording", {"recording_id": ""}, "recording_id"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(
    recorder: Evidence, method: str, fields: dict[str, Any], field: str
) -> None:
    request = getattr(evidence_pb2, f"{method}Request")(**fields)
    refusal = refused(recorder, method, request)
    assert (refusal.code, refusal.metadata.get("field")) == (grpc.StatusCode.INVALID_ARGUMENT, field), refusal


async def test_annotations_are_taken_over_nats_once_and_bad_ones_are_kept_with_their_reason(
    recorder: Evidence, double: LiveKitDouble, nats_url: str
) -> None:
    visit = Visit(recorder, double, "ann")
    visit.consent("ann")
    recording_id = visit.start(annotations_expected=True).recording.recording_id
    token = dict(recorder.headers())["authorization"]
    client = await nats.connect(nats_url)
    stream = client.jetstream(timeout=60)
    try:

        async def send(document: bytes, **headers: str) -> None:
            request = evidence_pb2.ProcessRecordingRequest(recording_id=recording_id, annotations=document)
            await stream.publish(
                PROCESS_QUEUE.subject, request.SerializeToString(), headers={"Authorization": token} | headers
            )

        await send(b"not a document")
        await send(b"")
        await send(b"")
        foreign = dict(recorder.headers(FOREIGN_ORGANISATION))["authorization"]
        await send(b"", Authorization=foreign)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await stream.stream_info(PROCESS_QUEUE.stream)).state.messages:  # noqa: ASYNC110 - of a server
                await asyncio.sleep(0.1)
        state = (await stream.stream_info(DEAD_STREAM)).state
        dead = [await stream.get_msg(DEAD_STREAM, number) for number in range(state.first_seq, state.last_seq + 1)]
    finally:
        await client.close()
    reasons = sorted((one.headers or {})["Indelible-Reason"] for one in dead)
    assert reasons == ["INVALID_ARGUMENT", "RECORDING_NOT_FOUND"]
    assert visit.recorded() == ["ann"]
    other = evidence_pb2.ProcessRecordingRequest(recording_id=recording_id, annotations=b"{}")
    assert refused(recorder, "ProcessRecording", other).code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_service_that_is_killed_while_it_starts_a_recording_does_not_record_twice(
    recorder: Evidence, double: LiveKitDouble
) -> None:
    visit = Visit(recorder, double, "ann", "bob")
    for who in ("ann", "bob"):
        visit.consent(who)
    double.trouble(ApiFaults(method="StartParticipantEgress", times=2, slow_seconds=10))

    def start() -> None:
        with pytest.raises(grpc.RpcError):
            visit.start()

    starting = threading.Thread(target=start)
    starting.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not [one for one in double.egresses() if one.room_name == visit.room.name]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert recorder.process is not None
    recorder.process.kill()
    starting.join()
    recorder.serve()
    double.heal()
    recording = visit.start().recording
    found = visit.until(recording.recording_id, evidence_pb2.RECORDING_STATE_RECORDING)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while visit.recorded() != ["ann", "bob"]:
        assert time.monotonic() < deadline, f"{found} {visit.recorded()}{recorder.log_tail()}"
        time.sleep(0.2)
    assert len([one for one in double.egresses() if one.room_name == visit.room.name]) == 2


def test_the_command_line_records_a_session(
    recorder: Evidence, double: LiveKitDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit = Visit(recorder, double, "ann")
    monkeypatch.setenv("INDELIBLE_EVIDENCE", recorder.address)
    monkeypatch.setenv("INDELIBLE_TOKEN", recorder.issuer.mint("acme", scopes=EVERY_SCOPE, subject="ann"))

    def run(*arguments: str) -> Any:
        done = CliRunner().invoke(command, [*arguments, "--json"])
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout)

    about = ("--session", visit.chain_id, "--participant", "ann", "--role", "operator", "--notice", "v3")
    assert run("consent", *about, "--act", "banner-shown")["act"] == "banner_shown"
    start = ("start", "--session", visit.chain_id, "--room", visit.room.name, "--operator", "ann", "--annotations")
    refusal = CliRunner().invoke(command, start).exception
    assert isinstance(refusal, ClientError)
    assert refusal.reason == "CONSENT_MISSING"
    assert run("consent", *about, "--act", "given")["recorded_by"] == "ann"
    begun = run(*start)
    assert (begun["state"], begun["created"], begun["annotations_expected"]) == ("recording", True, True)
    shown = run("show", begun["recording_id"])
    assert [(one["participant"], one["role"]) for one in shown["participants"]] == [("ann", "operator")]
    assert shown["participants"][0]["outcome"] in {"starting", "running"}
    assert run("stop", begun["recording_id"], "--reason", "over")["stop_reason"] == "over"
    listed = run("list", "--session", visit.chain_id)
    assert [one["recording_id"] for one in listed] == [begun["recording_id"]]
    empty = tmp_path / "empty.json"
    empty.write_bytes(b"")
    assert CliRunner().invoke(command, ["annotate", begun["recording_id"], str(empty)]).exit_code == 2
    run("annotate", begun["recording_id"], "--nothing-drawn")
    done = visit.until(begun["recording_id"], evidence_pb2.RECORDING_STATE_COMPLETED)
    assert run("link", begun["recording_id"], "--file", "recording.json")["sha256"] in {
        file.sha256.hex() for file in done.files
    }
    placed = run("hold", begun["recording_id"], "--reason", "case 9", "--idempotency-key", "by hand")
    assert (placed["recording_id"], placed["held_in_the_store_too"], "clip_id" in placed) == (
        *(begun["recording_id"], True, False),
    )
    assert [one["held"] for one in run("list", "--session", visit.chain_id, "--held")] == [True]
    assert run("list", "--session", visit.chain_id, "--not-held") == []
    assert run("verify", begun["recording_id"])["ok"]
    assert run("lift", placed["hold_id"], "--reason", "case closed")["lift_reason"] == "case closed"
    actions = [entry["action"] for entry in run("custody", begun["recording_id"])["entries"]]
    told = ["link issued", "hold placed", "verified", "hold lifted"]
    assert [action for action in actions if action in told] == told
    words = CliRunner().invoke(command, ["custody", begun["recording_id"]]).stdout
    assert "hold lifted" in words
    dispose = ["dispose", begun["recording_id"], "--reason", "over", "--yes"]
    # Refused until the raw files are settled.
    until(lambda: CliRunner().invoke(command, dispose).exit_code == 0)
    shown = run("show", begun["recording_id"])
    assert shown["state"] in {"disposing", "disposed"}
    assert shown["participants"][0]["outcome"] == "complete"


def test_a_service_without_livekit_records_nothing_and_says_so(evidence: Evidence) -> None:
    request = evidence_pb2.StartRecordingRequest(session_chain_id="s", room="acme:r", operator="ann")
    assert refused(evidence, "StartRecording", request).reason == "RECORDINGS_NOT_CONFIGURED"
    with pytest.raises(grpc.RpcError) as caught:
        receive(evidence, b"{}", "x")
    assert refusal_of(caught.value).reason == "RECORDINGS_NOT_CONFIGURED"
    missing = evidence_pb2.GetRecordingRequest(recording_id=NOWHERE)
    assert refused(evidence, "GetRecording", missing).reason == "RECORDING_NOT_FOUND"


def test_a_session_waits_for_a_clip_that_was_asked_for_and_takes_none_after_its_end(evidence: Evidence) -> None:
    chain_id, late = f"visit-{os.urandom(4).hex()}", f"late-{os.urandom(4).hex()}"
    with evidence.ledger.blocking_client() as client:
        client.open_chain(chain_id, {})
        began = time.monotonic()
        clip = evidence.call("RequestExtraction", extraction("of-session", session=chain_id)).clip
        # It is on the chain when the request is answered, and so the session waits for it. Only a ledger that takes
        # longer than that is told later.
        late_by = time.monotonic() + (PATIENCE_SECONDS if time.monotonic() - began > TELL_SECONDS else 0)
        while not list(client.list_events(chain_id, kinds=["clip.requested"])):
            assert time.monotonic() < late_by
            time.sleep(0.2)
        chain, _ = client.end_session(chain_id)
        evidence.ended(clip.clip_id)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (chain := client.get_chain(chain_id)).state != "closed":
            assert time.monotonic() < deadline, chain
            time.sleep(0.2)
        kinds = [event.kind for event in client.list_events(chain_id)]
        assert [kind for kind in kinds if kind.startswith("clip.")] == ["clip.requested", "clip.preserved"]
        evidence.call("RequestExtraction", extraction(late, session=chain_id))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while late not in {one["incident"] for one in evidence.events("clip.requested")}:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    told = [one for one in evidence.events("clip.requested") if one["incident"] == late]
    assert [one["session_chain_id"] for one in told] == [chain_id]


def _start(visit: Visit) -> evidence_pb2.StartRecordingRequest:
    return evidence_pb2.StartRecordingRequest(session_chain_id=visit.chain_id, room=visit.room.name, operator="ann")


def _accesses(recorder: Evidence, recording_id: str) -> list[dict[str, Any]]:
    return [one for one in recorder.events("recording.accessed") if one["recording_id"] == recording_id]
