"""Composites of files that are damaged, cut off, not what they seem, or real: what there is is used, the rest told."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from media.errors import MediaError, Reason
from media.recordings.tiles import Join, placements
from media.video.apart_recordings import compose_apart
from media.video.composite_values import ParticipantFile
from media.video.frames import contained
from media.video.values import GapReason, Limits
from tests.media.recordings.composing import (
    HEIGHT,
    SETTINGS,
    WIDTH,
    Beep,
    composed,
    joined,
    onset,
    participant,
    pictures,
    rect_of,
    sounding,
)
from tests.media.video.filming import NOON, SECOND, Film

_CORPUS = Path(os.environ.get("INDELIBLE_CORPUS", "/nowhere")) / "video"
FASTSTART = Film(seconds=2, rate=20, container_options=(("movflags", "+faststart"),))


def with_good(bad: ParticipantFile, folder: Path) -> list[ParticipantFile]:
    return [participant(folder / "good.mp4", 0, wanted=Film(seconds=2, rate=20)), bad]


def test_a_file_cut_in_half_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    bad = participant(tmp_path / "bad.mp4", 1, wanted=FASTSTART, ends=2)
    content = bad.path.read_bytes()
    bad.path.write_bytes(content[: len(content) // 2])
    composite = composed(with_good(bad, tmp_path), tmp_path / "composite.mp4")
    good, found = composite.inputs
    assert not good.truncated
    assert found.truncated
    assert 400_000 < found.duration_us < 1_600_000
    (gap,) = composite.gaps
    assert (gap.tile, gap.why) == (1, GapReason.TRUNCATED)
    assert gap.starts_at == pytest.approx(NOON + found.duration_us, abs=SECOND // 30)
    assert gap.ends_at == NOON + 2 * SECOND
    seen = pictures(composite.path)
    tile = rect_of(1, [0, 1])
    assert seen[5].number(tile) // 512 == 1
    assert seen[-3].is_empty(tile)
    assert seen[-3].number(rect_of(0, [0, 1])) // 512 == 0


@pytest.mark.parametrize(
    "content", [b"", b"no film" * 100, b"#EXTM3U\n/etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n"]
)
def test_a_file_that_is_no_film_is_named_and_stops_nothing(content: bytes, tmp_path: Path) -> None:
    bad = ParticipantFile(path=tmp_path / "bad.mp4", tile=1, starts_at=NOON, ends_at=NOON + SECOND)
    bad.path.write_bytes(content)
    composite = composed(with_good(bad, tmp_path), tmp_path / "composite.mp4")
    unusable = composite.inputs[-1]
    assert unusable.name == "bad.mp4"
    assert unusable.unusable is not None
    assert "bad.mp4" in unusable.unusable
    assert [(gap.tile, gap.starts_at, gap.ends_at, gap.why) for gap in composite.gaps] == [
        (1, NOON, NOON + SECOND, GapReason.UNREADABLE)
    ]
    assert composite.frames == 60


def test_a_file_cut_off_before_its_index_is_a_gap_for_as_long_as_it_was_recorded(tmp_path: Path) -> None:
    bad = participant(tmp_path / "bad.mp4", 1, wanted=Film(seconds=1, rate=20), ends=1)
    bad.path.write_bytes(bad.path.read_bytes()[:2000])
    composite = composed(with_good(bad, tmp_path), tmp_path / "composite.mp4")
    assert composite.inputs[-1].truncated
    assert [(gap.tile, gap.why) for gap in composite.gaps] == [(1, GapReason.TRUNCATED)]


def test_flipped_bytes_cost_some_pictures_of_one_file_and_none_of_another(tmp_path: Path) -> None:
    bad = participant(tmp_path / "bad.mp4", 1, wanted=Film(seconds=2, rate=20, options=(("x264-params", "keyint=10"),)))
    content = bytearray(bad.path.read_bytes())
    start = content.find(b"mdat") + 4
    middle = start + (len(content) - start) // 3
    content[middle : middle + 3000] = bytes(byte ^ 0xFF for byte in content[middle : middle + 3000])
    bad.path.write_bytes(content)
    composite = composed(with_good(bad, tmp_path), tmp_path / "composite.mp4")
    good, found = composite.inputs
    assert (good.frames, good.lost_frames) == (40, 0)
    assert found.frames + found.lost_frames == 40
    assert found.lost_frames > 0
    assert len(pictures(composite.path)) == 60


def test_a_hole_in_a_file_is_background_and_told(tmp_path: Path) -> None:
    stamps = [0, 100_000, 200_000, 3_200_000, 3_300_000]
    files = [participant(tmp_path / "0.mp4", 0, wanted=Film(stamps=stamps))]
    composite = composed(files, tmp_path / "composite.mp4")
    (gap,) = composite.gaps
    assert (gap.tile, gap.why) == (0, GapReason.UNREADABLE)
    assert gap.starts_at == pytest.approx(NOON + 300_000, abs=SECOND // 30)
    assert gap.ends_at == pytest.approx(NOON + 3_200_000, abs=SECOND // 30)
    assert pictures(composite.path)[45].is_empty(rect_of(0, [0]))


def test_a_first_picture_that_comes_late_stays_late_and_the_wait_is_told(tmp_path: Path) -> None:
    path = sounding(tmp_path / "sound.mp4", Beep(at=0.3, hertz=700), seconds=1.4)
    late = tmp_path / "late.mp4"
    with av.open(str(path)) as source, av.open(str(late), "w") as container:
        copies = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None and packet.pts is not None:
                if packet.stream.type == "video":
                    shift = round(0.8 / (packet.time_base or 1))
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    composite = composed([ParticipantFile(path=late, tile=0, starts_at=NOON)], tmp_path / "composite.mp4")
    assert onset(composite.path, 700) == pytest.approx(0.3, abs=0.025)
    assert [(gap.starts_at, gap.why) for gap in composite.gaps] == [(NOON, GapReason.MISSING)]
    assert composite.gaps[0].ends_at == pytest.approx(NOON + 800_000, abs=SECOND // 30)
    seen = pictures(composite.path)
    assert seen[22].is_empty(rect_of(0, [0]))
    assert seen[26].number(rect_of(0, [0])) == 0


def test_a_file_that_claims_to_last_for_years_is_passed_over(tmp_path: Path) -> None:
    bad = participant(tmp_path / "bad.mkv", 1, wanted=Film(stamps=[0, 100_000, 10**13]))
    composite = composed(with_good(bad, tmp_path), tmp_path / "composite.mp4")
    assert composite.frames == 60
    assert "lasts longer than any recording" in (composite.inputs[-1].unusable or "")


async def test_in_a_process_of_its_own_the_same_comes_out_and_nothing_is_left_behind_a_failure(tmp_path: Path) -> None:
    files = [participant(tmp_path / "0.mp4", 0), participant(tmp_path / "1.mp4", 1, starts=0.3)]
    here = composed(files, tmp_path / "here.mp4")
    (tmp_path / "out").mkdir()
    apart = await compose_apart(
        files, tmp_path / "out" / "apart.mp4", placing=joined(files), annotations=None, settings=SETTINGS
    )
    assert apart.path.read_bytes() == here.path.read_bytes()
    assert (apart.inputs, apart.gaps, apart.tool) == (here.inputs, here.gaps, here.tool)
    apart.path.unlink()
    for limits, annotations, reason in (
        (Limits(output_bytes=1000), None, Reason.INTERNAL),
        (Limits(), b'{"format":"none"}', Reason.INVALID_ARGUMENT),
    ):
        with pytest.raises(MediaError) as refused:
            await compose_apart(
                files,
                tmp_path / "out" / "apart.mp4",
                placing=joined(files),
                annotations=annotations,
                settings=SETTINGS,
                limits=limits,
            )
        assert refused.value.reason == reason
        assert list((tmp_path / "out").iterdir()) == []


def picture_of(path: Path, seconds: float, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The luma of what a file shows so long after its first picture, at another size."""
    shown = None
    with av.open(str(path)) as container:
        first = None
        for frame in container.decode(video=0):
            first = frame.time if first is None else first
            if (frame.time or 0) - (first or 0) > seconds + 0.01:
                break
            shown = frame
    assert shown is not None
    return np.asarray(shown.reformat(*size, format="gray8", interpolation="AREA").to_ndarray(), np.uint8)


