"""What a recorder makes of a camera: segments that are placed when their pictures were taken, in a ring."""

import asyncio
import hashlib
import tempfile
from datetime import UTC
from pathlib import Path

import av
import pytest

from media.clips.footage import Footage
from media.clips.naming import NamePattern
from media.clips.sources import Source, SourceKind
from media.clips.window import WindowLengths
from media.video.recorder_ring import SEGMENT_NAMES
from media.video.recorder_sidecar import SegmentState
from media.video.values import ClockSource, Window
from sandbox.camera import H265, Camera, CameraFaults, Filming
from tests.media.recorder.recording import SECOND, a_camera, errors, recording, segments, wait_until


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


def test_the_ring_is_kept_within_its_bytes_while_recording(camera: Camera, ring: Path) -> None:
    with recording(camera, ring, keep_bytes=60_000):
        wait_until(lambda: ring.exists() and len(segments(ring)) >= 2)
        first = segments(ring)[0].path
        wait_until(lambda: not first.exists())
    assert sum(path.stat().st_size for path in ring.iterdir()) < 120_000
    assert segments(ring)


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
