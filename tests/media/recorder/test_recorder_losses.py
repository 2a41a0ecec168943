"""Cameras and disks that fail: what is lost is told, and the recorder goes on."""

import errno
import threading
import time
from pathlib import Path

import pytest

from media.video import recorder, recorder_segment
from media.video.recorder_sidecar import SegmentState
from media.video.values import ClockSource
from sandbox.camera import Camera, CameraFaults
from tests.media.recorder.recording import errors, recording, segments, wait_until


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a camera that answers, on a machine that is busy with other things."""
    monkeypatch.setattr(recorder, "SILENT_SECONDS", 4.0)
    monkeypatch.setattr(recorder, "OPEN_SECONDS", 8.0)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses are noticed and mended sooner than in earnest."""
    be_patient(monkeypatch)
    monkeypatch.setattr(recorder, "LONGEST_PAUSE_SECONDS", 0.5)


@pytest.mark.usefixtures("_impatient")
def test_a_lost_camera_comes_back_and_the_gap_is_told(camera: Camera, ring: Path) -> None:
    with recording(camera, ring) as metrics:
        wait_until(lambda: ring.exists() and segments(ring))
        camera.faults = CameraFaults(unreachable=True)
        wait_until(lambda: metrics.losses._value.get() >= 2)
        noticed_at = time.time_ns() // 1000
        assert metrics.up._value.get() == 0
        camera.faults = CameraFaults()
        wait_until(lambda: any(one.sidecar.lost_before for one in segments(ring)))
        assert metrics.up._value.get() == 1
    made = segments(ring)
    back = next(number for number, one in enumerate(made) if one.sidecar.lost_before)
    lost = made[back].sidecar.lost_before
    assert lost is not None
    (*_, (_, last_seen)) = made[back - 1].frames()
    assert last_seen <= lost.since <= noticed_at
    assert lost.why
    assert not segments(ring, SegmentState.INTERRUPTED)
    assert max(map(abs, errors(ring))) < 10_000


@pytest.mark.usefixtures("_impatient")
def test_a_camera_that_stalls_is_given_up_and_tried_again(
    camera: Camera, ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "SILENT_SECONDS", 1.5)
    with recording(camera, ring) as metrics:
        wait_until(lambda: ring.exists() and segments(ring))
        camera.faults = CameraFaults(stalled=True)
        wait_until(lambda: metrics.losses._value.get() >= 1)
        be_patient(monkeypatch)
        camera.faults = CameraFaults()
        wait_until(lambda: any(one.sidecar.lost_before for one in segments(ring)))
    lost = next(one.sidecar.lost_before for one in segments(ring) if one.sidecar.lost_before)
    assert "did not answer" in lost.why
    assert max(map(abs, errors(ring))) < 10_000


@pytest.mark.usefixtures("_impatient")
def test_garbage_from_a_camera_ends_nothing_but_the_connection(camera: Camera, ring: Path) -> None:
    with recording(camera, ring):
        wait_until(lambda: ring.exists() and segments(ring))
        camera.faults = CameraFaults(garbage=True)
        time.sleep(1)
        camera.faults = CameraFaults()
        camera.drop_viewers()
        count = len(segments(ring))
        wait_until(lambda: len(segments(ring)) >= count + 2)
    for one in segments(ring)[-2:]:
        assert max(abs(placed - seen) for placed, seen in one.frames()) < 10_000


@pytest.mark.usefixtures("_impatient")
def test_a_camera_that_is_not_there_yet_is_waited_for(camera: Camera, ring: Path) -> None:
    camera.faults = CameraFaults(unreachable=True)
    with recording(camera, ring) as metrics:
        wait_until(lambda: metrics.losses._value.get() >= 2)
        camera.faults = CameraFaults()
        wait_until(lambda: segments(ring))


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("codec", ["VP8", "nonsense"])
def test_a_camera_that_sends_something_else_than_it_says_is_tried_until_it_does(
    camera: Camera, ring: Path, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera.faults = CameraFaults(claimed_codec=codec)
    # All of it is spent on what cannot be understood.
    monkeypatch.setattr(recorder, "OPEN_SECONDS", 2.0)
    with recording(camera, ring) as metrics:
        wait_until(lambda: metrics.losses._value.get() >= 1 or segments(ring))
        be_patient(monkeypatch)
        camera.faults = CameraFaults()
        camera.drop_viewers()
        wait_until(lambda: any(one.sidecar.clock.source is ClockSource.RTCP for one in segments(ring)))


def test_a_description_of_64_megabytes_is_survived(camera: Camera, ring: Path) -> None:
    camera.faults = CameraFaults(huge_answers=True)
    with recording(camera, ring):
        wait_until(lambda: ring.exists() and segments(ring))


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(("number", "kept"), [(errno.EIO, 1), (errno.ENOSPC, 0)])
def test_only_a_full_disk_costs_older_segments(
    camera: Camera, ring: Path, monkeypatch: pytest.MonkeyPatch, number: int, kept: int
) -> None:
    with recording(camera, ring):
        wait_until(lambda: ring.exists() and len(segments(ring)) >= 3)
    oldest = segments(ring)[0].path

    def fail(_self: recorder_segment._HashedFile, _data: bytes) -> None:
        raise OSError(number, "trouble")

    monkeypatch.setattr(recorder_segment._HashedFile, "_append", fail)
    with recording(camera, ring) as metrics:
        wait_until(lambda: metrics.losses._value.get() >= 2)
    assert oldest.exists() == kept


def test_a_disk_that_fails_for_a_while_costs_a_gap_and_not_the_recorder(
    camera: Camera, ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = recorder_segment._HashedFile._append
    full = threading.Event()

    def write(self: recorder_segment._HashedFile, data: bytes) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        written(self, data)

    monkeypatch.setattr(recorder_segment._HashedFile, "_append", write)
    with recording(camera, ring) as metrics:
        wait_until(lambda: ring.exists() and segments(ring))
        full.set()
        wait_until(lambda: metrics.losses._value.get() >= 1)
        full.clear()
        wait_until(lambda: any(one.sidecar.lost_before for one in segments(ring)))
    told = next(one.sidecar.lost_before for one in segments(ring) if one.sidecar.lost_before)
    assert "No space left" in told.why
    assert segments(ring, SegmentState.INTERRUPTED)
