"""Workers killed at every boundary: another takes over, and there is one clip, one event and nothing left over."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from indelible.evidence.v1 import evidence_pb2

from sandbox.objects import Objects
from tests.media.service.dying_worker import BOUNDARIES, TURN_SECONDS
from tests.media.service.evidence import SHORT_LEASE, SWEEPING, TEST_SECONDS, Evidence, running_evidence
from tests.service.serving import Service

# One lives until the turn of the one before it is over, whatever else it has to do.
KILLED_SECONDS = 2 * TURN_SECONDS + 540


@pytest.fixture
def lonely(tmp_path: Path, ledger: Service, objects: Objects) -> Iterator[Evidence]:
    """An evidence service without any worker."""
    with running_evidence(tmp_path, ledger, objects, extra=SWEEPING | SHORT_LEASE) as running:
        yield running


@pytest.mark.timeout(KILLED_SECONDS + TEST_SECONDS)
def test_a_worker_killed_at_any_step_is_taken_over_with_one_clip_and_no_orphans(lonely: Evidence) -> None:
    incidents = [f"killed-{number}" for number in range(len(BOUNDARIES))]
    clip_ids = [lonely.request(incident, seconds=1).clip.clip_id for incident in incidents]
    with (lonely.directory / "dying.log").open("w") as log:
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("dying_worker.py")],
            env=lonely.environment | {"PYTHONPATH": str(Path(__file__).parents[3])},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            timeout=KILLED_SECONDS,
            check=False,
        )
    assert done.stdout.splitlines() == [f"{boundary} killed" for boundary in BOUNDARIES], lonely.log_tail()
    lonely.work()
    clips = [lonely.ended(clip_id) for clip_id in clip_ids]
    assert {clip.state for clip in clips} == {evidence_pb2.CLIP_STATE_PRESERVED}, lonely.log_tail()

    # One event for each clip, however often it was told. The last one killed had the turn to tell, which runs out.
    until = time.monotonic() + TURN_SECONDS + 90
    while len(told := [one["incident"] for one in lonely.events("clip.preserved")]) < len(incidents):
        assert time.monotonic() < until, lonely.log_tail()
        time.sleep(0.2)
    assert Counter(told) == Counter(incidents)

    # What the killed ones left in the store is swept, and what the clips own is all that stays.
    owned = {(artefact.key, artefact.version_id) for clip in clips for artefact in clip.artefacts}
    while (listed := {(one.key, one.version_id or "") for one in lonely.store.list_objects("acme/")}) != owned:
        assert time.monotonic() < until + 90, f"{listed ^ owned}"
        time.sleep(0.5)
    for clip in clips:
        request = evidence_pb2.VerifyStoredClipRequest(clip_id=clip.clip_id)
        assert lonely.call("VerifyStoredClip", request).ok
    # Their directories are gone as well.
    assert list((lonely.directory / "work").iterdir()) == []
