"""`indelible camera record` as a process: killed, told to stop, given wrong commands, and silent about secrets."""

import hashlib
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from media.video.recorder_cli import camera as record_cameras
from media.video.recorder_sidecar import SegmentState
from sandbox.camera import Camera, Filming
from tests.media.recorder.recording import (
    PATIENCE_SECONDS,
    SECOND,
    a_camera,
    recording,
    segments,
    start_process,
    wait_until,
)


def test_a_killed_recorder_loses_at_most_its_last_fragment_and_the_next_says_so(camera: Camera, ring: Path) -> None:
    process = start_process(camera.url, ring, "--segment-seconds", "60")
    wait_until(lambda: ring.exists() and any(one.path.stat().st_size > 20_000 for one in segments(ring, None)))
    durable: list[tuple[int, int]] = []

    def lags_less_than_two_seconds() -> bool:
        (one,) = segments(ring, SegmentState.RECORDING)
        durable[:] = one.frames()
        return time.time_ns() // 1000 - durable[-1][1] < 2 * SECOND

    time.sleep(1)
    wait_until(lags_less_than_two_seconds)
    process.kill()
    process.communicate()
    (left,) = segments(ring, SegmentState.RECORDING)
    assert left.frames()[: len(durable)] == durable
    assert max(abs(placed - seen) for placed, seen in left.frames()) < 10_000
    with recording(camera, ring):
        wait_until(lambda: segments(ring))
    (marked,) = segments(ring, SegmentState.INTERRUPTED)
    assert marked.path == left.path
    assert marked.frames() == left.frames()


def test_a_recorder_that_is_told_to_stop_finishes_its_segment(camera: Camera, ring: Path) -> None:
    process = start_process(camera.url, ring, "--segment-seconds", "60")
    wait_until(lambda: ring.exists() and segments(ring, SegmentState.RECORDING))
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, told
    (one,) = segments(ring)
    assert one.sidecar.sha256 == hashlib.sha256(one.path.read_bytes()).hexdigest()


def test_the_cameras_password_is_in_no_output(ring: Path) -> None:
    with a_camera(Filming(gop_seconds=0.5, user="viewer", password="sesame-open")) as camera:
        logs = [ring.with_name(f"{name}.log") for name in ("right", "wrong", "away")]
        wrong, away = camera.url.replace("sesame", "salami"), "rtsp://viewer:sesame-open@127.0.0.1:1/live"
        processes = [
            start_process(camera.url, ring, log=logs[0]),
            start_process(wrong, ring.with_name("other"), "--log-level", "debug", log=logs[1]),
            start_process(away, ring.with_name("third"), log=logs[2]),
        ]
        wait_until(lambda: ring.exists() and segments(ring))
        wait_until(lambda: "401" in logs[1].read_text() and "camera_lost" in logs[2].read_text())
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(PATIENCE_SECONDS)
    told = "".join(log.read_text() for log in logs)
    for secret in ("sesame", "salami", "viewer"):
        assert secret not in told
        assert not any(secret in path.read_text() for path in ring.glob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--address", "rtsp://viewer:sesame@camera/live"], "can read a command line"),
        (["--address", "rtsp://camera/live?password=sesame"], "can read a command line"),
        (["--address", "file:///etc/passwd"], "rtsp://HOST/PATH"),
        (["--address", "http://camera/live"], "rtsp://HOST/PATH"),
        (["--address", "rtsp://camera:port/live"], "host or port"),
        (["--address", "rtsp:///live"], "rtsp://HOST/PATH"),
        (["--address", "rtsp://camera/a b"], "one line"),
        ([], "--address"),
        (["--address-file", "/nonexistent/file"], "cannot be read"),
        (["--address", "rtsp://camera/live", "--address-file", "x"], "either"),
        (["--address", "rtsp://camera/live", "--segment-seconds", "0"], "segment-seconds"),
        (["--address", "rtsp://camera/live", "--keep-hours", "nan"], "keep-hours"),
        (["--address", "rtsp://camera/live", "--metrics-listen", "nowhere"], "metrics-listen"),
    ],
)
def test_a_wrong_command_is_refused_without_repeating_a_secret(tmp_path: Path, arguments: list[str], told: str) -> None:
    ended = CliRunner().invoke(record_cameras, ["record", "--directory", str(tmp_path / "ring"), *arguments])
    assert ended.exit_code == 2
    assert told in ended.output
    assert "sesame" not in ended.output
    assert not (tmp_path / "ring").exists()
