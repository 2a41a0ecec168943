"""What is found, cut: every picture of the clip shows the time at which the clip says it was taken."""

from datetime import UTC
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from media.clips.naming import NamePattern
from media.video.apart import write_artefacts_apart
from media.video.values import Artefacts, Window
from sandbox.camera import read_clock
from tests.media.footage.searching import SECOND, Camera, at, name_at


@pytest.fixture
def camera(tmp_path: Path) -> Camera:
    (tmp_path / "gate").mkdir()
    return Camera(root=tmp_path / "gate")


async def cut(camera: Camera, directory: Path, first: float, last: float, **changes: Any) -> Artefacts:
    found = await camera.find(first, last, **changes)
    window = Window(asked_from=at(first), asked_to=at(last), event_at=at((first + last) / 2))
    return await write_artefacts_apart(found.segments, window, directory)


def shown(path: Path) -> list[tuple[float, float]]:
    """For every picture its place in the clip and the time its camera drew, both in seconds (after noon)."""
    with av.open(str(path)) as container:
        return [(float(frame.time or 0), (read_clock(frame) - at(0)) / SECOND) for frame in container.decode(video=0)]


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv"])
async def test_a_clip_over_several_segments_shows_its_window_to_the_frame(
    camera: Camera, tmp_path: Path, suffix: str
) -> None:
    for start in (0, 4, 8):
        camera.film(start, 4, name=name_at(start, suffix))
    artefacts = await cut(camera, tmp_path / "out", 2, 9)
    pictures = shown(artefacts.clip.path)
    assert pictures[0][1] == pytest.approx(2, abs=0.1)
    assert pictures[-1][1] == pytest.approx(8.9, abs=0.1)
    assert all(drawn - place == pytest.approx(2, abs=0.11) for place, drawn in pictures)
    assert artefacts.gaps == ()


async def test_a_gap_in_the_footage_is_a_gap_in_the_clip_and_not_closed_up(camera: Camera, tmp_path: Path) -> None:
    for start in (0, 8):
        camera.film(start, 4)
    artefacts = await cut(camera, tmp_path / "out", 1, 11)
    assert [(gap.starts_at, gap.ends_at) for gap in artefacts.gaps] == [(at(4), at(8))]
    assert all(drawn - place == pytest.approx(1, abs=0.11) for place, drawn in shown(artefacts.clip.path))


async def test_overlapping_segments_show_no_moment_twice(camera: Camera, tmp_path: Path) -> None:
    camera.film(0, 6)
    camera.film(4, 6)
    artefacts = await cut(camera, tmp_path / "out", 1, 9)
    drawn = [drawn for _, drawn in shown(artefacts.clip.path)]
    assert drawn == sorted(set(drawn))
    assert len(drawn) == pytest.approx(80, abs=2)


async def test_names_cut_to_the_second_cost_no_picture_at_the_joints(camera: Camera, tmp_path: Path) -> None:
    """Footage without a break, in names that are up to a second early: taken at their word they would leave holes."""
    for start, seconds, named in ((0.9, 4.1, 0), (5, 4.9, 5), (9.9, 4, 9)):
        camera.film(start, seconds, name=name_at(named).replace(".000000", ""))
    artefacts = await cut(camera, tmp_path / "out", 2, 10, names=NamePattern("%Y%m%dT%H%M%S%z.*", UTC))
    drawn = [drawn for _, drawn in shown(artefacts.clip.path)]
    assert {round(later - earlier, 2) for earlier, later in pairwise(drawn)} == {0.1}
    assert artefacts.gaps == ()
