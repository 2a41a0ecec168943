"""The same requests over and over, from many at once: one clip for each incident, for ever."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from indelible.evidence.v1 import evidence_pb2, evidence_pb2_grpc

from tests.media.service.evidence import PATIENCE_SECONDS, TEST_SECONDS, Evidence, extraction
from tests.service.calling import refusal_of

INCIDENTS = 20
REQUESTS = 200


@pytest.mark.timeout(TEST_SECONDS)
def test_200_replayed_and_concurrent_requests_for_20_incidents_are_20_clips(evidence: Evidence) -> None:
    second = evidence.work()
    with grpc.insecure_channel(evidence.address) as channel:
        stub = evidence_pb2_grpc.EvidenceServiceStub(channel)

        def ask(number: int) -> evidence_pb2.RequestExtractionResponse:
            request = extraction(f"many-{number % INCIDENTS}", at=4.0 + number % INCIDENTS / 2, seconds=1)
            until = time.monotonic() + PATIENCE_SECONDS
            while True:
                try:
                    answer: evidence_pb2.RequestExtractionResponse = stub.RequestExtraction(
                        request, timeout=60, metadata=evidence.headers()
                    )
                except grpc.RpcError as error:
                    # So many at once may be more than the service takes; whoever is told so asks again.
                    if refusal_of(error).reason not in {"OVERLOADED", "DATABASE_UNAVAILABLE"}:
                        raise
                    assert time.monotonic() < until
                    time.sleep(0.2)
                else:
                    return answer

        with ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(ask, range(REQUESTS)))
    assert Counter(answer.created for answer in answers) == {True: INCIDENTS, False: REQUESTS - INCIDENTS}
    clip_ids = {answer.clip.clip_id for answer in answers}
    assert len(clip_ids) == INCIDENTS
    clips = [evidence.ended(clip_id, seconds=TEST_SECONDS / 2) for clip_id in clip_ids]
    assert {clip.state for clip in clips} == {evidence_pb2.CLIP_STATE_PRESERVED}
    # Asked again when all is done, the answer is still the same clip.
    assert {evidence.request(f"many-{number}").clip.clip_id for number in range(INCIDENTS)} == clip_ids
    keys = [one.key for one in evidence.store.list_objects("acme/")]
    assert len([key for key in keys if "/many-" in key and key.endswith("/clip.mp4")]) == INCIDENTS
    second.stop()
