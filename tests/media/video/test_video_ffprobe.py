"""The files are what a program that is not ours, nor built with our libraries, says they are."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from media.video.artefacts import write_artefacts
from media.video.values import Artefacts
from tests.media.video.filming import Film, film, segment, window

pytestmark = pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed (Debian: ffmpeg)")


@pytest.fixture(scope="module", params=["libx264", "libx265"])
def artefacts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artefacts:
    """Of 17.5 s, from a keyframe on: of H.265 the clip is copied."""
    directory = tmp_path_factory.mktemp("ffprobe")
    wanted = Film(seconds=20, codec=request.param, b_frames=2, audio="aac")
    return write_artefacts([segment(film(directory / "film.mp4", wanted))], window(2, 19.5, 9), directory)


def probed(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], list[float]]:
    """What ffprobe says of a file, of its streams, and when it shows each picture."""
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", str(path)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    frames = ["ffprobe", "-v", "error", "-of", "json", "-select_streams", "v:0", "-show_frames", str(path)]
    shown = json.loads(subprocess.run(frames, capture_output=True, check=True).stdout)["frames"]
    return told["format"], told["streams"], [float(frame.get("pts_time", 0)) for frame in shown]


def test_the_clip_is_h265_under_the_right_tag_and_as_long_as_the_window(artefacts: Artefacts) -> None:
    container, streams, frames = probed(artefacts.clip.path)
    assert [(stream["codec_name"], stream["codec_tag_string"]) for stream in streams] == [
        ("hevc", "hvc1"),
        ("aac", "mp4a"),
    ]
    assert float(container["duration"]) == pytest.approx(17.5, abs=0.1)
    assert float(streams[0]["duration"]) == pytest.approx(17.5, abs=0.1)
    assert frames == pytest.approx([n / 10 for n in range(len(frames))], abs=0.001)
    assert 175 <= len(frames) <= 176


def test_the_native_copy_has_the_codec_of_the_source(artefacts: Artefacts) -> None:
    _, streams, frames = probed(artefacts.native[0].path)
    assert [stream["codec_name"] for stream in streams] == [artefacts.native[0].video_codec, "aac"]
    assert frames[0] == 0
    assert len(frames) == artefacts.native[0].frames


def test_the_preview_is_vp9_and_lasts_fifteen_seconds(artefacts: Artefacts) -> None:
    container, streams, frames = probed(artefacts.preview.path)
    assert [stream["codec_name"] for stream in streams] == ["vp9"]
    assert "webm" in container["format_name"]
    assert float(container["duration"]) == pytest.approx(15, abs=0.01)
    assert len(frames) == 150


def test_the_thumbnail_is_one_jpeg(artefacts: Artefacts) -> None:
    _, streams, frames = probed(artefacts.thumbnail.path)
    assert [stream["codec_name"] for stream in streams] == ["mjpeg"]
    assert len(frames) == 1
