"""The sound of a composite: everybody heard, at their own time, and never distorted."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from media.video.composite_values import ParticipantFile
from media.video.mixing import softened
from tests.media.recordings.composing import (
    Beep,
    composed,
    heard,
    onset,
    participant,
    pictures,
    rect_of,
    sounding,
    write_sound,
)
from tests.media.video.filming import NOON, SECOND

LEEWAY = 0.025


def at(seconds: float) -> int:
    return NOON + round(seconds * SECOND)


def test_every_voice_is_heard_at_its_own_time_whatever_its_codec_and_rate(tmp_path: Path) -> None:
    voices: list[tuple[str, Beep, dict[str, Any], float]] = [
        ("a.mp4", Beep(at=0.3, hertz=500), {}, 0.0),
        ("b.mp4", Beep(at=0.5, hertz=900), {"rate": 16_000}, 0.45),
        ("c.mkv", Beep(at=0.2, hertz=1400), {"codec": "libopus"}, 1.1),
        ("d.mov", Beep(at=0.6, hertz=2100), {"codec": "pcm_s16le", "rate": 8_000}, 0.8),
        ("e.mp4", Beep(at=0.4, hertz=3100), {"rate": 44_100, "layout": "stereo"}, 1.3),
    ]
    files = [
        ParticipantFile(path=sounding(tmp_path / name, beep, **how), tile=tile, starts_at=at(starts))
        for tile, (name, beep, how, starts) in enumerate(voices)
    ]
    composite = composed(files, tmp_path / "composite.mp4")
    assert composite.has_audio
    for _, beep, _, starts in voices:
        assert onset(composite.path, beep.hertz) == pytest.approx(starts + beep.at, abs=LEEWAY)
    with av.open(str(composite.path)) as container:
        sound = container.streams.audio[0]
        assert (sound.codec_context.name, sound.rate, sound.codec_context.layout.name) == ("aac", 48_000, "stereo")


def test_sound_that_begins_later_than_the_pictures_of_its_file_is_not_drawn_forward(tmp_path: Path) -> None:
    path = sounding(tmp_path / "late.mp4", Beep(at=0.6, hertz=700), late=0.35)
    files = [
        participant(tmp_path / "0.mp4", 0),
        ParticipantFile(path=path, tile=1, starts_at=at(0.2)),
    ]
    composite = composed(files, tmp_path / "composite.mp4")
    assert onset(composite.path, 700) == pytest.approx(0.8, abs=LEEWAY)


def test_two_stays_of_one_person_are_heard_each_in_its_place_with_silence_between(tmp_path: Path) -> None:
    first = sounding(tmp_path / "1.mp4", Beep(at=0.1, hertz=600), seconds=0.5)
    second = sounding(tmp_path / "2.mp4", Beep(at=0.1, hertz=1500), seconds=0.5)
    files = [
        ParticipantFile(path=first, tile=0, starts_at=NOON),
        ParticipantFile(path=second, tile=0, starts_at=at(1.25)),
    ]
    composite = composed(files, tmp_path / "composite.mp4")
    assert onset(composite.path, 600) == pytest.approx(0.1, abs=LEEWAY)
    assert onset(composite.path, 1500) == pytest.approx(1.35, abs=LEEWAY)
    mix, rate = heard(composite.path)
    assert np.abs(mix[round(0.6 * rate) : round(1.2 * rate)]).max() < 0.01


def test_who_was_never_seen_is_heard_and_their_empty_tile_is_no_gap(tmp_path: Path) -> None:
    path = sounding(tmp_path / "1.mp4", Beep(at=0.7, hertz=800), seconds=1.5, video=False)
    files = [participant(tmp_path / "0.mp4", 0), ParticipantFile(path=path, tile=1, starts_at=at(0.3))]
    composite = composed(files, tmp_path / "composite.mp4")
    assert onset(composite.path, 800) == pytest.approx(1.0, abs=LEEWAY)
    assert composite.duration_us == pytest.approx(1_800_000, abs=70_000)
    assert composite.gaps == ()
    assert [(one.tile, one.frames, one.has_audio, one.unusable) for one in composite.inputs] == [
        (0, 20, False, None),
        (1, 0, True, None),
    ]
    assert pictures(composite.path)[15].is_empty(rect_of(1, [0, 1]))


def test_sound_goes_on_after_the_last_picture_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "1.mp4"
    samples = np.zeros(72_000, np.float32)
    samples[57_600:62_400] = 0.5 * np.sin(2 * np.pi * 900 * np.arange(4_800) / 48_000)
    short = participant(tmp_path / "short.mp4", 0)
    with av.open(str(path), "w") as container, av.open(str(short.path)) as source:
        copy = container.add_stream_from_template(source.streams.video[0])
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                container.mux(packet)
        write_sound(container, sound, samples)
    composite = composed([ParticipantFile(path=path, tile=0, starts_at=NOON)], tmp_path / "composite.mp4")
    assert onset(composite.path, 900) == pytest.approx(1.2, abs=LEEWAY)
    assert composite.duration_us == pytest.approx(1_500_000, abs=70_000)


def test_loud_voices_together_stay_within_full_scale(tmp_path: Path) -> None:
    files = [
        ParticipantFile(
            path=sounding(tmp_path / f"{tile}.mp4", Beep(at=0.1, hertz=300 + 200 * tile, seconds=0.6, level=0.9)),
            tile=tile,
            starts_at=NOON,
        )
        for tile in range(4)
    ]
    mix, _ = heard(composed(files, tmp_path / "composite.mp4").path)
    assert 0.85 < np.abs(mix).max() < 1.05  # the codec itself may overshoot a little


def test_quiet_sound_is_left_as_it_is_and_loud_sound_is_bent_not_cut() -> None:
    samples: NDArray[np.float32] = np.linspace(-4, 4, 4001, dtype=np.float32).reshape(1, -1)
    soft = softened(samples.copy())
    quiet = np.abs(samples) <= 0.8
    assert (soft[quiet] == samples[quiet]).all()
    assert np.abs(soft).max() <= 1
    assert (np.diff(soft[0]) >= 0).all()
    assert (np.diff(soft[0][np.abs(samples[0]) < 1.2]) > 0).all()


@pytest.mark.parametrize("sample", [np.nan, np.inf, 3e38])
def test_samples_that_are_no_numbers_do_not_silence_the_others(sample: float, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mkv"
    with av.open(str(broken), "w") as container:
        sound = container.add_stream("pcm_f32le", rate=8_000, layout="mono")
        write_sound(container, sound, np.full(800, sample, np.float32))
    good = sounding(tmp_path / "good.mp4", Beep(at=0.4, hertz=700))
    files = [
        ParticipantFile(path=broken, tile=0, starts_at=NOON),
        ParticipantFile(path=good, tile=1, starts_at=NOON),
    ]
    composite = composed(files, tmp_path / "composite.mp4")
    assert onset(composite.path, 700) == pytest.approx(0.4, abs=LEEWAY)
