"""What becomes of a request, end to end."""

import hashlib
import json
import subprocess
import time
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import grpc
import pytest
from indelible.evidence.v1 import evidence_pb2

from media.clips.export import CUSTODY_TO_DATE_NAME
from sandbox.processes import find_program
from tests.media.clips.checking import check
from tests.media.service.evidence import PATIENCE_SECONDS, TEST_SECONDS, Evidence, s3

pytestmark = pytest.mark.timeout(TEST_SECONDS)

NAMES = ["clip.mp4", "custody.json", "metadata.json", "native.mp4", "preview.webm", "thumbnail.jpg"]


@pytest.fixture(scope="module")
def clip(evidence: Evidence) -> evidence_pb2.Clip:
    made = evidence.preserved("whole")
    assert made.state == evidence_pb2.CLIP_STATE_PRESERVED, evidence.log_tail()
    return made


def stored(evidence: Evidence, clip: evidence_pb2.Clip, name: str) -> bytes:
    artefact = next(one for one in clip.artefacts if one.name == name)
    bucket = evidence.environment["INDELIBLE_EVIDENCE_BUCKET"]
    answer = s3(evidence).get_object(Bucket=bucket, Key=artefact.key, VersionId=artefact.version_id)
    body: bytes = answer["Body"].read()
    return body


def events_about(evidence: Evidence, kind: str, clip_id: str, seconds: float = PATIENCE_SECONDS) -> list[Any]:
    """The events of a kind about a clip, once the relay has told the first."""
    until = time.monotonic() + seconds
    while True:
        found = [event for event in evidence.events(kind) if event["clip_id"] == clip_id]
        if found or time.monotonic() > until:
            return found
        time.sleep(0.2)


def test_a_clip_is_preserved_with_every_artefact_and_told_to_the_operations_chain(
    evidence: Evidence, clip: evidence_pb2.Clip
) -> None:
    assert [artefact.name for artefact in clip.artefacts] == NAMES
    for artefact in clip.artefacts:
        assert artefact.key == f"acme/2026/03/01/cam-gate-1/whole/{artefact.name}"
        body = stored(evidence, clip, artefact.name)
        assert (len(body), hashlib.sha256(body).digest()) == (artefact.size, artefact.sha256)
    (event,) = events_about(evidence, "clip.preserved", clip.clip_id)
    assert {one["name"]: (one["key"], one["version_id"], one["size"], one["sha256"]) for one in event["artefacts"]} == {
        one.name: (one.key, one.version_id or None, one.size, one.sha256.hex()) for one in clip.artefacts
    }
    assert (event["asked_from"], event["actual_from"]) == ("2026-03-01T12:00:08.000000Z",) * 2
    assert (event["camera"], event["incident"], event["requested_by"]) == ("cam-gate-1", "whole", "ann")


def test_the_documents_say_what_was_made_of_what(evidence: Evidence, clip: evidence_pb2.Clip) -> None:
    metadata = json.loads(stored(evidence, clip, "metadata.json"))
    assert metadata["clip_id"] == clip.clip_id
    assert metadata["window"]["asked"] == {"from": "2026-03-01T12:00:08.000000Z", "to": "2026-03-01T12:00:12.000000Z"}
    assert metadata["clock"] == {"source": "file_name", "error_seconds": 2.0} or metadata["clock"]["error_seconds"] < 3
    sha256 = {one["name"]: one["sha256"] for one in metadata["artefacts"]}
    assert sha256 == {one.name: one.sha256.hex() for one in clip.artefacts if not one.name.endswith(".json")}
    by_name = {one["name"]: one for one in metadata["artefacts"]}
    assert by_name["clip.mp4"]["video"]["codec"] == "hevc"
    assert by_name["native.mp4"]["copied"]
    assert all(one["tool"]["versions"] for one in metadata["artefacts"])
    assert {one["name"] for one in metadata["footage"]} == {
        path.name for path in (evidence.directory / "footage/gate-1").iterdir()
    }
    for one in metadata["footage"]:
        footage = (evidence.directory / "footage/gate-1" / one["name"]).read_bytes()
        assert one["sha256"] == hashlib.sha256(footage).hexdigest()
    custody = json.loads(stored(evidence, clip, "custody.json"))
    steps = [(entry["action"], entry["object"]) for entry in custody["entries"]]
    assert steps[0] == ("requested", None)
    assert ("stored and read back", "metadata.json") in steps
    assert [entry["at"] for entry in custody["entries"]] == sorted(entry["at"] for entry in custody["entries"])


def test_the_documents_are_as_their_schemas_say(evidence: Evidence, clip: evidence_pb2.Clip) -> None:
    check("metadata-1", json.loads(stored(evidence, clip, "metadata.json")))
    check("custody-1", json.loads(stored(evidence, clip, "custody.json")))
    live = evidence.call("GetCustody", evidence_pb2.GetCustodyRequest(clip_id=clip.clip_id)).document
    check("custody-1", json.loads(live))


def test_the_same_source_and_incident_is_the_same_clip_whatever_else_is_asked(
    evidence: Evidence, clip: evidence_pb2.Clip
) -> None:
    again = evidence.request("whole", at=3.0, seconds=1)
    assert not again.created
    assert again.clip == evidence.call("GetClip", evidence_pb2.GetClipRequest(clip_id=clip.clip_id)).clip
    assert again.clip.asked_from == clip.asked_from