@pytest.mark.skipif(not _CORPUS.is_dir(), reason="INDELIBLE_CORPUS names no folder with videos")
def test_real_videos_of_every_kind_stand_side_by_side_at_their_own_times(tmp_path: Path) -> None:
    starts = {
        "cockatoo_720p_bframes.mp4": 0.0,
        "hello_mpeg2_ps.mpeg": 1.3,
        "motion_audio_first.mov": 2.0,
        "phone_1080p_vfr.mp4": 4.5,
        "derived_truncated_half.mp4": 0.0,
        "audio_only.mp4": 3.0,
    }
    files = [
        ParticipantFile(path=_CORPUS / name, tile=tile, starts_at=NOON + round(at * SECOND))
        for tile, (name, at) in enumerate(starts.items())
    ]
    placing = placements([Join(tile=tile, at_us=NOON) for tile in range(len(files))], width=WIDTH, height=HEIGHT)
    settings = type(SETTINGS)(width=WIDTH, height=HEIGHT, frame_rate=10, preset="ultrafast")
    composite = composed(files, tmp_path / "composite.mp4", placing=placing, settings=settings)
    assert [one.tile for one in composite.inputs if one.unusable] == [4]
    assert composite.has_audio
    assert composite.duration_us == pytest.approx(14_000_000, abs=150_000)
    seen = pictures(composite.path)
    for file in files[:4]:
        tile = rect_of(file.tile, range(len(files)))
        with av.open(str(file.path)) as container:
            stream = container.streams.video[0]
            aspect = stream.sample_aspect_ratio or Fraction(1)
            size = contained(stream.width, stream.height, tile.width, tile.height, aspect)
        size = (tile.width, tile.height) if tile.width - size[0] <= 2 and tile.height - size[1] <= 2 else size
        for after in (0.5, 1.2):
            at = (file.starts_at - NOON) / SECOND + after
            shown = seen[round(at * 10)].part(tile)
            x, y = (tile.width - size[0]) // 4 * 2, (tile.height - size[1]) // 4 * 2
            expected = picture_of(file.path, round(at * 10) / 10 - (file.starts_at - NOON) / SECOND, size)
            found = shown[y : y + size[1], x : x + size[0]].astype(float)
            assert np.corrcoef(found.ravel(), expected.astype(float).ravel())[0, 1] > 0.98
