"""Videos from real cameras and telephones as files of participants, where the corpus is at hand."""

import os
from pathlib import Path

import av
import pytest

from media.video.burn_in import burn_in
from media.video.recording_values import EncodingSettings
from media.video.remux import separate
from tests.media.video.filming import SECOND
from tests.media.video.strokes.drawing import erase, looks, stroke, timeline

_FOLDER = Path(os.environ.get("INDELIBLE_CORPUS", "/nowhere")) / "video"
pytestmark = pytest.mark.skipif(not _FOLDER.is_dir(), reason="INDELIBLE_CORPUS names no folder with videos")

QUICK = EncodingSettings(preset="ultrafast", crf=24)
COLOUR = "#00c8ff"
DRAWN = timeline([stroke([[0.3, 0.75, 500], [0.7, 0.75, 500]], colour=COLOUR)], [erase(1_000, "s")])


def seen(path: Path, zero_us: int = 0) -> tuple[list[int], list[bool]]:
    """When each picture is shown, after `zero_us`, and whether the stroke is on it."""
    times, drawn = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            at = round((frame.time or 0) * SECOND) - zero_us
            times.append(at)
            # The picture is looked at where the stroke is and is not.
            near = at < 1_500_000
            drawn.append(near and looks(frame, COLOUR, frame.width // 2, round(frame.height * 0.75)))
    return times, drawn


def packets(path: Path) -> list[tuple[int, bytes]]:
    """Time in microseconds and bytes of every picture, still encoded."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size]
        return [(round((packet.pts or 0) * SECOND * (packet.time_base or 1)), bytes(packet)) for packet in found]


@pytest.mark.parametrize(
    ("name", "zero_us", "audio"),
    [
        ("phone_1080p_vfr.mp4", 0, "copied"),
        ("cockatoo_720p_bframes.mp4", 0, "aac 128000"),
        ("motion_audio_first.mov", 0, "copied"),
        ("hello_mpeg2_ps.mpeg", None, "aac 128000"),
    ],
)
def test_strokes_are_on_the_right_pictures_of_a_real_video(
    name: str, zero_us: int | None, audio: str, tmp_path: Path
) -> None:
    source = _FOLDER / name
    if zero_us is None:
        with av.open(str(source)) as container:
            zero_us = container.start_time or 0
    encoded = burn_in(source, tmp_path / "out.mp4", strokes=DRAWN, placing=1, offset_us=0, settings=QUICK)
    wanted, before = seen(source, zero_us)
    times, drawn = seen(encoded.path)
    assert times == pytest.approx(wanted, abs=12)
    assert not any(before)
    assert drawn == [500_000 <= at < 1_000_000 for at in wanted]
    assert (encoded.frames, encoded.strokes_painted, encoded.notes) == (len(wanted), 1, ())
    assert encoded.tool.arguments["audio"] == audio
    parts = separate(encoded.path, tmp_path)
    assert parts.audio is not None
    assert packets(parts.video.path) == packets(encoded.path)


def test_a_real_video_that_lies_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    source = tmp_path / "turned.mp4"
    with av.open(str(_FOLDER / "phone_1080p_vfr.mp4")) as flat, av.open(str(source), "w") as turned:
        video = turned.add_stream_from_template(flat.streams.video[0])
        video.set_display_rotation(90)
        for packet in flat.demux(video=0):
            if packet.size:
                packet.stream = video
                turned.mux(packet)
    encoded = burn_in(source, tmp_path / "out.mp4", strokes=DRAWN, placing=1, offset_us=0, settings=QUICK)
    assert (encoded.width, encoded.height) == (1080, 1920)
    times, drawn = seen(encoded.path)
    assert drawn == [500_000 <= at < 1_000_000 for at in times]
    assert len(times) == 41


def test_a_real_recording_of_h264_and_aac_may_stay_as_it_is(tmp_path: Path) -> None:
    source = _FOLDER / "phone_1080p_vfr.mp4"
    encoded = burn_in(source, tmp_path / "out.mp4", strokes=None, placing=1, offset_us=0, may_copy=True)
    assert (encoded.copied, encoded.frames) == (True, 41)
    assert packets(encoded.path) == packets(source)
