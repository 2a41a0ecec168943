"""Holding, lifting, disposing, linking and exporting at the same moment: whichever comes first is whole."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from indelible.evidence.v1 import evidence_pb2

from tests.media.service.evidence import TEST_SECONDS, Evidence

pytestmark = pytest.mark.timeout(TEST_SECONDS)

DISPOSAL = {evidence_pb2.CLIP_STATE_DISPOSING, evidence_pb2.CLIP_STATE_DISPOSED}


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each answered, or with which status it was refused; all begin at the same moment."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return work()
        except grpc.RpcError as error:
            return error.code()

    with ThreadPoolExecutor(len(works)) as pool:
        return [one.result() for one in [pool.submit(run, work) for work in works]]


def hold(evidence: Evidence, clip_id: str, key: str) -> Callable[[], Any]:
    request = evidence_pb2.PlaceLegalHoldRequest(clip_id=clip_id, reason="a case", idempotency_key=f"{clip_id}-{key}")
    return lambda: evidence.call("PlaceLegalHold", request).hold


def dispose(evidence: Evidence, clip_id: str) -> Callable[[], Any]:
    request = evidence_pb2.DisposeClipRequest(clip_id=clip_id, reason="asked to")
    return lambda: evidence.call("DisposeClip", request).clip


def link(evidence: Evidence, clip_id: str) -> Callable[[], Any]:
    request = evidence_pb2.CreateDownloadLinkRequest(clip_id=clip_id, artefact="clip.mp4")
    return lambda: evidence.call("CreateDownloadLink", request)


def state(evidence: Evidence, clip_id: str) -> Any:
    return evidence.call("GetClip", evidence_pb2.GetClipRequest(clip_id=clip_id)).clip.state


@pytest.mark.parametrize("turn", range(3))
def test_a_hold_and_a_disposal_at_once_never_both_succeed(evidence: Evidence, turn: int) -> None:
    clip_id = evidence.preserved(f"race-{turn}").clip_id
    answers = at_once(
        hold(evidence, clip_id, "1"), dispose(evidence, clip_id), hold(evidence, clip_id, "2"), link(evidence, clip_id)
    )
    held = [not isinstance(answers[index], grpc.StatusCode) for index in (0, 2)]
    disposed = not isinstance(answers[1], grpc.StatusCode)
    assert disposed != any(held), answers
    assert all(one is grpc.StatusCode.FAILED_PRECONDITION for one in answers if isinstance(one, grpc.StatusCode))
    assert (state(evidence, clip_id) in DISPOSAL) == disposed
    if not disposed:
        request = evidence_pb2.VerifyStoredClipRequest(clip_id=clip_id)
        assert evidence.call("VerifyStoredClip", request).ok


def test_lifts_and_disposals_at_once_dispose_only_after_the_last_hold(evidence: Evidence) -> None:
    clip_id = evidence.preserved("race-lift").clip_id
    holds = [hold(evidence, clip_id, key)().hold_id for key in "12"]
    requests = [evidence_pb2.LiftLegalHoldRequest(hold_id=one, reason="closed") for one in (*holds, *holds)]
    lifts = [lambda request=request: evidence.call("LiftLegalHold", request).hold for request in requests]
    answers = at_once(*lifts, dispose(evidence, clip_id))
    assert answers[0] == answers[2]
    assert answers[1] == answers[3]
    disposed = not isinstance(answers[4], grpc.StatusCode)
    assert (state(evidence, clip_id) in DISPOSAL) == disposed
    if not disposed:
        dispose(evidence, clip_id)()
    assert state(evidence, clip_id) in DISPOSAL


def test_an_export_during_a_disposal_is_whole_or_refused(evidence: Evidence, tmp_path: Path) -> None:
    clip_id = evidence.preserved("race-export").clip_id
    path = tmp_path / "clip.zip"
    exported, disposed = at_once(lambda: evidence.export(clip_id, path), dispose(evidence, clip_id))
    assert not isinstance(disposed, grpc.StatusCode)
    assert exported == path or exported is grpc.StatusCode.FAILED_PRECONDITION
