"""`indelible clip preserve`: a file at hand, no service."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import av
import pytest
from click.testing import CliRunner, Result

from ledger.cli.main import indelible
from sandbox.camera import Recording, write_segment
from tests.media.clips.checking import check
from tests.media.video.filming import Film, film

STARTED_AT = 1_772_366_400_000_000  # 2026-03-01T12:00:00Z
TIME = "2026-03-01T12:00:10Z"


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four seconds whose first picture was taken at noon; the file itself tells no time."""
    path = tmp_path_factory.mktemp("footage") / "gate.mp4"
    return write_segment(path, Recording(starts_at=STARTED_AT, seconds=24, width=160, height=96, rate=5))


def preserve(file: Path, out: Path, *options: str, at: str = TIME) -> Result:
    arguments = ("--at", at, "--camera", "gate-1", "--incident", "inc-7", "--out", str(out), *options)
    return CliRunner().invoke(indelible, ["clip", "preserve", str(file), *arguments])


def preserved(file: Path, out: Path, *options: str, at: str = TIME) -> dict[str, Any]:
    done = preserve(file, out, "--json", *options, at=at)
    assert done.exit_code == 0, done.stderr
    fields: dict[str, Any] = json.loads(done.stdout)
    return fields


def seconds_of(path: Path) -> float:
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        times = [float(packet.pts * stream.time_base) for packet in container.demux(stream) if packet.pts is not None]
    return max(times) - min(times)


def test_a_file_becomes_a_clip_with_all_its_files_and_their_digests(footage: Path, tmp_path: Path) -> None:
    out = tmp_path / "evidence"
    fields = preserved(footage, out, "--started-at", "2026-03-01T12:00:00Z", "--before", "4", "--after", "6")
    directory = Path(fields["directory"])
    assert directory == out / "local/2026/03/01/gate-1/inc-7"
    assert fields["actual"] == {"from": "2026-03-01T12:00:06.000000Z", "to": "2026-03-01T12:00:16.000000Z"}
    assert fields["clock"]["source"] == "given"
    on_disk = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}
    assert on_disk == {one["name"]: one["sha256"] for one in fields["artefacts"]}
    assert on_disk.keys() == {
        "native.mp4", "clip.mp4", "thumbnail.jpg", "preview.webm", "metadata.json", "custody.json"
    }  # fmt: skip
    metadata = json.loads((directory / "metadata.json").read_text())
    check("metadata-1", metadata)
    check("custody-1", json.loads((directory / "custody.json").read_text()))
    assert metadata["footage"][0]["sha256"] == hashlib.sha256(footage.read_bytes()).hexdigest()
    assert {one["name"]: one["sha256"] for one in metadata["artefacts"]}.items() <= on_disk.items()
    assert seconds_of(directory / "clip.mp4") == pytest.approx(10, abs=0.3)


def test_a_second_clip_of_an_incident_is_never_made(footage: Path, tmp_path: Path) -> None:
    first = preserved(footage, tmp_path, "--before", "1", "--after", "1", at="5")
    again = preserve(footage, tmp_path, "--before", "2", "--after", "2", at="5")
    assert again.exit_code == 1
    assert "has its clip already" in again.stderr
    assert {one["name"] for one in first["artefacts"]} == {path.name for path in Path(first["directory"]).iterdir()}


@pytest.mark.parametrize(("at", "seconds"), [("12.5", 12.5), ("0:12", 12), ("00:00:12.500", 12.5)])
def test_a_time_may_be_told_by_how_far_into_the_file_it_is(
    footage: Path, tmp_path: Path, at: str, seconds: float
) -> None:
    fields = preserved(
        footage, tmp_path, "--started-at", "2026-03-01T12:00:00Z", "--before", "1", "--after", "1", at=at
    )
    metadata = json.loads((Path(fields["directory"]) / "metadata.json").read_text())
    assert metadata["event_at"] == f"2026-03-01T12:00:{seconds:09.6f}Z"


