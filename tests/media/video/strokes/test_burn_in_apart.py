"""Burning in and separating in a child process: whatever happens to it, there is a whole file or none."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from media.errors import MediaError, Reason
from media.video.apart_recordings import burn_in_apart, keep_sound_apart, limits_for, separate_apart
from media.video.placing import Placement, Rect
from media.video.recording_values import EncodingSettings
from media.video.values import DEFAULT_LIMITS, Limits, Progress
from tests.media.video.filming import Film, film
from tests.media.video.strokes.drawing import document, stroke
from tests.media.video.test_video_apart import child_at_work, children

QUICK = EncodingSettings(preset="ultrafast")
DRAWN = document([stroke([[0.5, 0.75, 500]])])


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Footage with which the child is busy for seconds."""
    return film(tmp_path_factory.mktemp("long") / "film.mp4", Film(seconds=24, rate=25, size=(640, 360)))


async def test_the_file_is_where_it_was_wanted_and_progress_is_told(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", Film(seconds=1, audio="aac"))
    signs: list[Progress] = []
    placing = [Placement(from_us=0, rects={1: Rect(x=0, y=0, width=320, height=180)})]
    encoded = await burn_in_apart(
        source,
        tmp_path / "new" / "final.mp4",
        annotations=DRAWN,
        placing=placing,
        offset_us=7,
        settings=QUICK,
        progress=signs.append,
    )
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["final.mp4"]
    assert encoded.path == tmp_path / "new" / "final.mp4"
    assert (encoded.frames, encoded.strokes_painted, encoded.annotation_offset_us) == (10, 1, 7)
    assert {sign.step for sign in signs} == {"read", "encode"}
    parts = await separate_apart(encoded.path, tmp_path / "parts")
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["audio.m4a", "video.mp4"]
    assert parts.video.path == tmp_path / "parts" / "video.mp4"
    sound = await keep_sound_apart(encoded.path, tmp_path / "sound" / "audio.m4a")
    assert (sound.path, sound.copied) == (tmp_path / "sound" / "audio.m4a", True)
    assert children() == set()


async def test_a_file_without_annotations_has_no_offset(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", Film(seconds=1))
    encoded = await burn_in_apart(
        source, tmp_path / "final.mp4", annotations=None, placing=1, offset_us=7, may_copy=True
    )
    assert (encoded.copied, encoded.annotation_offset_us, encoded.strokes_painted) == (True, None, 0)
    assert (await separate_apart(encoded.path, tmp_path / "parts")).audio is None


@pytest.mark.parametrize(
    ("annotations", "reason"), [(b"\xff", Reason.INVALID_ARGUMENT), (b"{}", Reason.INVALID_ARGUMENT)]
)
async def test_bad_annotations_are_refused_and_leave_nothing(
    annotations: bytes, reason: Reason, tmp_path: Path
) -> None:
    source = film(tmp_path / "film.mp4", Film(seconds=1))
    with pytest.raises(MediaError) as refused:
        await burn_in_apart(source, tmp_path / "out" / "final.mp4", annotations=annotations, placing=1, offset_us=0)
    assert refused.value.reason == reason
    assert contents(tmp_path / "out") == {}


async def test_a_crash_in_the_middle_leaves_what_was_there_before(tmp_path: Path, long: Path) -> None:
    target = tmp_path / "final.mp4"
    target.write_bytes(b"of an earlier attempt")
    encoding = asyncio.Event()
    work = asyncio.create_task(
        burn_in_apart(
            long, target, annotations=DRAWN, placing=1, offset_us=0, progress=lambda sign: _tell(sign, encoding)
        )
    )
    await encoding.wait()
    os.kill(await child_at_work(), signal.SIGKILL)
    with pytest.raises(MediaError) as crashed:
        await work
    assert (crashed.value.reason, crashed.value.metadata["signal"]) == (Reason.CRASHED, "SIGKILL")
    assert contents(tmp_path) == {"final.mp4": b"of an earlier attempt"}


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("*")}


def _tell(sign: Progress, encoding: asyncio.Event) -> None:
    if sign.step == "encode":
        encoding.set()


async def test_a_limit_that_is_reached_ends_the_work(tmp_path: Path, long: Path) -> None:
    with pytest.raises(MediaError) as ended:
        await burn_in_apart(
            long,
            tmp_path / "out" / "final.mp4",
            annotations=DRAWN,
            placing=1,
            offset_us=0,
            limits=Limits(cpu_seconds=1),
        )
    assert ended.value.reason == Reason.TOO_SLOW
    assert contents(tmp_path / "out") == {}
    assert children() == set()


def test_limits_grow_with_the_length_of_a_recording() -> None:
    assert limits_for(10).wall_seconds == DEFAULT_LIMITS.wall_seconds
    assert limits_for(7200).wall_seconds == 288_000
    assert limits_for(7200).cpu_seconds >= 288_000
