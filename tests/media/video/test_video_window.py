"""What is made of one file: exactly the window, whatever the container and codec."""

from fractions import Fraction
from pathlib import Path

import av
import pytest

from media.errors import MediaError, Reason
from media.video.artefacts import write_artefacts
from media.video.values import Artefacts, Window
from tests.media.video.filming import NOON, SECOND, Film, film, lasts, numbers, segment, times, window

FRAGMENTED = (("movflags", "frag_keyframe+empty_moov"),)
# A file name and what is in it. Frame numbers rise by one, ten a second; keyframes are a second apart.
KINDS = {
    "h264.mp4": Film(),
    "h264-b-frames.mp4": Film(b_frames=2),
    "fragmented.mp4": Film(container_options=FRAGMENTED),
    "h265.mp4": Film(codec="libx265"),
    "mjpeg.mp4": Film(codec="mjpeg", pixel_format="yuvj420p"),
    "h264.mkv": Film(b_frames=2),
    "h265-b-frames.mkv": Film(codec="libx265", b_frames=2),
    "h264.mov": Film(),
    "h264.ts": Film(b_frames=2),
    "h265.ts": Film(codec="libx265"),
    "late.ts": Film(first_pts=90_000 * 3_600),
    "wrapping.ts": Film(first_pts=2**33 - 90_000 * 2),
    "mjpeg.avi": Film(codec="mjpeg", pixel_format="yuvj420p"),
    "h264.avi": Film(),
    "mpeg4.avi": Film(codec="mpeg4"),
    "mpeg2.mpg": Film(codec="mpeg2video", rate=25, keyframe_every=25, container_options=(("packetsize", "20000"),)),
}


def made(path: Path, wanted: Window, directory: Path) -> Artefacts:
    directory.mkdir()
    return write_artefacts([segment(path)], wanted, directory)


@pytest.fixture(scope="module", params=KINDS)
def of_kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Artefacts]:
    """The name of a kind, and what was made of the time from 1.25 to 3.05 s, with an event at 2.59 s."""
    directory = tmp_path_factory.mktemp("kind")
    path = film(directory / request.param, KINDS[request.param])
    return request.param, made(path, window(1.25, 3.05, 2.59), directory / "out")


