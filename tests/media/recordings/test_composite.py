"""The composite that the worker builds: everybody at their own time, in their own tile."""

from fractions import Fraction
from pathlib import Path

import av
import pytest

from media.errors import MediaError, Reason
from media.recordings.tiles import MOST_TILES, Join, placements
from media.video.composite_values import Composite, ParticipantFile, Shows
from media.video.placing import Rect
from tests.media.recordings.composing import (
    HEIGHT,
    OF_A_TILE,
    SETTINGS,
    WIDTH,
    Seen,
    composed,
    joined,
    participant,
    pictures,
    rect_of,
)
from tests.media.video.filming import NOON, SECOND, Film

FRAME_US = SECOND // 30
WHOLE = Rect(x=0, y=0, width=WIDTH, height=HEIGHT)


def off_by(seen: Seen, rect: Rect, file: ParticipantFile, rate: float, first: int = 0) -> float:
    """How far the picture in a tile is from its own time, in microseconds."""
    number = seen.number(rect) - file.tile * OF_A_TILE - first
    return NOON + seen.at_us - (file.starts_at + number * SECOND / rate)


def shows(seen: Seen, rect: Rect) -> int | None:
    """Whose picture stands in a rectangle."""
    return None if seen.is_empty(rect) else seen.number(rect) // OF_A_TILE


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[ParticipantFile], Composite, list[Seen]]:
    """0 is there from the start; 1 comes at 0.42 s, leaves at 1 s and is back from 1.5 s on; 2 comes at 1.95 s."""
    folder = tmp_path_factory.mktemp("story")
    files = [
        participant(folder / "0.mp4", 0, wanted=Film(seconds=2.5, rate=24)),
        participant(folder / "1.mp4", 1, starts=0.42, wanted=Film(seconds=0.6, rate=20)),
        participant(folder / "1-2.mp4", 1, starts=1.5, wanted=Film(seconds=1, rate=20), first=100),
        participant(folder / "2.mp4", 2, starts=1.95, wanted=Film(seconds=0.6, rate=15, keyframe_every=5, b_frames=2)),
    ]
    composite = composed(files, folder / "composite.mp4")
    return files, composite, pictures(composite.path)


def test_every_picture_stands_at_its_own_time_within_one_frame(
    story: tuple[list[ParticipantFile], Composite, list[Seen]],
) -> None:
    files, _, seen = story
    checked = 0
    for one in seen:
        at = one.at_us / SECOND
        tiles = [0] if at < 0.42 else [0, 1] if at < 1.95 else [0, 1, 2]
        here = [(0, files[0], 24, 0)] if at < 2.45 else []
        here += [(1, files[1], 20, 0)] if 0.45 < at < 1.0 else []
        here += [(1, files[2], 20, 100)] if 1.53 < at < 2.45 else []
        here += [(2, files[3], 15, 0)] if 1.98 < at < 2.5 else []
        for tile, file, rate, first in here:
            # A picture stands until the next one of its file comes.
            assert -FRAME_US <= off_by(one, rect_of(tile, tiles), file, rate, first) <= SECOND / rate + FRAME_US
            checked += 1
    assert checked > 120


def test_tiles_move_with_the_picture_at_which_somebody_new_joins(
    story: tuple[list[ParticipantFile], Composite, list[Seen]],
) -> None:
    _, _, seen = story
    first_of_two = next(index for index, one in enumerate(seen) if one.at_us >= 420_000)
    first_of_three = next(index for index, one in enumerate(seen) if one.at_us >= 1_950_000)
    assert shows(seen[first_of_two - 1], WHOLE) == 0
    for one in seen[first_of_two:first_of_three]:
        assert shows(one, rect_of(0, [0, 1])) == 0
    for one in seen[first_of_three : first_of_three + 10]:
        assert [shows(one, rect_of(tile, [0, 1, 2])) for tile in (0, 1, 2)] == [0, 1, 2]


def test_who_is_away_leaves_an_empty_tile_and_comes_back_to_it(
    story: tuple[list[ParticipantFile], Composite, list[Seen]],
) -> None:
    _, _, seen = story
    right = rect_of(1, [0, 1])
    away = [shows(one, right) for one in seen if 1_060_000 < one.at_us < 1_460_000]
    back = [shows(one, right) for one in seen if 1_540_000 < one.at_us < 1_900_000]
    assert set(away) == {None}
    assert set(back) == {1}


def test_the_outcome_names_every_file_with_its_offset(
    story: tuple[list[ParticipantFile], Composite, list[Seen]],
) -> None:
    _, composite, _ = story
    assert composite.starts_at == NOON
    assert [(one.name, one.tile, one.offset_us) for one in composite.inputs] == [
        ("0.mp4", 0, 0),
        ("1.mp4", 1, 420_000),
        ("1-2.mp4", 1, 1_500_000),
        ("2.mp4", 2, 1_950_000),
    ]
    assert [one.frames for one in composite.inputs] == [60, 12, 20, 9]
    assert all(one.lost_frames == 0 and one.unusable is None and not one.truncated for one in composite.inputs)
    assert composite.gaps == ()
    assert composite.tool.name == "libx264"
    assert composite.tool.arguments["preset"] == "ultrafast"
    assert "libswscale" in composite.tool.versions


def test_the_file_has_a_constant_rate_and_says_its_colours_and_starts_at_once(
    story: tuple[list[ParticipantFile], Composite, list[Seen]],
) -> None:
    _, composite, seen = story
    assert [one.at_us for one in seen] == [round(number * SECOND / 30) for number in range(composite.frames)]
    assert composite.frames == 77  # 2.55 s, begun pictures counted
    with av.open(str(composite.path)) as container:
        video = container.streams.video[0]
        context = video.codec_context
        assert (context.codec.canonical_name, context.codec_tag, context.pix_fmt) == ("h264", "avc1", "yuv420p")
        assert (context.color_range, context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1, 1)
        assert video.average_rate == Fraction(30)
        assert not container.streams.audio
    data = composite.path.read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