def test_without_a_clock_in_the_file_its_last_writing_tells_it_and_says_so(footage: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    shutil.copy(footage, copy)
    os.utime(copy, (STARTED_AT / 1e6 + 24,) * 2)
    fields = preserved(copy, tmp_path / "out", "--before", "1", "--after", "1")
    assert fields["clock"]["source"] == "modified_at"
    assert fields["clock"]["error_seconds"] > 60
    assert "last written" in fields["clock"]["words"]


def test_a_time_outside_of_the_file_is_refused_with_what_it_covers(footage: Path, tmp_path: Path) -> None:
    done = preserve(footage, tmp_path, "--started-at", "2026-03-01T12:00:00Z", at="2026-03-01T13:00:00Z")
    assert done.exit_code == 1
    assert "covers 2026-03-01T12:00:00.000000Z to 2026-03-01T12:00:24.000000Z" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", ["yesterday", "2026-03-01 12:00", "2026-03-01T12:00:00", "-5", "1:99:00", ""])
def test_a_time_that_is_none_is_wrong_usage(footage: Path, tmp_path: Path, at: str) -> None:
    done = preserve(footage, tmp_path, f"--at={at}", at="5")
    assert done.exit_code == 2
    assert "--at" in done.stderr


def broken_files(footage: Path, directory: Path) -> dict[str, Path]:
    whole = footage.read_bytes()
    files = {"empty": b"", "text": b"not a film\n" * 100, "header": whole[:40]}
    for name, content in files.items():
        (directory / name).write_bytes(content)
    with av.open(directory / "film.mp4", "w") as made:
        sound = made.add_stream("aac", rate=48_000)
        for number in range(20):
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            frame.sample_rate, frame.pts = 48_000, number * 1024
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            made.mux(sound.encode(frame))
        made.mux(sound.encode(None))
    return {**{name: directory / name for name in files}, "sound": directory / "film.mp4"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("empty", "FOOTAGE_EMPTY"), ("text", "FOOTAGE_"), ("header", "FOOTAGE_"), ("sound", "NO_VIDEO")],
)
def test_what_is_no_footage_is_refused_with_its_reason_and_leaves_nothing(
    footage: Path, tmp_path: Path, name: str, reason: str
) -> None:
    out = tmp_path / "out"
    done = preserve(broken_files(footage, tmp_path)[name], out, at="0")
    assert done.exit_code == 1
    assert f"[{reason}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_footage_with_the_sound_of_a_telephone_is_preserved_in_quicktime(tmp_path: Path) -> None:
    """What most network cameras send beside H.264, and no MP4 can hold."""
    file = film(tmp_path / "film.mov", Film(audio="pcm_alaw", audio_rate=8_000))
    fields = preserved(file, tmp_path / "out", "--before", "1", "--after", "1", at="1")
    assert "native.mov" in {one["name"] for one in fields["artefacts"]}
    metadata = json.loads((Path(fields["directory"]) / "metadata.json").read_text())
    check("metadata-1", metadata)
    assert {one["name"]: one["media_type"] for one in metadata["artefacts"]}["native.mov"] == "video/quicktime"


@pytest.mark.parametrize("name", [b"-at", b"a b\n'\".mp4", b"\xff\xfe.mp4", b"concat:x", b"%d.mp4", b"file:x.mp4"])
def test_a_file_may_have_any_name(footage: Path, tmp_path: Path, name: bytes) -> None:
    file = tmp_path / os.fsdecode(name)
    shutil.copy(footage, file)
    fields = preserved(file, tmp_path / "out", "--before", "0", "--after", "1", at="1")
    metadata = json.loads((Path(fields["directory"]) / "metadata.json").read_text())
    assert metadata["footage"][0]["name"] == name.decode(errors="backslashreplace")


def test_what_cannot_be_written_is_refused_and_leaves_nothing(footage: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "local").write_text("in the way")
    done = preserve(footage, tmp_path / "out", "--before", "0", "--after", "1", at="1")
    assert done.exit_code == 2
    assert "cannot be used" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["local"]


def test_a_file_of_another_kind_is_refused_with_the_kinds_there_are(tmp_path: Path) -> None:
    file = tmp_path / "list.m3u8"
    file.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nother.ts\n#EXT-X-ENDLIST\n")
    done = preserve(file, tmp_path / "out", at="0")
    assert done.exit_code == 1
    assert "is no MP4, QuickTime, Matroska, WebM, MPEG or AVI file" in done.stderr


@pytest.mark.parametrize("option", ["--camera", "--incident", "--organisation"])
def test_a_name_with_no_place_in_a_key_is_refused(footage: Path, tmp_path: Path, option: str) -> None:
    done = preserve(footage, tmp_path, option, "../up", at="5")
    assert done.exit_code == 1
    assert "INVALID_ARGUMENT" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_real_footage_of_other_people_works_or_is_refused_clearly(corpus: Path, tmp_path: Path) -> None:
    files = sorted(path for path in (corpus / "video").iterdir() if path.suffix != ".json")
    assert files
    for file in files:
        done = preserve(file, tmp_path / file.name, "--before", "0", "--after", "1", at="1")
        assert done.exit_code in {0, 1}, f"{file.name}: {done.stderr}"
        assert "Traceback" not in done.stderr
        if done.exit_code == 1:
            assert "[" in done.stderr, file.name
