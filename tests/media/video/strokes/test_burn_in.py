"""Files with strokes burned in: on the right pictures, in the right colours, and nothing else changed."""

import random
import shutil
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from media.errors import MediaError, Reason
from media.video.burn_in import burn_in
from media.video.placing import Placement, Rect
from media.video.recording_values import Encoded, EncodingSettings, Placing
from media.video.remux import separate
from media.video.sound_alone import keep_sound
from tests.media.video.filming import SECOND, Film, film, lasts, shown, times
from tests.media.video.strokes.drawing import BLUE, RED, erase, looks, rgb, stroke, timeline, wanted

QUICK = EncodingSettings(preset="ultrafast")
# In the lower half of the picture; the upper one carries its number.
DOT = [[0.5, 0.75, 500]]
UNEVEN = [0, 33_000, 50_000, 300_000, 499_900, 500_100, 533_000, 900_000, 999_990, 1_000_020, 1_400_000, 1_900_000]
RATES = {"24": Film(seconds=2, rate=24), "30": Film(seconds=2, rate=30, b_frames=2), "uneven": Film(stamps=UNEVEN)}


def burned(
    source: Path,
    strokes: Sequence[dict[str, Any]],
    actions: Sequence[dict[str, Any]] = (),
    *,
    placing: Placing = 1,
    offset_us: int = 0,
    may_copy: bool = False,
) -> Encoded:
    target = source.with_name("burned.mp4")
    drawn = timeline(strokes, actions)
    return burn_in(
        source, target, strokes=drawn, placing=placing, offset_us=offset_us, may_copy=may_copy, settings=QUICK
    )


def frames(path: Path) -> list[tuple[int, VideoFrame]]:
    with av.open(str(path)) as container:
        return [(round((frame.time or 0) * SECOND), frame) for frame in container.decode(video=0)]


