"""Everything that LiveKit can do to a recording, in one session, from the room to the verified bundle.

The session ends before its files are ready. Nothing is lost, nothing is recorded twice, the chain tells the truth.
"""

import hashlib
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from indelible.evidence.v1 import evidence_pb2, evidence_pb2_grpc
from psycopg import sql

from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.livekit import EgressFaults, LiveKitDouble, Outcome, Upload
from sandbox.objects import Objects
from tests.media.service.evidence import PATIENCE_SECONDS, TEST_SECONDS, Evidence, running_evidence, s3
from tests.media.service.test_evidence_holds import until
from tests.media.service.test_evidence_recordings import Visit, double
from tests.service.serving import running_service
from verifier.findings import Severity
from verifier.policy import TrustPolicy
from verifier.verify import verify_bundle

__all__ = ["double"]  # the fixture

pytestmark = pytest.mark.timeout(TEST_SECONDS)

# What LiveKit says and uploads must arrive within these, however busy the machine is. Nobody waits so long for
# what does not: the records are made to say that it was.
FINISH_SECONDS = 120
UPLOAD_SECONDS = 120
# Who is in the room, what becomes of their egress, and how the chain calls it.
FAULTS: dict[str, tuple[EgressFaults, str]] = {
    "ann": (EgressFaults(duplicated=frozenset({"egress_ended"})), "complete"),
    "bob": (EgressFaults(outcome=Outcome.LIMIT_REACHED), "cut_by_limit"),
    "cem": (EgressFaults(outcome=Outcome.FAILED), "failed"),
    "dan": (EgressFaults(outcome=Outcome.ABORTED), "aborted"),
    "eve": (EgressFaults(outcome=Outcome.NEVER_ENDS), "never_finished"),
    "fay": (EgressFaults(upload=Upload.LATE, upload_seconds=1.5), "complete"),
    "gil": (EgressFaults(upload=Upload.NEVER, lost=frozenset({"egress_ended"})), "complete"),
}
ENDLESS = {"eve"}
WITHOUT_FILES = {"cem", "dan", "eve", "gil"}


@pytest.fixture(scope="module")
def recorder(
    tmp_path_factory: pytest.TempPathFactory,
    module_database: Database,
    issuer: Issuer,
    objects: Objects,
    double: LiveKitDouble,
) -> Iterator[Evidence]:
    """An evidence service that records and does not wait long, with one worker."""
    extra = {
        "INDELIBLE_LIVEKIT_URL": double.url,
        "INDELIBLE_LIVEKIT_API_KEY": double.api_key,
        "INDELIBLE_LIVEKIT_API_SECRET": double.api_secret,
        "INDELIBLE_LIVEKIT_S3_ACCESS_KEY": objects.access_key,
        "INDELIBLE_LIVEKIT_S3_SECRET_KEY": objects.secret_key,
        "INDELIBLE_LIVEKIT_FINISH_SECONDS": str(FINISH_SECONDS),
        "INDELIBLE_LIVEKIT_LOOK_SECONDS": "1",
        "INDELIBLE_RECORDINGS_UPLOAD_WAIT_SECONDS": str(UPLOAD_SECONDS),
        "INDELIBLE_RECORDINGS_WIDTH": "320",
        "INDELIBLE_RECORDINGS_HEIGHT": "180",
    }
    with (
        running_service(tmp_path_factory.mktemp("ledger"), module_database, issuer) as ledger,
        running_evidence(tmp_path_factory.mktemp("evidence"), ledger, objects, extra=extra) as running,
    ):
        running.work()
        yield running


@pytest.fixture(scope="module")
def ended(recorder: Evidence, double: LiveKitDouble) -> tuple[Visit, evidence_pb2.Recording]:
    """A session of seven to whom all of it happens, that ends while its files are still to come."""
    for who, (faults, _) in FAULTS.items():
        double.misbehave(faults, identity=who)
    visit = Visit(recorder, double, *FAULTS)
    for who in FAULTS:
        visit.consent(who)
    recording_id = visit.start().recording.recording_id
    double.advance(1)
    recorder.call("StopRecording", evidence_pb2.StopRecordingRequest(recording_id=recording_id))
    with recorder.ledger.blocking_client() as client:
        chain, _ = client.end_session(visit.chain_id)
        assert [item.item_id for item in chain.pending] == [recording_id]
    until(lambda: pass_time(recorder, recording_id, ENDLESS, after="stopped_at", seconds=FINISH_SECONDS))
    until(lambda: pass_time(recorder, recording_id, WITHOUT_FILES, after="ended_at", seconds=UPLOAD_SECONDS))
    states = (evidence_pb2.RECORDING_STATE_COMPLETED, evidence_pb2.RECORDING_STATE_FAILED)
    recording = visit.until(recording_id, *states)
    assert recording.state == evidence_pb2.RECORDING_STATE_COMPLETED, recording
    deadline = time.monotonic() + PATIENCE_SECONDS
    with recorder.ledger.blocking_client() as client:
        while (chain := client.get_chain(visit.chain_id)).state != "closed":
            assert time.monotonic() < deadline, chain
            time.sleep(0.2)
    return visit, recording