def test_the_clip_shows_exactly_the_frames_of_the_window(of_kind: tuple[str, Artefacts]) -> None:
    name, artefacts = of_kind
    rate = KINDS[name].rate
    first, stop = -(-5 * rate // 4), -(-61 * rate // 20)
    assert numbers(artefacts.clip.path) == list(range(first, stop))
    assert times(artefacts.clip.path) == pytest.approx([n * SECOND / rate for n in range(stop - first)], abs=20)
    assert artefacts.clip.frames == stop - first
    assert (artefacts.clip.video_codec, artefacts.gaps) == ("hevc", ())
    assert lasts(artefacts.clip.path) == pytest.approx(1.8, abs=1 / rate)
    with av.open(str(artefacts.clip.path)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_the_native_copy_goes_from_the_keyframe_before_to_the_first_frame_after_the_window(
    of_kind: tuple[str, Artefacts],
) -> None:
    name, artefacts = of_kind
    rate = KINDS[name].rate
    (native,) = artefacts.native
    first = -(-5 * rate // 4) - 1 if KINDS[name].codec == "mjpeg" else rate
    last = -(-61 * rate // 20)
    found = numbers(native.path)
    # Frames between may need later ones to be decoded, which then are there too.
    last = max(last, found[-1]) if "b-frames" in name or KINDS[name].b_frames else last
    assert found == list(range(first, last + 1))
    assert last <= -(-61 * rate // 20) + KINDS[name].b_frames
    assert native.copied
    assert native.actual_from == pytest.approx(NOON + first * SECOND / rate, abs=1)
    assert native.actual_to == pytest.approx(NOON + (last + 1) * SECOND / rate, abs=1)
    assert times(native.path)[0] == 0


def test_the_thumbnail_is_the_picture_at_the_event(of_kind: tuple[str, Artefacts]) -> None:
    name, artefacts = of_kind
    assert numbers(artefacts.thumbnail.path) == [int(2.59 * KINDS[name].rate)]


def test_frames_keep_their_own_times_where_the_rate_varies(tmp_path: Path) -> None:
    stamps = [0, 33_333, 100_000, 400_000, 450_000, 1_000_000, 1_040_000, 1_900_000, 2_000_000]
    path = film(tmp_path / "vfr.mp4", Film(stamps=stamps, keyframe_every=2))
    artefacts = made(path, window(0.2, 2), tmp_path / "out")
    assert numbers(artefacts.clip.path) == [3, 4, 5, 6, 7]
    assert times(artefacts.clip.path) == pytest.approx([stamp - 400_000 for stamp in stamps[3:8]], abs=12)
    assert numbers(artefacts.native[0].path) == [2, 3, 4, 5, 6, 7, 8]
    assert times(artefacts.native[0].path) == pytest.approx([stamp - 100_000 for stamp in stamps[2:]], abs=12)


def test_a_long_last_frame_is_shown_to_its_end(tmp_path: Path) -> None:
    stamps = [n * 100_000 for n in range(12)] + [1_500_000]
    path = film(tmp_path / "film.mp4", Film(stamps=stamps, b_frames=2))
    artefacts = made(path, window(0, 1.9), tmp_path / "out")
    assert lasts(artefacts.clip.path) == pytest.approx(1.6, abs=0.001)


def test_the_native_copy_has_the_packets_of_the_source(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", Film(b_frames=2, audio="aac"))
    (native,) = made(path, window(0, 4), tmp_path / "out").native
    with av.open(str(path)) as source, av.open(str(native.path)) as copy:
        for kind in ("video", "audio"):
            packets = [
                [(p.pts, p.dts, p.time_base, bytes(p)) for p in c.demux(**{kind: 0}) if p.size] for c in (source, copy)
            ]
            assert packets[0] == packets[1]


def test_frames_that_an_edit_list_hides_are_in_the_native_copy_only(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4")
    content = bytearray(path.read_bytes())
    # ISO/IEC 14496-12, 8.6.6: version and flags, count, then the length and the first moment of the only entry.
    at = content.index(b"elst") + 16
    content[at : at + 4] = (int.from_bytes(content[at : at + 4]) + 45_000).to_bytes(4)
    path.write_bytes(content)
    artefacts = made(path, window(0, 2), tmp_path / "out")
    assert numbers(artefacts.clip.path) == list(range(5, 25))
    assert numbers(artefacts.native[0].path) == list(range(26))
    assert artefacts.native[0].actual_from == NOON - SECOND // 2


@pytest.mark.parametrize("suffix", ["mp4", "ts", "mkv"])
def test_h265_is_copied_when_the_window_begins_with_a_keyframe(suffix: str, tmp_path: Path) -> None:
    path = film(tmp_path / f"film.{suffix}", Film(codec="libx265", audio="aac"))
    clip = made(path, window(2, 3.5), tmp_path / "out").clip
    assert (clip.copied, clip.frames, clip.audio_codec) == (True, 15, "aac")
    assert numbers(clip.path) == list(range(20, 35))
    with av.open(str(path)) as source, av.open(str(clip.path)) as copy:
        if suffix == "mp4":
            packets = [bytes(packet) for packet in source.demux(video=0) if packet.size]
            assert [bytes(packet) for packet in copy.demux(video=0) if packet.size] == packets[20:35]
        assert copy.streams.video[0].codec_context.codec_tag == "hvc1"
        assert len(copy.streams.audio) == 1


def test_h265_is_encoded_when_the_window_begins_between_keyframes(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", Film(codec="libx265"))
    clip = made(path, window(2.1, 3.5), tmp_path / "out").clip
    assert not clip.copied
    assert numbers(clip.path) == list(range(21, 35))


@pytest.mark.parametrize(
    ("event", "starts"), [(10, 2.4), (1, 0), (19.5, 4.8)], ids=["in the middle", "at the start", "at the end"]
)
def test_the_preview_lasts_fifteen_seconds_around_the_event(event: float, starts: float, tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", Film(seconds=20, rate=5, keyframe_every=50))
    preview = made(path, window(0, 19.8, event), tmp_path / "out").preview
    assert lasts(preview.path) == pytest.approx(15, abs=0.002)
    assert numbers(preview.path) == list(range(round(starts * 5), round(starts * 5) + 75))
    assert (preview.video_codec, preview.audio_codec, preview.width, preview.height) == ("vp9", None, 640, 360)


def test_the_preview_of_a_short_window_is_as_long_as_the_window(tmp_path: Path) -> None:
    preview = made(film(tmp_path / "film.mp4"), window(1, 3), tmp_path / "out").preview
    assert lasts(preview.path) == pytest.approx(2, abs=0.002)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_camera_on_its_side_is_shown_upright(rotation: int, tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", Film(seconds=2, rotation=rotation))
    artefacts = made(path, window(0.5, 1.5), tmp_path / "out")
    for derivative in (artefacts.clip, artefacts.native[0]):
        with av.open(str(derivative.path)) as container:
            frame = next(container.decode(video=0))
            assert (frame.rotation, frame.width, frame.height) == (rotation if rotation != 180 else -180, 320, 180)
    upright = (320, 180) if rotation == 180 else (180, 320)
    assert (artefacts.thumbnail.width, artefacts.thumbnail.height) == upright
    assert (artefacts.preview.width > artefacts.preview.height) == (rotation == 180)
    with av.open(str(artefacts.thumbnail.path)) as container:
        thumbnail = next(container.decode(video=0)).reformat(format="gray")
    # The bars are at the top of the picture that the camera took; the slope below them is never that dark.
    line = thumbnail.planes[0].line_size
    rows = [bytes(thumbnail.planes[0])[line * y :][: thumbnail.width] for y in range(thumbnail.height)]
    across = {180: rows[-20], 90: bytes(row[20] for row in rows), -90: bytes(row[-20] for row in rows)}[rotation]
    assert {value < 70 or value > 180 for value in across[4:-4:16]} == {True}


def test_pixels_that_are_not_square_keep_their_shape(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", Film(seconds=2, size=(240, 180), aspect=Fraction(4, 3)))
    artefacts = made(path, window(0.5, 1.5), tmp_path / "out")
    with av.open(str(artefacts.clip.path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    assert (artefacts.thumbnail.width, artefacts.thumbnail.height) == (320, 180)
    assert (artefacts.preview.width, artefacts.preview.height) == (480, 360) or artefacts.preview.width == 640


def test_odd_sizes_get_a_black_line_and_lose_nothing(tmp_path: Path) -> None:
    path = film(tmp_path / "film.avi", Film(codec="mjpeg", pixel_format="yuvj420p", size=(321, 181)))
    clip = made(path, window(0.5, 1.5), tmp_path / "out").clip
    assert (clip.width, clip.height) == (322, 182)
    assert "322x182" in clip.notes[0]
    assert numbers(clip.path) == list(range(5, 15))


@pytest.mark.parametrize(
    ("wanted", "pixel_format", "colour_range"),
    [
        (Film(codec="mjpeg", pixel_format="yuvj420p"), "yuvj420p", 2),
        (Film(codec="mjpeg", pixel_format="yuvj422p"), "yuvj420p", 2),
        (Film(full_range=True, pixel_format="yuvj420p"), "yuvj420p", 2),
        (Film(), "yuv420p", 0),
        (Film(pixel_format="yuv444p"), "yuv420p", 0),
        (Film(pixel_format="yuv420p10le"), "yuv420p10le", 0),
    ],
    ids=lambda value: f"{value.codec} {value.pixel_format}" if isinstance(value, Film) else None,
)
def test_depth_range_and_brightness_of_the_pictures_are_kept(
    wanted: Film, pixel_format: str, colour_range: int, tmp_path: Path
) -> None:
    path = film(tmp_path / "film.mp4", wanted)
    clip = made(path, window(0.5, 1.5), tmp_path / "out").clip
    brightness = []
    for file, index in ((path, 5), (clip.path, 0)):
        with av.open(str(file)) as container:
            frame = [frame for frame, _ in zip(container.decode(video=0), range(index + 1), strict=False)][-1]
            row = bytes(frame.planes[0])[frame.planes[0].line_size * 170 :]
            if "10" in frame.format.name:  # in two bytes, the low one first: the upper eight of ten bits
                row = bytes(row[2 * n + 1] << 6 | row[2 * n] >> 2 for n in range(320))
            brightness.append(sum(row[:320]) / 320)
            found = (frame.format.name, frame.color_range)
    assert found[0] == pixel_format
    assert found[1] in {colour_range, 1 if colour_range == 0 else colour_range}
    assert brightness[1] == pytest.approx(brightness[0], abs=1.5)


def test_a_window_beside_the_footage_is_refused_and_told_what_there_is(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4")
    with pytest.raises(MediaError) as refused:
        made(path, window(10, 20), tmp_path / "out")
    assert refused.value.reason == Reason.OUTSIDE_FOOTAGE
    assert refused.value.metadata == {
        "covers_from": "2026-03-01T12:00:00.000000Z",
        "covers_to": "2026-03-01T12:00:04.000000Z",
    }


def test_a_window_that_the_footage_covers_in_part_says_what_is_missing(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4")
    artefacts = made(path, window(-3, 10), tmp_path / "out")
    assert [(gap.starts_at - NOON, gap.ends_at - NOON) for gap in artefacts.gaps] == [
        (-3 * SECOND, 0),
        (4 * SECOND, 10 * SECOND),
    ]
    assert (artefacts.clip.actual_from, artefacts.clip.actual_to) == (NOON, NOON + 4 * SECOND)
    assert numbers(artefacts.clip.path) == list(range(40))


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_the_first_pictures_of_a_file_keep_their_order_in_the_copy(codec: str, suffix: str, tmp_path: Path) -> None:
    """Matroska gives no decoding times, and libav cannot tell those of the first pictures."""
    path = film(tmp_path / f"film.{suffix}", Film(codec=codec, b_frames=4, options=(("preset", "medium"),)))
    (native,) = made(path, window(0, 2), tmp_path / "out").native
    assert times(native.path) == pytest.approx([n * SECOND // 10 for n in range(native.frames)], abs=1_000)
    assert numbers(native.path) == list(range(native.frames))