def test_a_link_gives_the_bytes_and_every_link_is_on_record(evidence: Evidence, clip: evidence_pb2.Clip) -> None:
    request = evidence_pb2.CreateDownloadLinkRequest(clip_id=clip.clip_id, artefact="thumbnail.jpg", valid_seconds=300)
    link = evidence.call("CreateDownloadLink", request)
    with urllib.request.urlopen(link.url, timeout=60) as answer:
        body = answer.read()
    assert hashlib.sha256(body).digest() == link.sha256
    assert body[:2] == b"\xff\xd8"
    (event,) = events_about(evidence, "clip.accessed", clip.clip_id)[:1]
    assert (event["access"], event["artefact"], event["who"]) == ("link", "thumbnail.jpg", "ann")
    custody = json.loads(evidence.call("GetCustody", evidence_pb2.GetCustodyRequest(clip_id=clip.clip_id)).document)
    (entry,) = [one for one in custody["entries"] if one["action"] == "link issued"]
    assert entry["actor"] == {"kind": "person", "name": "ann"}
    with pytest.raises(grpc.RpcError, match="no artefact"):
        evidence.call("CreateDownloadLink", evidence_pb2.CreateDownloadLinkRequest(clip_id=clip.clip_id, artefact="x"))


def test_a_stored_clip_is_read_back_on_demand(evidence: Evidence, clip: evidence_pb2.Clip) -> None:
    answer = evidence.call("VerifyStoredClip", evidence_pb2.VerifyStoredClipRequest(clip_id=clip.clip_id))
    assert answer.ok
    assert {one.name: one.found_sha256 for one in answer.artefacts} == {one.name: one.sha256 for one in clip.artefacts}


def verdict(bundle: Path) -> dict[str, Any]:
    command = [str(find_program("indelible-verify")), "bundle", str(bundle), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_an_export_verifies_offline_and_tells_its_own_story(
    evidence: Evidence, clip: evidence_pb2.Clip, tmp_path: Path
) -> None:
    bundle = evidence.export(clip.clip_id, tmp_path / "clip.zip")
    report = verdict(bundle)
    codes = {finding["code"]: finding for finding in report["findings"]}
    assert report["chain_integrity"]["ok"], report
    assert "artefacts-recorded" in codes, report["findings"]
    assert not [finding for finding in report["findings"] if finding["severity"] == "error"], report["findings"]
    with zipfile.ZipFile(bundle) as archive:
        folder = f"operations/data/artefacts/{clip.clip_id}"
        for artefact in clip.artefacts:
            assert hashlib.sha256(archive.read(f"{folder}/{artefact.name}")).digest() == artefact.sha256
        custody = json.loads(archive.read(f"{folder}/{CUSTODY_TO_DATE_NAME}"))
    assert custody["entries"][-1]["action"] == "exported"
    assert custody["entries"][-1]["detail"]["event"]["chain_id"] == "operations"


def test_one_changed_byte_of_an_exported_clip_is_found(
    evidence: Evidence, clip: evidence_pb2.Clip, tmp_path: Path
) -> None:
    bundle = evidence.export(clip.clip_id, tmp_path / "clip.zip")
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "bag")
    file = tmp_path / f"bag/operations/data/artefacts/{clip.clip_id}/clip.mp4"
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)
    assert verdict(tmp_path / "bag/operations")["verdict"] == "FAILED"


def test_a_session_that_is_named_is_told_too_and_exported_with_the_clip(evidence: Evidence, tmp_path: Path) -> None:
    with evidence.ledger.blocking_client() as client:
        client.open_chain("visit-1")
    clip = evidence.preserved("in-session", session="visit-1")
    events_about(evidence, "clip.preserved", clip.clip_id)
    bundle = evidence.export(clip.clip_id, tmp_path / "visit.zip", chain_id="visit-1")
    assert [one["clip_id"] for one in evidence.events("clip.preserved", chain_id="visit-1")] == [clip.clip_id]
    report = verdict(bundle)
    assert report["chain_id"] == "visit-1"
    assert "artefacts-recorded" in {finding["code"] for finding in report["findings"]}


def test_a_closed_session_is_left_alone_and_the_operations_chain_still_told(evidence: Evidence, tmp_path: Path) -> None:
    with evidence.ledger.blocking_client() as client:
        client.open_chain("visit-2")
        client.close_chain("visit-2")
    clip = evidence.preserved("after-session", session="visit-2")
    assert events_about(evidence, "clip.preserved", clip.clip_id)
    with pytest.raises(grpc.RpcError, match="not noted on a chain"):
        evidence.export(clip.clip_id, tmp_path / "visit.zip", chain_id="visit-2")
    assert evidence.export(clip.clip_id, tmp_path / "clip.zip").stat().st_size > 0


def test_an_incident_without_footage_fails_with_the_reason_and_is_told(evidence: Evidence) -> None:
    clip = evidence.preserved("nothing-there", at=7200.0)
    assert clip.state == evidence_pb2.CLIP_STATE_FAILED
    assert clip.failure.reason == "NO_FOOTAGE"
    (event,) = events_about(evidence, "clip.failed", clip.clip_id)
    assert event["reason"] == "NO_FOOTAGE"
    with pytest.raises(grpc.RpcError, match="not preserved"):
        evidence.call("CreateDownloadLink", evidence_pb2.CreateDownloadLinkRequest(clip_id=clip.clip_id, artefact="x"))


def test_a_window_that_reaches_beyond_the_footage_is_preserved_with_its_gap_named(evidence: Evidence) -> None:
    clip = evidence.preserved("at-the-end", at=19.0, seconds=3)
    assert clip.state == evidence_pb2.CLIP_STATE_PRESERVED, clip.failure
    (gap,) = clip.gaps
    assert gap.ends_at == clip.asked_to
    assert gap.why in {"missing", "not_yet_recorded"}
    assert clip.actual_to.ToMicroseconds() < clip.asked_to.ToMicroseconds()
