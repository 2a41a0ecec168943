"""Sound is kept: copied where it can be, otherwise encoded, and in step with the pictures."""

from pathlib import Path

import av
import pytest

from media.video.artefacts import write_artefacts
from media.video.values import Artefacts
from tests.media.video.filming import NOON, SECOND, Film, film, segment, window


def made(path: Path, directory: Path) -> Artefacts:
    directory.mkdir()
    return write_artefacts([segment(path)], window(1.25, 3.05), directory)


def sounding(path: Path) -> tuple[str, float, float]:
    """The codec of the sound, and its first and last moment."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        name = stream.codec_context.codec.canonical_name
        frames = [frame for frame in container.decode(audio=0) if frame.time is not None]
        return name, frames[0].time or 0, (frames[-1].time or 0) + frames[-1].samples / frames[-1].sample_rate


@pytest.mark.parametrize(
    ("name", "audio", "rate", "native"),
    [
        ("film.mp4", "aac", 16_000, "native.mp4"),
        ("film.ts", "aac", 16_000, "native.mp4"),
        ("film.mkv", "libopus", 48_000, "native.mp4"),
        ("film.mov", "pcm_alaw", 8_000, "native.mov"),
        ("film.avi", "pcm_mulaw", 8_000, "native.mov"),
        ("film.mov", "pcm_s16le", 16_000, "native.mp4"),
        ("film.ts", "mp2", 32_000, "native.mp4"),
    ],
)
def test_sound_stays_with_the_pictures(name: str, audio: str, rate: int, native: str, tmp_path: Path) -> None:
    path = film(tmp_path / name, Film(audio=audio, audio_rate=rate))
    artefacts = made(path, tmp_path / "out")
    assert artefacts.native[0].name == native
    codec, starts, ends = sounding(artefacts.native[0].path)
    assert artefacts.native[0].audio_codec == {"libopus": "opus"}.get(audio, audio)
    # In MP4 the layers of MPEG audio have one name.
    assert codec == {"mp2": "mp3"}.get(audio, artefacts.native[0].audio_codec)
    assert starts == pytest.approx(0, abs=0.08)
    assert ends == pytest.approx(2.2, abs=0.15)
    codec, starts, ends = sounding(artefacts.clip.path)
    assert codec == "aac" == artefacts.clip.audio_codec
    assert starts == pytest.approx(0, abs=0.08)
    assert ends == pytest.approx(1.75, abs=0.15)


def test_sound_before_the_pictures_in_the_file_is_found(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", Film(audio="aac"))
    with av.open(str(path)) as source, av.open(str(tmp_path / "sound-first.mp4"), "w") as swapped:
        order = [source.streams.audio[0], source.streams.video[0]]
        copies = {stream.index: swapped.add_stream_from_template(stream, opaque=True) for stream in order}
        for packet in source.demux(*order):
            if packet.size:
                packet.stream = copies[packet.stream_index]
                swapped.mux(packet)
    artefacts = made(tmp_path / "sound-first.mp4", tmp_path / "out")
    assert sounding(artefacts.clip.path)[0] == "aac"


@pytest.mark.parametrize(
    ("suffix", "audio", "rate", "natives"), [("mp4", "aac", 16_000, 1), ("mov", "pcm_alaw", 8_000, 2)]
)
def test_sound_over_a_gap_is_silent_for_as_long(
    suffix: str, audio: str, rate: int, natives: int, tmp_path: Path
) -> None:
    wanted = Film(seconds=2, audio=audio, audio_rate=rate)
    paths = [film(tmp_path / f"{number}.{suffix}", wanted) for number in (0, 1)]
    (tmp_path / "out").mkdir()
    segments = [segment(paths[0]), segment(paths[1], NOON + 4 * SECOND)]
    artefacts = write_artefacts(segments, window(0, 6), tmp_path / "out")
    assert len(artefacts.native) == natives
    for derivative in (artefacts.clip, *artefacts.native):
        with av.open(str(derivative.path)) as container:
            packets = [float((p.pts or 0) * p.time_base) for p in container.demux(audio=0) if p.size]
        packets = [at + (derivative.actual_from - NOON) / SECOND for at in packets]
        assert not [at for at in packets if 2.1 < at < 3.85]
        assert [at for at in packets if 1.5 < at < 2 or 5.5 < at < 6]


def test_sound_that_nothing_can_decode_costs_no_picture(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv", Film(audio="libopus", audio_rate=48_000))
    # Matroska names codecs by a text; this one no decoder knows.
    path.write_bytes(path.read_bytes().replace(b"A_OPUS", b"A_NONE"))
    artefacts = made(path, tmp_path / "out")
    assert artefacts.clip.audio_codec is None
    assert artefacts.clip.frames == 18
