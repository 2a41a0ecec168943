"""A recorder at work on a sandbox camera, in a thread of the test or in a process that can be killed."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import av

from media.video.recorder import RecorderSettings, record
from media.video.recorder_address import CameraAddress
from media.video.recorder_metrics import RecorderMetrics
from media.video.recorder_sidecar import SegmentState, Sidecar, parse_sidecar, sidecar_of
from sandbox.camera import Camera, Filming, read_clock

SECOND = 1_000_000
QUICK = Filming(gop_seconds=0.5)
# Longer than the longest pause between two tries of the recorder, on a machine that is busy with other things.
PATIENCE_SECONDS = 120.0
PROGRAM = "from media.video.recorder_cli import camera; camera()"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One segment in the ring."""

    path: Path
    sidecar: Sidecar

    def frames(self) -> list[tuple[int, int]]:
        """For every picture, when it is placed and when its camera saw it."""
        with av.open(str(self.path)) as container:
            video = container.streams.video[0]
            base = video.time_base
            frames = list(container.decode(video))
        assert base is not None
        first = min(frame.pts or 0 for frame in frames)
        clock = self.sidecar.clock
        return [(clock.utc_of(int(((one.pts or 0) - first) * base * SECOND)), read_clock(one)) for one in frames]


def segments(directory: Path, state: SegmentState | None = SegmentState.FINISHED) -> list[Recorded]:
    """The segments of a ring that are in this state, the oldest first; None: all."""
    found = []
    for path in sorted(directory.glob("*.m*")):
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile, to make room
            found.append(Recorded(path=path, sidecar=parse_sidecar(sidecar_of(path).read_bytes())))
    return [one for one in found if state is None or one.sidecar.state is state]


def errors(directory: Path) -> list[int]:
    """By how much placed times differ from those the camera drew, over all finished segments."""
    return [placed - seen for one in segments(directory) for placed, seen in one.frames()]


def wait_until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


@contextmanager
def a_camera(filming: Filming | None = None) -> Iterator[Camera]:
    camera = Camera(filming or QUICK)
    try:
        yield camera
    finally:
        camera.stop()


@contextmanager
def recording(camera: Camera, directory: Path, *, seconds: float = 0.5, **settings: Any) -> Iterator[RecorderMetrics]:
    """Record in a thread meanwhile; at the end it is stopped in order."""
    stop = threading.Event()
    metrics = RecorderMetrics()
    chosen = RecorderSettings(
        address=CameraAddress.parse(camera.url), directory=directory, segment_us=round(seconds * SECOND), **settings
    )
    failures: list[BaseException] = []

    def work() -> None:
        try:
            record(chosen, stop, metrics)
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield metrics
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert not failures, failures


def start_process(url: str, directory: Path, *arguments: str, log: Path | None = None) -> "subprocess.Popen[str]":
    """`indelible camera record` as a process of its own; what it tells comes through a pipe, or into `log`."""
    with contextlib.ExitStack() as stack:
        told = subprocess.PIPE if log is None else stack.enter_context(log.open("w"))
        return _start(url, directory, arguments, told)


def _start(url: str, directory: Path, arguments: Sequence[str], told: int | IO[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "record", "--directory", str(directory), "--segment-seconds", "1", *arguments],
        env={**os.environ, "INDELIBLE_CAMERA_ADDRESS": url},
        stderr=told,
        text=True,
    )
