"""The sandbox camera, watched by libav as any player would; its faults are used by the recorder's tests."""

import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.camera import (
    H264,
    H265,
    Camera,
    Filming,
    Recording,
    UnreadableClockError,
    draw_frame,
    read_clock,
    write_segments,
)

SECOND = 1_000_000
NOON = 1_772_366_400 * SECOND


@given(milliseconds=st.integers(0, 2**42 - 1))
@settings(max_examples=50)
def test_a_picture_tells_when_it_was_drawn(milliseconds: int) -> None:
    assert read_clock(draw_frame(192, 108, milliseconds * 1000)) == milliseconds * 1000


def test_a_picture_tells_its_time_at_another_size_too() -> None:
    assert read_clock(draw_frame(1280, 720, NOON).reformat(640, 360)) == NOON


def test_a_picture_without_a_clock_is_told_apart() -> None:
    frame = av.VideoFrame(192, 108, "gray")
    frame.planes[0].update(bytes(frame.planes[0].buffer_size))
    with pytest.raises(UnreadableClockError):
        read_clock(frame)


@pytest.mark.parametrize("filming", [Filming(), Filming(codec=H265), Filming(b_frames=2), Filming(sound=True)])
def test_a_player_sees_the_present(filming: Filming) -> None:
    camera = Camera(filming)
    try:
        with av.open(camera.url, options={"rtsp_transport": "tcp"}, timeout=(60, 60)) as player:
            assert player.streams.video[0].codec_context.name == {H264: "h264", H265: "hevc"}[filming.codec]
            assert len(player.streams.audio) == filming.sound
            seen = [read_clock(frame) for _, frame in zip(range(30), player.decode(video=0), strict=False)]
    finally:
        camera.stop()
    assert seen == sorted(seen)
    assert abs(time.time_ns() // 1000 - seen[-1]) < 60 * SECOND


def test_a_camera_with_a_password_shows_nothing_without_it() -> None:
    camera = Camera(Filming(user="viewer", password="sesame"))
    try:
        with pytest.raises(av.error.HTTPUnauthorizedError):
            av.open(camera.url.replace("viewer:sesame@", ""), options={"rtsp_transport": "tcp"}, timeout=(60, 60))
        av.open(camera.url, options={"rtsp_transport": "tcp"}, timeout=(60, 60)).close()
    finally:
        camera.stop()


@pytest.fixture
def segments(tmp_path: Path) -> list[Path]:
    return write_segments(tmp_path, Recording(starts_at=NOON, seconds=5, segment_seconds=2, width=192, height=108))


def test_files_begin_at_zero_and_are_named_by_the_time_of_their_first_picture(segments: list[Path]) -> None:
    assert [path.name for path in segments] == [f"20260301T1200{start:02}.000000Z.mp4" for start in (0, 2, 4)]
    for path, start in zip(segments, (0, 2, 4), strict=True):
        with av.open(str(path)) as container:
            first = next(container.decode(video=0))
        assert first.pts == 0
        assert read_clock(first) == NOON + start * SECOND


def test_the_command_leaves_a_recording_that_ends_now(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandbox.camera", "files", str(tmp_path / "gate"), "--seconds", "3"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    (path,) = (tmp_path / "gate").iterdir()
    assert ended.stdout.strip() == str(path)
    with av.open(str(path)) as container:
        last = [read_clock(frame) for frame in container.decode(video=0)][-1]
    assert 0 < time.time_ns() // 1000 - last < 60 * SECOND
