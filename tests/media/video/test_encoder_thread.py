"""The encoder's own thread: whatever ends the work ends it too, and it changes nothing in the file."""

import errno
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media.errors import MediaError, Reason
from media.recordings.tiles import Join, placements
from media.video.beside import EncoderThread
from media.video.burn_in import burn_in
from media.video.composite import compose
from media.video.composite_values import CompositeSettings
from media.video.placing import Placement, Rect
from media.video.recording_values import EncodingSettings
from media.video.values import Progress
from tests.media.recordings.composing import participant
from tests.media.video.filming import Film, film
from tests.media.video.strokes.drawing import stroke, timeline

QUICK = EncodingSettings(preset="ultrafast")


def threads_left() -> list[str]:
    """Ask while the error is at hand: with it, what the work held is held."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("encoder")]


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[VideoStream]:
    with av.open(str(tmp_path / "made.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, width=64, height=64)
        stream.options = {"preset": "ultrafast"}
        yield stream


def picture(number: int) -> VideoFrame:
    frame = VideoFrame(64, 64, "yuv420p")
    frame.pts, frame.time_base = number, Fraction(1, 10)
    return frame


def test_every_packet_comes_out_in_order(stream: VideoStream) -> None:
    beside = EncoderThread(stream, 3)
    packets = [packet for number in range(50) for packet in beside.encode(picture(number))]
    packets += beside.finish()
    beside.close()
    assert [packet.pts for packet in packets] == list(range(50))


def test_what_goes_wrong_is_raised_as_many_pictures_later_as_may_wait(stream: VideoStream) -> None:
    beside = EncoderThread(stream, 2)
    beside.finish()  # after which this encoder takes nothing
    assert [beside.encode(picture(0)), beside.encode(picture(1))] == [[], []]
    with pytest.raises(av.error.EOFError):
        beside.encode(picture(2))
    with pytest.raises(av.error.EOFError):
        beside.finish()
    beside.close()


def test_an_encoder_that_cannot_be_opened_is_refused_at_once(stream: VideoStream) -> None:
    stream.options = {"preset": "of nobody"}
    with pytest.raises(av.error.FFmpegError) as refused:
        EncoderThread(stream, 2)
    assert (refused.value.errno, threads_left()) == (errno.EINVAL, [])


def test_the_same_work_gives_the_same_bytes(tmp_path: Path) -> None:
    # Seconds between pictures, so that sound and picture are far apart when they are written.
    stamps = [0, 100_000, 3_000_000, 3_050_000, *range(20_000_000, 24_000_000, 90_000), 60_000_000, 61_000_000]
    source = film(tmp_path / "film.mp4", Film(stamps=stamps, audio="aac"))
    drawn = timeline([stroke([[0.5, 0.75, 500]])])
    for name, pause in (("hurried", 0.0), ("slow", 0.02)):
        burn_in(
            source,
            tmp_path / name,
            strokes=drawn,
            placing=1,
            offset_us=0,
            settings=QUICK,
            progress=partial(pausing, pause),
        )
    assert (tmp_path / "hurried").read_bytes() == (tmp_path / "slow").read_bytes()
    assert threads_left() == []


def pausing(seconds: float, _: Progress) -> None:
    time.sleep(seconds)


def test_strokes_without_room_end_the_work_with_their_own_reason(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4")
    drawn = timeline([stroke([[0.5, 0.5, 2_000]])])  # the encoder is busy by then
    placing = [Placement(from_us=0, rects={1: Rect(x=0, y=0, width=640, height=360)})]
    with pytest.raises(MediaError) as refused:
        burn_in(source, tmp_path / "made.mp4", strokes=drawn, placing=placing, offset_us=0, settings=QUICK)
    assert (refused.value.reason, threads_left()) == (Reason.INVALID_ARGUMENT, [])


def test_a_composite_that_is_broken_off_leaves_no_thread(tmp_path: Path) -> None:
    def report(progress: Progress) -> None:
        if progress.step == "compose" and progress.done > 0.5:
            raise RuntimeError("enough")

    one = participant(tmp_path / "0.mp4", 0)
    placing = placements([Join(tile=0, at_us=one.starts_at)], width=320, height=180)
    settings = CompositeSettings(width=320, height=180, preset="ultrafast")
    with pytest.raises(RuntimeError) as ended:
        compose([one], tmp_path / "made.mp4", placing=placing, settings=settings, progress=report)
    assert (str(ended.value), threads_left()) == ("enough", [])
