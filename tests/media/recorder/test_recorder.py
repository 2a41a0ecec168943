import asyncio
import errno
import hashlib
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path

import av
import pytest
from click.testing import CliRunner

from media.clips.footage import Footage
from media.clips.naming import NamePattern
from media.clips.sources import Source, SourceKind
from media.clips.window import WindowLengths
from media.video import recorder, recorder_segment
from media.video.recorder_cli import camera as record_cameras
from media.video.recorder_ring import SEGMENT_NAMES
from media.video.recorder_sidecar import SegmentState
from media.video.values import ClockSource, Window
from sandbox.camera import H265, Camera, CameraFaults, Filming
from sandbox.camera.film import Film, Shot
from tests.media.recorder.recording import PATIENCE_SECONDS, SECOND, recording, segments, start_process, wait_until

QUICK = Filming(gop_seconds=0.5)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses are noticed and mended sooner than in earnest."""
    monkeypatch.setattr(recorder, "SILENT_SECONDS", 4.0)
    monkeypatch.setattr(recorder, "OPEN_SECONDS", 8.0)
    monkeypatch.setattr(recorder, "LONGEST_PAUSE_SECONDS", 0.5)


@contextmanager
def a_camera(filming: Filming | None = None) -> Iterator[Camera]:
    camera = Camera(filming or QUICK)
    try:
        yield camera
    finally:
        camera.stop()


@pytest.fixture
def camera() -> Iterator[Camera]:
    with a_camera() as running:
        yield running


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    return tmp_path / "ring"


@pytest.fixture
def filmed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """When each picture was taken, as it shows: on a busy machine a camera takes none for a while."""
    times: list[int] = []
    shoot = Film.shoot

    def noted(self: Film, at: int, elapsed: int) -> list[Shot]:
        times.append(at // 1000 * 1000)
        return shoot(self, at, elapsed)

    monkeypatch.setattr(Film, "shoot", noted)
    return times


def errors(directory: Path) -> list[int]:
    """By how much placed times differ from those the camera drew, over all finished segments."""
    return [placed - seen for one in segments(directory) for placed, seen in one.frames()]


def test_a_camera_is_recorded_into_segments_that_are_placed_to_the_millisecond(camera: Camera, ring: Path) -> None:
    with recording(camera, ring):
        wait_until(lambda: ring.exists() and len(segments(ring)) >= 3)
    for one in segments(ring):
        assert one.sidecar.clock.source is ClockSource.RTCP
        assert one.sidecar.frames == len(one.frames())
        assert one.sidecar.sha256 == hashlib.sha256(one.path.read_bytes()).hexdigest()
        with av.open(str(one.path)) as container:
            assert next(iter(container.demux(video=0))).is_keyframe
    assert max(map(abs, errors(ring))) < 10_000
    assert not segments(ring, SegmentState.RECORDING)


def test_no_picture_is_lost_between_segments(filmed: list[int], camera: Camera, ring: Path) -> None:
    with recording(camera, ring):
        wait_until(lambda: ring.exists() and len(segments(ring)) >= 4)
    seen = [seen for one in segments(ring) for _, seen in one.frames()]
    assert len(seen) > 10
    assert seen == [at for at in filmed if seen[0] <= at <= seen[-1]]


def test_a_camera_with_sound_is_recorded_with_it(ring: Path) -> None:
    with a_camera(Filming(sound=True, gop_seconds=0.5)) as camera, recording(camera, ring):
        wait_until(lambda: ring.exists() and len(segments(ring)) >= 4)
    samples = 0
    for one in segments(ring):
        with av.open(str(one.path)) as container:
            (sound,) = container.streams.audio
            assert sound.codec_context.name == "pcm_mulaw"
            samples += sum(packet.size for packet in container.demux(sound))
    seen = [seen for one in segments(ring) for _, seen in one.frames()]
    assert samples == pytest.approx((seen[-1] - seen[0]) * 8000 / SECOND, rel=0.3)
    assert max(map(abs, errors(ring))) < 10_000


@pytest.mark.parametrize("filming", [Filming(codec=H265, gop_seconds=0.5), Filming(b_frames=2, gop_seconds=0.5)])
def test_h265_and_pictures_that_are_sent_in_another_order_than_shown_are_placed_as_well(
    ring: Path, filming: Filming
) -> None:
    with a_camera(filming) as camera, recording(camera, ring):
        wait_until(lambda: ring.exists() and len(segments(ring)) >= 4)
    for one in segments(ring):
        placed, seen = zip(*one.frames(), strict=True)
        assert list(seen) == sorted(seen)
        assert len(seen) == one.sidecar.frames
        assert max(abs(where - when) for where, when in zip(placed, seen, strict=True)) < 10_000, (
            [where - when for where, when in zip(placed, seen, strict=True)],
            one.sidecar.clock,
            one.path.name,
        )


def test_a_camera_that_never_tells_the_time_is_placed_by_arrival_within_the_bound(ring: Path) -> None:
    with a_camera() as camera:
        camera.faults = CameraFaults(silent_reports=True)
        with recording(camera, ring):
            wait_until(lambda: ring.exists() and len(segments(ring)) >= 3)
    for one in segments(ring):
        assert one.sidecar.clock.source is ClockSource.ARRIVAL
        assert one.sidecar.camera_offset_us is None
        assert all(abs(placed - seen) <= one.sidecar.clock.error_us for placed, seen in one.frames())


def test_a_camera_with_a_wrong_clock_does_not_move_its_footage(ring: Path) -> None:
    with a_camera() as camera:
        camera.faults = CameraFaults(clock_step=-3600 * SECOND)
        with recording(camera, ring):
            wait_until(lambda: ring.exists() and len(segments(ring)) >= 2)
    for one in segments(ring):
        assert one.sidecar.clock.source is ClockSource.ARRIVAL
        assert one.sidecar.camera_offset_us == pytest.approx(-3600 * SECOND, abs=3 * SECOND)
        for placed, seen in one.frames():
            assert abs(placed - (seen + 3600 * SECOND)) <= one.sidecar.clock.error_us


def test_a_camera_whose_clock_is_set_while_it_films_is_placed_right_before_and_after(
    camera: Camera, ring: Path
) -> None:
    step = 1_000_000
    with recording(camera, ring):
        wait_until(lambda: ring.exists() and len(segments(ring)) >= 2)
        camera.faults = CameraFaults(clock_step=step)
        before = len(segments(ring))
        wait_until(lambda: len(segments(ring)) >= before + 4)
    for one in segments(ring):
        # The camera draws its own clock: it is wrong by the step in the pictures as well, and no further from them.
        assert all(abs(placed - seen) <= one.sidecar.clock.error_us + step for placed, seen in one.frames())
    assert max(abs(placed - seen) for placed, seen in segments(ring)[-1].frames()) < 10_000


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
def test_a_camera_that_stalls_is_given_up_and_tried_again(camera: Camera, ring: Path) -> None:
    with recording(camera, ring) as metrics:
        wait_until(lambda: ring.exists() and segments(ring))
        camera.faults = CameraFaults(stalled=True)
        wait_until(lambda: metrics.losses._value.get() >= 1)
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
    camera: Camera, ring: Path, codec: str
) -> None:
    camera.faults = CameraFaults(claimed_codec=codec)
    with recording(camera, ring) as metrics:
        wait_until(lambda: metrics.losses._value.get() >= 1 or segments(ring))
        camera.faults = CameraFaults()
        camera.drop_viewers()
        wait_until(lambda: any(one.sidecar.clock.source is ClockSource.RTCP for one in segments(ring)))


def test_a_description_of_64_megabytes_is_survived(camera: Camera, ring: Path) -> None:
    camera.faults = CameraFaults(huge_answers=True)
    with recording(camera, ring):
        wait_until(lambda: ring.exists() and segments(ring))


def test_the_ring_is_kept_within_its_bytes_while_recording(camera: Camera, ring: Path) -> None:
    with recording(camera, ring, keep_bytes=60_000):
        wait_until(lambda: ring.exists() and len(segments(ring)) >= 2)
        first = segments(ring)[0].path
        wait_until(lambda: not first.exists())
    assert sum(path.stat().st_size for path in ring.iterdir()) < 120_000
    assert segments(ring)


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


async def test_a_clip_is_found_in_a_ring_that_is_being_recorded(filmed: list[int], camera: Camera, ring: Path) -> None:
    source = Source(
        organisation_id="acme",
        source_id="yard",
        camera_id="yard",
        kind=SourceKind.RECORDER,
        location=ring,
        names=NamePattern(SEGMENT_NAMES, UTC),
        clock_error_us=5 * SECOND,
        longest_segment_us=3600 * SECOND,
        settle_us=10 * SECOND,
        wait_us=30 * SECOND,
        lengths=WindowLengths(),
    )
    with recording(camera, ring):
        wait_until(lambda: ring.exists() and len(segments(ring)) >= 6)
        last = segments(ring)[-1].sidecar.clock.utc_of(0)
        # In the middle of a segment: where two meet, the camera's reports leave a few milliseconds open.
        window = Window(asked_from=last - SECOND * 3 // 2, asked_to=last + SECOND // 2, event_at=last)
        while True:
            target = Path(tempfile.mkdtemp(dir=ring.parent))
            found = await Footage().find(source, window, directory=target)
            if found.complete:
                break
            await asyncio.sleep(0.2)
    assert found.gaps == ()
    assert not found.notes
    seen = []
    for segment in found.segments:
        assert segment.clock.source is ClockSource.RTCP
        (original,) = [one for one in segments(ring) if one.path.name == segment.source_name]
        assert segment.sha256 == original.sidecar.sha256
        seen += [seen for _, seen in original.frames()]
    assert min(seen) <= window.asked_from
    assert {at for at in filmed if window.asked_from <= at <= window.asked_to - 200_000} <= set(seen)


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
