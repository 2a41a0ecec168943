"""One window over several files: gaps stay gaps, overlaps are cut, and codec parameters are never mixed."""

from dataclasses import replace
from pathlib import Path

import av
import pytest

from media.video.artefacts import write_artefacts
from media.video.values import Artefacts, ClockMap, ClockSource, GapReason, Segment, Window
from tests.media.video.filming import NOON, SECOND, Film, film, numbers, segment, times, window

TWO_SECONDS = Film(seconds=2)


def made(segments: list[Segment], wanted: Window, directory: Path) -> Artefacts:
    directory.mkdir()
    return write_artefacts(segments, wanted, directory)


def reel(directory: Path, count: int, wanted: Film = TWO_SECONDS, suffix: str = "mp4") -> list[Path]:
    """Files of two seconds each, whose pictures are numbered through; each starts its own clock at zero."""
    return [
        film(directory / f"{number}.{suffix}", replace(wanted, first_number=20 * number)) for number in range(count)
    ]


@pytest.mark.parametrize(
    ("wanted", "suffix"),
    [(Film(seconds=2), "mp4"), (Film(seconds=2, b_frames=2), "ts"), (Film(seconds=2, codec="libx265"), "mkv")],
    ids=["H.264 in MP4", "B-frames in TS", "H.265 in Matroska"],
)
def test_files_that_meet_are_one_stream(wanted: Film, suffix: str, tmp_path: Path) -> None:
    paths = reel(tmp_path, 3, wanted, suffix)
    segments = [segment(path, NOON + 2 * SECOND * number) for number, path in enumerate(paths)]
    artefacts = made(segments[::-1], window(1.5, 4.5), tmp_path / "out")
    assert numbers(artefacts.clip.path) == list(range(15, 45))
    assert times(artefacts.clip.path) == pytest.approx([n * SECOND // 10 for n in range(30)], abs=1_000)
    (native,) = artefacts.native
    assert set(range(10, 46)) <= set(numbers(native.path)) <= set(range(10, 46 + wanted.b_frames))
    assert artefacts.gaps == ()


def test_a_gap_between_files_stays_a_gap(tmp_path: Path) -> None:
    first, second = reel(tmp_path, 2)
    artefacts = made([segment(first), segment(second, NOON + 5 * SECOND)], window(0.5, 6.5, 4), tmp_path / "out")
    assert [(gap.starts_at - NOON, gap.ends_at - NOON, gap.why) for gap in artefacts.gaps] == [
        (2 * SECOND, 5 * SECOND, GapReason.MISSING)
    ]
    assert numbers(artefacts.clip.path) == list(range(5, 35))
    expected = [n * SECOND // 10 for n in range(15)] + [4_500_000 + n * SECOND // 10 for n in range(15)]
    assert times(artefacts.clip.path) == pytest.approx(expected, abs=100)
    (native,) = artefacts.native
    assert times(native.path) == pytest.approx(
        [n * SECOND // 10 for n in range(20)] + [5 * SECOND + n * SECOND // 10 for n in range(16)], abs=100
    )
    assert native.gaps == artefacts.gaps
    # Nothing was on the screen at the event: the picture before it is shown.
    assert numbers(artefacts.thumbnail.path) == [19]


def test_of_an_overlap_the_later_file_is_kept(tmp_path: Path) -> None:
    paths = reel(tmp_path, 2, Film(seconds=3))
    segments = [segment(paths[0]), segment(paths[1], NOON + 2 * SECOND)]
    artefacts = made(segments, window(0.5, 4.5), tmp_path / "out")
    assert numbers(artefacts.clip.path) == list(range(5, 45))
    assert numbers(artefacts.native[0].path) == list(range(46))
    assert artefacts.gaps == artefacts.native[0].gaps == ()


def test_a_file_within_another_brings_nothing(tmp_path: Path) -> None:
    outer = film(tmp_path / "outer.mp4", Film(seconds=4))
    inner = film(tmp_path / "inner.mp4", Film(seconds=1, first_number=1000))
    artefacts = made([segment(outer), segment(inner, NOON + SECOND)], window(0, 4), tmp_path / "out")
    assert numbers(artefacts.clip.path) == list(range(40))


def test_the_same_file_twice_is_one_file(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4")
    artefacts = made([segment(path), segment(path)], window(0, 4), tmp_path / "out")
    assert numbers(artefacts.clip.path) == list(range(40))


@pytest.mark.parametrize(
    "second",
    [
        Film(seconds=2, size=(160, 96), first_number=20),
        Film(seconds=2, codec="libx265", first_number=20),
        Film(seconds=2, audio="aac", first_number=20),
    ],
    ids=["size", "codec", "sound"],
)
def test_a_camera_that_changes_its_parameters_starts_a_new_native_file(second: Film, tmp_path: Path) -> None:
    paths = [film(tmp_path / "first.mp4", Film(seconds=2)), film(tmp_path / "second.mp4", second)]
    segments = [segment(paths[0]), segment(paths[1], NOON + 2 * SECOND)]
    artefacts = made(segments, window(1, 3), tmp_path / "out")
    assert [native.name for native in artefacts.native] == ["native.mp4", "native-2.mp4"]
    assert [numbers(native.path) for native in artefacts.native] == [list(range(10, 20)), list(range(20, 31))]
    assert artefacts.native[1].actual_from == NOON + 2 * SECOND
    assert [(native.video_codec, native.width) for native in artefacts.native] == [
        ("h264", 320),
        ("hevc" if second.codec == "libx265" else "h264", second.size[0]),
    ]
    # The clip is one file all the same, of one size.
    assert numbers(artefacts.clip.path) == list(range(10, 30))
    assert (artefacts.clip.width, artefacts.clip.height) == (320, 180)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_parameters_that_change_inside_a_file_start_a_new_native_file(codec: str, tmp_path: Path) -> None:
    # A transport stream may change in the middle: two recordings joined byte by byte.
    first = film(tmp_path / "first.ts", Film(seconds=2, codec=codec))
    other = Film(seconds=2, codec=codec, first_number=20, first_pts=180_000, options=OTHER_PARAMETERS[codec])
    second = film(tmp_path / "second.ts", other)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    artefacts = made([segment(joined)], window(1, 3), tmp_path / "out")
    assert [numbers(native.path) for native in artefacts.native] == [list(range(10, 20)), list(range(20, 31))]
    assert numbers(artefacts.clip.path) == list(range(10, 30))
    with av.open(str(artefacts.native[0].path)) as one, av.open(str(artefacts.native[1].path)) as two:
        assert one.streams.video[0].codec_context.extradata != two.streams.video[0].codec_context.extradata


OTHER_PARAMETERS = {
    "libx264": (("preset", "medium"), ("x264-params", "bframes=0:ref=3:scenecut=0:keyint=10")),
    "libx265": (("preset", "medium"), ("x265-params", "log-level=none:keyint=10:bframes=0:ref=3:open-gop=0")),
}


def test_a_clock_that_starts_anew_inside_a_file_goes_on(tmp_path: Path) -> None:
    first = film(tmp_path / "first.ts", Film(seconds=2, first_pts=90_000 * 1_000))
    second = film(tmp_path / "second.ts", Film(seconds=2, first_number=20))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    artefacts = made([segment(joined)], window(1, 3), tmp_path / "out")
    assert numbers(artefacts.clip.path) == list(range(10, 30))
    assert times(artefacts.clip.path) == pytest.approx([n * SECOND // 10 for n in range(20)], abs=1_000)


def test_a_file_without_a_keyframe_at_its_start_says_what_cannot_be_shown(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.ts", Film(seconds=4))
    with av.open(str(whole)) as source, av.open(str(tmp_path / "cut.ts"), "w") as cut:
        copy = cut.add_stream_from_template(source.streams.video[0], opaque=True)
        for number, packet in enumerate(source.demux(video=0)):
            if number >= 5 and packet.size:
                packet.stream = copy
                cut.mux(packet)
    artefacts = made([segment(tmp_path / "cut.ts", NOON + SECOND // 2)], window(0.5, 3), tmp_path / "out")
    assert numbers(artefacts.clip.path) == list(range(10, 30))
    assert [(gap.starts_at - NOON, gap.ends_at - NOON, gap.why) for gap in artefacts.gaps] == [
        (SECOND // 2, SECOND, GapReason.NO_KEYFRAME)
    ]


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4"])
def test_a_file_that_was_cut_off_is_used_up_to_there(suffix: str, tmp_path: Path) -> None:
    options = (("movflags", "frag_keyframe+empty_moov"),) if suffix == "mp4" else ()
    path = film(tmp_path / f"film.{suffix}", Film(container_options=options))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    artefacts = made([segment(path)], window(0, 4), tmp_path / "out")
    found = numbers(artefacts.clip.path)
    assert found == list(range(len(found)))
    assert 10 <= len(found) <= 30
    (gap,) = artefacts.gaps
    assert gap.ends_at == NOON + 4 * SECOND
    assert gap.starts_at == NOON + len(found) * SECOND // 10


def test_an_index_that_promises_more_than_there_is_counts_as_cut_off(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", Film(container_options=(("movflags", "faststart"),)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    artefacts = made([segment(path)], window(0, 4), tmp_path / "out")
    (gap,) = artefacts.gaps
    assert gap.why == GapReason.TRUNCATED


def test_a_clock_between_anchors_decides_which_frames_are_in_the_window(tmp_path: Path) -> None:
    # The camera's clock lost a second over four: frame n is shown at n / 10 * 5 / 4.
    path = film(tmp_path / "film.mp4")
    clock = ClockMap(anchors=((0, NOON), (4 * SECOND, NOON + 5 * SECOND)), error_us=600_000, source=ClockSource.RTCP)
    placed = replace(segment(path), clock=clock)
    artefacts = made([placed], window(2, 3), tmp_path / "out")
    assert numbers(artefacts.clip.path) == list(range(16, 24))
    assert times(artefacts.clip.path) == pytest.approx([n * SECOND // 8 for n in range(8)], abs=20)
    # The native copy keeps the camera's own times.
    assert times(artefacts.native[0].path)[1] == pytest.approx(SECOND // 10, abs=20)


def test_clocks_that_disagree_a_little_do_not_mix_up_the_order(tmp_path: Path) -> None:
    paths = reel(tmp_path, 2, Film(seconds=2, b_frames=2))
    segments = [segment(paths[0]), segment(paths[1], NOON + 2 * SECOND - 30_000)]
    artefacts = made(segments, window(1, 3), tmp_path / "out")
    assert numbers(artefacts.clip.path) == list(range(10, 31))
    assert numbers(artefacts.native[0].path) == sorted(numbers(artefacts.native[0].path))
