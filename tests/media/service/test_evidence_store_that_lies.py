"""A store that lies while a clip is preserved: nothing is ever indexed that is not there, byte for byte."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from indelible.evidence.v1 import evidence_pb2

from sandbox.objects import Objects
from sandbox.objects_faults import Fault, LyingObjects
from tests.media.service.evidence import PATIENCE_SECONDS, SWEEPING, TEST_SECONDS, Evidence, running_evidence
from tests.service.serving import Service

pytestmark = pytest.mark.timeout(TEST_SECONDS)


@pytest.fixture(scope="module")
def liar(objects: Objects) -> Iterator[LyingObjects]:
    with LyingObjects(objects.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def deceived(
    tmp_path_factory: pytest.TempPathFactory, ledger: Service, objects: Objects, liar: LyingObjects
) -> Iterator[Evidence]:
    """A service whose store is behind the liar."""
    directory = tmp_path_factory.mktemp("deceived")
    with running_evidence(directory, ledger, objects, store_url=liar.url, extra=SWEEPING) as running:
        running.work()
        # Its worker has probed the bucket before the lying begins.
        assert running.preserved("honest").state == evidence_pb2.CLIP_STATE_PRESERVED, running.log_tail()
        yield running


def indexed_and_there(evidence: Evidence, clip: evidence_pb2.Clip) -> None:
    """Every artefact on record is in the real store as recorded."""
    bucket = evidence.store.bucket
    for artefact in clip.artefacts:
        body = bucket.reader.get_object(Bucket=bucket.name, Key=artefact.key, VersionId=artefact.version_id)["Body"]
        assert hashlib.sha256(body.read()).digest() == artefact.sha256


@pytest.mark.parametrize(
    "fault", [Fault.FLIP_ON_READ, Fault.SHORT_READ, Fault.RESET_ON_READ, Fault.ERROR_AFTER_PUT, Fault.IGNORE_PUT]
)
def test_a_lie_that_ends_is_survived(deceived: Evidence, liar: LyingObjects, fault: Fault) -> None:
    liar.lie(fault, times=1, key="native.mp4")
    clip = deceived.preserved(f"lied-to-{fault}")
    liar.stop_lying()
    assert clip.state == evidence_pb2.CLIP_STATE_PRESERVED, clip.failure
    indexed_and_there(deceived, clip)


def test_a_store_that_never_gives_back_what_it_got_makes_a_failed_preservation_with_everything_kept(
    deceived: Evidence, liar: LyingObjects
) -> None:
    liar.lie(Fault.FLIP_ON_READ, key="preview.webm")
    clip = deceived.preserved("deceived")
    liar.stop_lying()
    assert clip.state == evidence_pb2.CLIP_STATE_FAILED
    assert clip.failure.reason == "STORED_MISMATCH"
    assert not clip.artefacts
    until = time.monotonic() + PATIENCE_SECONDS
    while not (told := [one for one in deceived.events("clip.failed") if one["clip_id"] == clip.clip_id]):
        assert time.monotonic() < until
        time.sleep(0.2)
    kept = {(one["key"], one["version_id"]) for one in told[0]["kept"]}
    assert {key.rpartition("/")[2] for key, _ in kept} >= {"native.mp4", "clip.mp4", "thumbnail.jpg", "preview.webm"}
    time.sleep(3)  # the sweeper goes round meanwhile
    there = {(one.key, one.version_id) for one in deceived.store.list_objects("acme/2026/03/01/cam-gate-1/deceived/")}
    assert kept <= there


def test_a_store_that_changes_its_mind_later_is_caught_when_asked(deceived: Evidence, liar: LyingObjects) -> None:
    clip = deceived.preserved("changed-later")
    liar.lie(Fault.FLIP_ON_READ, key="changed-later/clip.mp4")
    answer = deceived.call("VerifyStoredClip", evidence_pb2.VerifyStoredClipRequest(clip_id=clip.clip_id))
    liar.stop_lying()
    assert not answer.ok
    assert [one.name for one in answer.artefacts if not one.ok] == ["clip.mp4"]
    assert deceived.call("VerifyStoredClip", evidence_pb2.VerifyStoredClipRequest(clip_id=clip.clip_id)).ok


def test_an_export_from_a_lying_store_is_refused_not_delivered(
    deceived: Evidence, liar: LyingObjects, tmp_path: Path
) -> None:
    clip = deceived.preserved("not-exported")
    liar.lie(Fault.FLIP_ON_READ, key="not-exported/clip.mp4")
    with pytest.raises(Exception, match=r"STORED_MISMATCH|not those|digest|not what"):
        deceived.export(clip.clip_id, tmp_path / "clip.zip")
    liar.stop_lying()