@pytest.mark.parametrize("rate", RATES)
def test_a_stroke_is_on_a_participant_s_pictures_from_its_time_until_its_erasure(rate: str, tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", RATES[rate])
    encoded = burned(source, [stroke(DOT)], [erase(1000, "s")])
    # Every picture is there at its own time, and carries its own number.
    assert shown(encoded.path) == shown(source)
    for (at, frame), source_at in zip(frames(encoded.path), times(source), strict=True):
        assert looks(frame, RED, 160, 135) == (500_000 <= source_at < 1_000_000), at
    assert (encoded.frames, encoded.strokes_painted) == (len(RATES[rate].times), 1)
    assert encoded.duration_us == pytest.approx(lasts(source) * SECOND, abs=50)


@pytest.mark.parametrize("rate", RATES)
def test_strokes_go_with_their_tiles_when_people_join(rate: str, tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", RATES[rate])
    alone = Placement(from_us=0, rects={0: Rect(x=0, y=90, width=320, height=90)})
    halves = {0: Rect(x=0, y=90, width=160, height=90), 1: Rect(x=160, y=90, width=160, height=90)}
    strokes = [stroke([[0.5, 0.5, 0]], tile=0), stroke([[0.5, 0.5, 700]], id="t", colour=BLUE)]
    placing = [alone, Placement(from_us=500_000, rects=halves)]
    encoded = burned(source, strokes, [erase(1400, "s")], placing=placing)
    for (_, frame), at in zip(frames(encoded.path), times(source), strict=True):
        assert looks(frame, RED, 160, 135) == (at < 500_000), at
        assert looks(frame, RED, 80, 135) == (500_000 <= at < 1_400_000), at
        assert looks(frame, BLUE, 240, 135) == (at >= 700_000), at
    assert encoded.strokes_painted == 2


@pytest.mark.parametrize(("matrix", "name"), [(1, "bt709"), (6, "smpte170m")], ids=["BT.709", "BT.601"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_an_outsider_sees_the_colour_and_the_tags_of_the_source(
    *, matrix: int, name: str, full: bool, tmp_path: Path
) -> None:
    tags = (("colorspace", name), ("color_primaries", name), ("color_trc", name))
    source = film(tmp_path / "film.mp4", Film(seconds=0.5, full_range=full, options=tags))
    line = [[0.2, 0.75, 0], [0.8, 0.75, 0]]
    encoded = burned(source, [stroke(line)])
    for path in (source, encoded.path):
        (_, frame), *_ = frames(path)
        assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (matrix, matrix, matrix)
        assert frame.color_range == (2 if full else 1)
    assert np.max(np.abs(outsider(encoded.path, full=full, matrix=matrix)[135, 160] - wanted(RED))) <= 8


def outsider(path: Path, *, full: bool, matrix: int) -> Any:
    """The first picture in RGB, as the ffmpeg command shows it; else as libswscale does when told all it must know."""
    if shutil.which("ffmpeg") is None:
        (_, frame), *_ = frames(path)
        told = {"src_colorspace": 5 if matrix == 6 else matrix, "src_color_range": 2 if full else 1}
        return frame.reformat(format="rgb24", dst_color_range=2, **told).to_ndarray().astype(int)
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    pixels = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return np.frombuffer(pixels, np.uint8).reshape(180, 320, 3).astype(int)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_source_is_upright_and_so_are_its_strokes(rotation: int, tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", Film(seconds=1, rotation=rotation, aspect=Fraction(4, 3)))
    encoded = burned(source, [stroke([[0.9, 0.1, 0]], width=0.05)])
    size = (320, 180) if rotation == 180 else (180, 320)
    assert (encoded.width, encoded.height) == size
    (_, frame), *_ = frames(encoded.path)
    assert frame.rotation == 0
    assert looks(frame, RED, round(size[0] * 0.9), round(size[1] * 0.1))
    with av.open(str(encoded.path)) as container:
        aspect = container.streams.video[0].sample_aspect_ratio
        assert aspect == (Fraction(4, 3) if rotation == 180 else Fraction(3, 4))


def test_turning_a_picture_keeps_its_colours(tmp_path: Path) -> None:
    tags = (("colorspace", "bt709"), ("color_primaries", "bt709"), ("color_trc", "bt709"))
    source = film(tmp_path / "film.mp4", Film(seconds=0.5, rotation=90, full_range=True, options=tags))
    encoded = burned(source, [stroke([[0.2, 0.75, 0], [0.8, 0.75, 0]])])
    (_, frame), *_ = frames(encoded.path)
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 2)
    seen = frame.reformat(format="rgb24", src_colorspace=1, src_color_range=2, dst_color_range=2).to_ndarray()
    assert np.max(np.abs(seen[240, 90].astype(int) - wanted(RED))) <= 8


def test_sound_that_begins_first_is_kept_and_the_picture_stays_late(tmp_path: Path) -> None:
    source = late_picture(tmp_path / "film.mp4")
    encoded = burned(source, [stroke([[0.5, 0.75, 0]])], [erase(900, "s")])
    assert encoded.audio_codec == "aac"
    for path in (source, encoded.path):
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert float((video.start_time or 0) * (video.time_base or 1)) == pytest.approx(0.5, abs=0.001)
            assert float((audio.start_time or 0) * (audio.time_base or 1)) == 0
    # The annotation clock goes by the file, not by its first picture.
    seen = [looks(frame, RED, 160, 135) for _, frame in frames(encoded.path)]
    assert seen == [at < 900_000 for at in times(source)]
    assert sounds(encoded.path) == sounds(source)


def late_picture(path: Path) -> Path:
    """A film whose sound begins half a second before its pictures."""
    early = film(path.with_name("sound.mp4"), Film(seconds=2, audio="aac"))
    late = film(path.with_name("pictures.mp4"), Film(seconds=1, first_pts=45_000))
    with av.open(str(early)) as sound, av.open(str(late)) as pictures, av.open(str(path), "w") as joined:
        # Sound is the first stream.
        audio = joined.add_stream_from_template(sound.streams.audio[0])
        video = joined.add_stream_from_template(pictures.streams.video[0])
        for container, stream in ((sound, audio), (pictures, video)):
            for packet in container.demux():
                if packet.size and packet.stream.type == stream.type:
                    packet.stream = stream
                    joined.mux(packet)
    return path


def sounds(path: Path) -> list[tuple[int, bytes]]:
    """Time in microseconds and bytes of every packet of sound."""
    with av.open(str(path)) as container:
        audio = container.streams.audio[0]
        packets = [packet for packet in container.demux(audio) if packet.size]
        return [(round((packet.pts or 0) * SECOND * (packet.time_base or 1)), bytes(packet)) for packet in packets]


def test_other_sound_becomes_aac_of_the_same_length(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", Film(seconds=2, audio="libmp3lame", audio_rate=32_000))
    encoded = burned(source, [stroke(DOT)])
    with av.open(str(source)) as one, av.open(str(encoded.path)) as other:
        lengths = [sum(frame.samples for frame in film.decode(audio=0)) for film in (one, other)]
    assert encoded.tool.arguments["audio"] == "aac 128000"
    assert lengths[1] == pytest.approx(lengths[0], abs=2 * 1152 + 1024)


def test_the_result_tells_how_it_was_made(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", Film(seconds=1, audio="aac"))
    encoded = burned(source, [stroke([[0.5, 0.75, 500]]), stroke(DOT, id="t", tile=2)], offset_us=123_456)
    assert (encoded.video_codec, encoded.audio_codec, encoded.copied) == ("h264", "aac", False)
    told = {"preset": "ultrafast", "crf": "20", "bf": "0", "keyframe_seconds": "4", "audio": "copied"}
    assert encoded.tool.arguments == told
    assert {"pyav", "ffmpeg", "libavcodec"} <= encoded.tool.versions.keys()
    assert (encoded.annotation_offset_us, encoded.strokes_painted, encoded.notes) == (123_456, 1, ())


def test_the_index_stands_before_the_pictures(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", Film(seconds=1, audio="aac"))
    for may_copy in (False, True):
        data = burned(source, [], may_copy=may_copy).path.read_bytes()
        assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_ten_bits_and_other_subsampling_are_burned_in_as_eight_bits_in_420(tmp_path: Path) -> None:
    for pixel_format in ("yuv420p10le", "yuv444p", "nv12"):
        source = film(tmp_path / "film.mp4", Film(seconds=0.5, pixel_format=pixel_format))
        encoded = burned(source, [stroke([[0.5, 0.75, 0]])])
        (_, frame), *_ = frames(encoded.path)
        assert frame.format.name == "yuv420p"
        assert looks(frame, RED, 160, 135)


def test_a_picture_that_changes_its_size_carries_its_strokes_where_it_is_fitted_in(tmp_path: Path) -> None:
    source = two_sizes(tmp_path / "film.mkv")
    encoded = burned(source, [stroke([[0.5, 0.75, 0]], width=0.08)])
    assert (encoded.width, encoded.height) == (320, 180)
    # Upright pictures of 90x160 stand in the middle, made 100 pixels wide; what was 240 high is 180 here.
    assert all(looks(frame, RED, 160, 135) for _, frame in frames(encoded.path))
    last = rgb(frames(encoded.path)[-1][1])
    assert np.max(last[135, 20]) < 20


def two_sizes(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10, width=320, height=180)
        stream.pix_fmt = "yuvj420p"
        container.start_encoding()
        for number in range(10):
            size = (320, 180) if number < 5 else (180, 320)
            context = av.CodecContext.create("mjpeg", "w")
            assert isinstance(context, av.VideoCodecContext)
            context.width, context.height, context.pix_fmt, context.time_base = *size, "yuvj420p", Fraction(1, 10)
            picture = VideoFrame(*size, "yuvj420p")
            for plane in picture.planes:
                plane.update(bytes([128]) * plane.buffer_size)
            picture.pts, picture.time_base = number, Fraction(1, 10)
            for packet in context.encode(picture):
                packet.stream, packet.pts, packet.dts = stream, number, number
                packet.time_base = Fraction(1, 10)
                container.mux(packet)
    return path


def test_a_file_within_policy_is_copied_where_that_is_wanted_and_nothing_is_drawn_on_it(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", Film(seconds=2, audio="aac", b_frames=2))
    elsewhere = stroke(DOT, tile=2)
    later = stroke([[0.5, 0.5, 2500]], id="later")
    gone = stroke([[0.5, 0.5, 0]], id="gone")
    encoded = burned(source, [gone, elsewhere, later], [erase(100, "gone")], offset_us=200_000, may_copy=True)
    assert (encoded.copied, encoded.frames, encoded.annotation_offset_us) == (True, 20, 200_000)
    assert encoded.duration_us == pytest.approx(2 * SECOND, abs=70_000)
    assert pictures(encoded.path) == pictures(source)
    assert sounds(encoded.path) == sounds(source)
    assert not burned(source, [stroke(DOT)], may_copy=True).copied
    assert not burned(source, [], may_copy=False).copied


def pictures(path: Path) -> list[tuple[int, bytes]]:
    with av.open(str(path)) as container:
        return sorted((packet.pts or 0, bytes(packet)) for packet in container.demux(video=0) if packet.size)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("film.mkv", Film(seconds=1)),
        ("film.mp4", Film(seconds=1, codec="libx265")),
        ("film.mp4", Film(seconds=1, audio="libmp3lame")),
        ("film.mp4", Film(seconds=1, pixel_format="yuv444p")),
    ],
    ids=["Matroska", "H.265", "MP3", "4:4:4"],
)
def test_a_file_outside_policy_is_encoded_even_if_it_may_be_copied(name: str, wanted: Film, tmp_path: Path) -> None:
    encoded = burned(film(tmp_path / name, wanted), [], may_copy=True)
    assert (encoded.copied, encoded.video_codec, encoded.frames) == (False, "h264", 10)


def test_a_recording_is_separated_into_sound_and_pictures_as_they_are(tmp_path: Path) -> None:
    source = late_picture(tmp_path / "film.mp4")
    parts = separate(source, tmp_path)
    assert parts.audio is not None
    assert pictures(parts.video.path) == pictures(source)
    assert sounds(parts.audio.path) == sounds(source)
    assert times(parts.video.path) == times(source)
    for part, kinds in ((parts.video, ["video"]), (parts.audio, ["audio"])):
        with av.open(str(part.path)) as container:
            assert [stream.type for stream in container.streams] == kinds
    assert (parts.video.path.name, parts.video.audio_codec, parts.video.frames) == ("video.mp4", None, 10)
    assert (parts.audio.path.name, parts.audio.video_codec, parts.audio.audio_codec) == ("audio.m4a", None, "aac")
    assert b"M4A " in parts.audio.path.read_bytes()[:32]


def test_a_recording_without_sound_has_one_half(tmp_path: Path) -> None:
    parts = separate(film(tmp_path / "film.mp4", Film(seconds=1)), tmp_path)
    assert (parts.audio, parts.video.frames) == (None, 10)
    assert not (tmp_path / "audio.m4a").exists()


@pytest.mark.parametrize(("codec", "copied"), [("aac", True), ("libmp3lame", False)])
def test_a_participant_who_is_only_heard_has_a_file_of_sound(codec: str, *, copied: bool, tmp_path: Path) -> None:
    source = only_heard(tmp_path, codec)
    with pytest.raises(MediaError) as refused:
        burned(source, [])
    assert refused.value.reason == Reason.NO_VIDEO
    kept = keep_sound(source, tmp_path / "audio.m4a")
    assert (kept.copied, kept.audio_codec, kept.video_codec, kept.frames) == (copied, "aac", None, 0)
    assert kept.duration_us == pytest.approx(2 * SECOND, abs=150_000)
    if copied:
        assert sounds(kept.path) == sounds(source)
    with av.open(str(kept.path)) as container:
        assert [stream.type for stream in container.streams] == ["audio"]
        assert sum(frame.samples for frame in container.decode(audio=0)) == pytest.approx(64_000, rel=0.1)


def only_heard(directory: Path, codec: str) -> Path:
    both = film(directory / "both.mp4", Film(seconds=2, audio=codec, audio_rate=32_000))
    with av.open(str(both)) as source, av.open(str(directory / "heard.mp4"), "w") as heard:
        stream = heard.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = stream
                heard.mux(packet)
    return directory / "heard.mp4"


def test_a_file_without_sound_has_none_to_keep(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as refused:
        keep_sound(film(tmp_path / "film.mp4", Film(seconds=0.5)), tmp_path / "audio.m4a")
    assert refused.value.reason == Reason.FOOTAGE_EMPTY


def test_tiles_that_have_no_room_in_the_pictures_are_refused(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", Film(seconds=0.5))
    placing = [Placement(from_us=0, rects={1: Rect(x=0, y=0, width=640, height=360)})]
    with pytest.raises(MediaError) as refused:
        burned(source, [stroke([[0.5, 0.5, 0]])], placing=placing)
    assert refused.value.reason == Reason.INVALID_ARGUMENT


def test_a_cut_off_source_is_burned_in_as_far_as_it_goes_and_says_so(tmp_path: Path) -> None:
    whole = film(tmp_path / "film.mkv", Film(seconds=4, keyframe_every=5))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    encoded = burned(cut, [stroke(DOT)])
    assert 5 < encoded.frames < 40
    assert encoded.frames == len(times(encoded.path))


def test_a_damaged_source_gives_a_whole_file_or_a_clear_error_and_nothing_else(tmp_path: Path) -> None:
    whole = film(tmp_path / "film.mp4", Film(seconds=1, b_frames=2, audio="aac", size=(160, 90))).read_bytes()
    source = tmp_path / "damaged.mp4"
    outcomes = []
    for seed in range(24):
        chance = random.Random(seed)
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 3, 30])):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        source.write_bytes(damaged[: chance.choice([len(damaged), len(damaged) - 700])])
        outcome = burned_or_refused(source)
        outcomes.append(isinstance(outcome, Encoded))
        if isinstance(outcome, Encoded):
            assert outcome.frames == len(times(outcome.path))
            assert outcome.duration_us > 0
        else:
            assert outcome.reason in DAMAGED
    assert any(outcomes)


# No damage of a source makes a wrong file of ours, nor a mistake of the caller's.
DAMAGED = {
    Reason.FOOTAGE_UNREADABLE,
    Reason.FOOTAGE_TRUNCATED,
    Reason.FOOTAGE_EMPTY,
    Reason.NO_VIDEO,
    Reason.UNSUPPORTED_CODEC,
    Reason.TOO_LARGE,
}


def burned_or_refused(source: Path) -> Encoded | MediaError:
    try:
        return burned(source, [stroke(DOT)], may_copy=True)
    except MediaError as error:
        return error