def pass_time(recorder: Evidence, recording_id: str, people: set[str], *, after: str, seconds: int) -> bool:
    """Once it has happened to all, make it look so much longer ago: what only the database's superuser can do."""
    update = sql.SQL(
        "UPDATE evidence.recording_stays SET {0} = {0} - %s"
        " WHERE recording_id = %s AND participant = ANY (%s) AND {0} IS NOT NULL"
    ).format(sql.Identifier(after))
    with psycopg.connect(recorder.ledger.database.admin_dsn) as connection:
        connection.execute("ALTER TABLE evidence.recording_stays DISABLE TRIGGER guard_stay")
        changed = connection.execute(update, [seconds * 1_000_000, recording_id, list(people)]).rowcount
        connection.execute("ALTER TABLE evidence.recording_stays ENABLE ALWAYS TRIGGER guard_stay")
        has_happened = changed == len(people)
        if not has_happened:
            connection.rollback()
        return has_happened


def completed(visit: Visit) -> dict[str, Any]:
    (event,) = visit.recorder.events("recording.completed", chain_id=visit.chain_id)
    return event  # type: ignore[no-any-return]  # a payload


def test_the_chain_says_of_every_egress_how_it_ended_and_what_came_of_it(
    ended: tuple[Visit, evidence_pb2.Recording],
) -> None:
    visit, _ = ended
    end = completed(visit)
    accounts = {one["participant"]: one for one in end["egresses"]}
    assert {who: account["outcome"] for who, account in accounts.items()} == {
        who: outcome for who, (_, outcome) in FAULTS.items()
    }
    # Usable, and said to be cut: kept as LiveKit left it, too.
    assert "composite.mp4" in accounts["bob"]["files"]
    assert [raw["kept"] for raw in accounts["bob"]["raws"]] == ["LiveKit cut the recording short at a limit"]
    # Waited for.
    assert "composite.mp4" in accounts["fay"]["files"]
    for who in ("cem", "dan", "gil"):
        assert (accounts[who]["files"], accounts[who]["raws"]) == ([], [])
        assert accounts[who]["problem"] == "LiveKit left no file of this recording in the store"
    told = visit.recorder.events("recording.participant_ended", chain_id=visit.chain_id)
    assert sorted(one["participant"] for one in told) == sorted(FAULTS)


def test_what_is_in_the_store_is_what_the_chain_says(ended: tuple[Visit, evidence_pb2.Recording]) -> None:
    visit, recording = ended
    recorder, end = visit.recorder, completed(visit)
    dropped = {raw["key"] for egress in end["egresses"] for raw in egress["raws"] if not raw["kept"]}
    assert dropped
    deadline = time.monotonic() + PATIENCE_SECONDS
    while {one["key"] for one in recorder.events("recording.raw_dropped")} != dropped:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    kept = {(raw["key"], raw["sha256"]) for egress in end["egresses"] for raw in egress["raws"] if raw["kept"]}
    listed = {(one["key"], one["sha256"]) for one in end["artefacts"]}
    client, bucket = s3(recorder), recorder.store.bucket.name
    while True:
        there = [
            (one.key, one.version_id)
            for one in recorder.store.list_objects("acme/recordings/")
            if recording.recording_id in one.key and not one.is_delete_marker
        ]
        if not {key for key, _ in there} & dropped:
            break
        assert time.monotonic() < deadline, there
        time.sleep(0.2)
    bodies = [client.get_object(Bucket=bucket, Key=key, VersionId=version)["Body"].read() for key, version in there]
    found = [(key, hashlib.sha256(body).hexdigest()) for (key, _), body in zip(there, bodies, strict=True)]
    assert sorted(found) == sorted(kept | listed)


def test_the_bundle_of_the_session_with_the_recording_verifies_offline(
    ended: tuple[Visit, evidence_pb2.Recording], tmp_path: Path
) -> None:
    visit, recording = ended
    path = tmp_path / "recording.zip"
    with grpc.insecure_channel(visit.recorder.address) as channel, path.open("wb") as file:
        stub = evidence_pb2_grpc.EvidenceServiceStub(channel)
        request = evidence_pb2.ExportRecordingRequest(recording_id=recording.recording_id)
        for message in stub.ExportRecording(request, timeout=120, metadata=visit.recorder.headers()):
            file.write(message.data)
    report = verify_bundle(io.BytesIO(path.read_bytes()), policy=TrustPolicy())
    assert [one for one in report.findings if one.severity is Severity.ERROR] == []
    (finding,) = [one for one in report.findings if one.code == "artefacts-recorded"]
    assert f"{len(recording.files)} files of the recording {recording.recording_id}" in finding.message
    assert (report.chain_ok, report.closed) == (True, True)
    accesses = visit.recorder.events("recording.accessed")
    assert [(one["access"], one["file"]) for one in accesses] == [("export", None)]