def test_seven_stand_each_in_their_own_tile(tmp_path: Path) -> None:
    files = [
        participant(tmp_path / f"{tile}.mp4", tile, starts=tile / 20, wanted=Film(seconds=0.6, rate=20))
        for tile in range(MOST_TILES)
    ]
    everybody = placements([Join(tile=tile, at_us=NOON) for tile in range(MOST_TILES)], width=WIDTH, height=HEIGHT)
    seen = pictures(composed(files, tmp_path / "composite.mp4", placing=everybody).path)
    for one in seen:
        for file in files:
            rect = rect_of(file.tile, range(MOST_TILES))
            at = one.at_us / SECOND - file.tile / 20
            if 0.02 < at < 0.55:
                assert shows(one, rect) == file.tile
                assert -FRAME_US <= off_by(one, rect, file, 20) <= SECOND / 20 + FRAME_US
            elif not -0.02 < at < 0.65:
                assert one.is_empty(rect)


def test_a_shared_screen_takes_the_place_of_the_camera_while_it_lasts(tmp_path: Path) -> None:
    files = [
        participant(tmp_path / "camera.mp4", 0),
        participant(tmp_path / "other.mp4", 1),
        participant(
            tmp_path / "screen.mp4",
            0,
            starts=0.3,
            wanted=Film(seconds=0.4, rate=20),
            shows=Shows.SCREEN_SHARE,
            first=300,
        ),
    ]
    seen = pictures(composed(files, tmp_path / "composite.mp4").path)
    left = rect_of(0, [0, 1])
    numbers = [(one.at_us / SECOND, one.number(left)) for one in seen]
    assert all((number >= 300) == (0.29 < at < 0.71) for at, number in numbers if not 0.67 < at < 0.72)
    assert {shows(one, rect_of(1, [0, 1])) for one in seen} == {1}


def test_somebody_who_joined_without_any_file_has_an_empty_tile(tmp_path: Path) -> None:
    files = [participant(tmp_path / "0.mp4", 0)]
    placing = placements([Join(tile=0, at_us=NOON), Join(tile=1, at_us=NOON + SECOND // 2)], width=WIDTH, height=HEIGHT)
    seen = pictures(composed(files, tmp_path / "composite.mp4", placing=placing).path)
    assert shows(seen[5], WHOLE) == 0
    assert shows(seen[20], rect_of(0, [0, 1])) == 0
    assert seen[20].is_empty(rect_of(1, [0, 1]))


def test_a_file_of_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    stamps = [0, 50_000, 400_000, 433_000, 466_000, 800_000, 850_000]
    files = [participant(tmp_path / "0.mp4", 0, wanted=Film(stamps=stamps))]
    seen = pictures(composed(files, tmp_path / "composite.mp4").path)
    for one in seen:
        shown = stamps[one.number(WHOLE)]
        latest = max(stamp for stamp in stamps if stamp <= one.at_us + FRAME_US // 2)
        assert shown == latest


@pytest.mark.parametrize("rate", [12, 30, 50, 60])
def test_no_picture_of_a_faster_or_slower_file_counts_as_lost(rate: int, tmp_path: Path) -> None:
    files = [participant(tmp_path / "0.mp4", 0, wanted=Film(seconds=0.5, rate=rate))]
    (found,) = composed(files, tmp_path / "composite.mp4").inputs
    assert (found.frames, found.lost_frames) == (rate // 2, 0)


def test_other_frame_rates_and_sizes_can_be_asked_for(tmp_path: Path) -> None:
    files = [participant(tmp_path / "0.mp4", 0)]
    settings = type(SETTINGS)(width=192, height=108, frame_rate=25, preset="ultrafast")
    placing = placements([Join(tile=0, at_us=NOON)], width=192, height=108)
    composite = composed(files, tmp_path / "composite.mp4", placing=placing, settings=settings)
    assert composite.frames == 25
    assert [one.at_us for one in pictures(composite.path)] == [number * 40_000 for number in range(25)]


def test_the_order_of_the_files_makes_no_difference(tmp_path: Path) -> None:
    files = [participant(tmp_path / f"{tile}.mp4", tile, starts=tile / 10) for tile in range(3)]
    composites = [composed(order, tmp_path / f"{name}.mp4") for name, order in (("one", files), ("other", files[::-1]))]
    assert composites[0].path.read_bytes() == composites[1].path.read_bytes()


def test_without_any_file_that_can_be_used_there_is_no_composite(tmp_path: Path) -> None:
    (tmp_path / "0.mp4").write_bytes(b"no film" * 1000)
    files = [ParticipantFile(path=tmp_path / "0.mp4", tile=0, starts_at=NOON)]
    for given in (files, []):
        with pytest.raises(MediaError) as refused:
            composed(given, tmp_path / "composite.mp4", placing=joined(files))
        assert refused.value.reason == Reason.NO_FOOTAGE
        assert not (tmp_path / "composite.mp4").exists()


def test_starts_that_lie_years_apart_are_refused(tmp_path: Path) -> None:
    near = participant(tmp_path / "0.mp4", 0)
    far = ParticipantFile(path=near.path, tile=1, starts_at=NOON + 10**14)
    with pytest.raises(MediaError) as refused:
        composed([near, far], tmp_path / "composite.mp4")
    assert refused.value.reason == Reason.TOO_LARGE
