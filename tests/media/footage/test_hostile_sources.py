"""What anyone who may write into a source's directory can leave there."""

import fcntl
import os
import socket
import threading
from pathlib import Path

import pytest

from media.clips import acquiring, shelves
from media.clips.footage import Footage
from media.clips.shelves import DirectoryShelf, GoneError, Listed
from media.errors import MediaError, Reason
from media.video.values import Limits, Window
from tests.media.footage.searching import LONG_AFTER, SECOND, Camera, at, copy_of, name_at, names, seconds_of


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Camera(root=tmp_path_factory.mktemp("one") / "gate").film(0, 3)


@pytest.fixture
def camera(tmp_path: Path, segment: Path) -> Camera:
    (tmp_path / "gate").mkdir()
    copy_of(segment, tmp_path / "gate" / segment.name)
    return Camera(root=tmp_path / "gate")


async def test_a_link_is_not_followed_and_noted(camera: Camera, tmp_path: Path, segment: Path) -> None:
    copy_of(segment, tmp_path / "outside.mp4")
    (camera.root / segment.name).unlink()
    (camera.root / name_at(0)).symlink_to(tmp_path / "outside.mp4")
    with pytest.raises(MediaError) as refused:
        await camera.find(0, 3)
    assert refused.value.reason is Reason.NO_FOOTAGE


async def test_a_linked_folder_is_not_entered(camera: Camera, tmp_path: Path, segment: Path) -> None:
    (tmp_path / "outside").mkdir()
    copy_of(segment, tmp_path / "outside" / name_at(1))
    (camera.root / "2026").symlink_to(tmp_path / "outside")
    found = await camera.find(0, 3)
    assert names(found) == [segment.name]
    assert "1 entries of the source were passed over" in found.notes[0]


def test_a_folder_that_becomes_a_link_after_it_was_listed_is_not_entered(camera: Camera, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (camera.root / "day").symlink_to(tmp_path / "outside")
    shelf = DirectoryShelf(camera.root)
    with pytest.raises(MediaError) as refused:
        shelf.fetch(Listed(name="day/secret", size=6, modified_at=0), tmp_path / "copy", limit=100)
    assert refused.value.reason is Reason.FOOTAGE_UNAVAILABLE
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("name", ["../outside.mp4", "/etc/passwd", "day/../../outside.mp4", "", ".."])
def test_no_name_leads_out_of_the_source(camera: Camera, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.mp4").write_text("secret")
    with pytest.raises(GoneError):
        DirectoryShelf(camera.root).fetch(Listed(name=name, size=6, modified_at=0), tmp_path / "copy", limit=100)


async def test_pipes_sockets_and_folders_with_telling_names_keep_nobody_waiting(camera: Camera) -> None:
    os.mkfifo(camera.root / name_at(0.5))
    (camera.root / name_at(0.6)).mkdir()
    listener = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(camera.root)  # a socket's path may have about 100 characters only
    try:
        listener.bind("s.mp4")
    finally:
        os.chdir(here)
    found = await camera.find(0, 3)
    listener.close()
    assert len(found.segments) == 1


def test_a_pipe_that_takes_the_place_of_a_listed_file_keeps_nobody_waiting(camera: Camera, tmp_path: Path) -> None:
    os.mkfifo(camera.root / "pipe")
    with pytest.raises(GoneError):
        DirectoryShelf(camera.root).fetch(Listed(name="pipe", size=1, modified_at=0), tmp_path / "copy", limit=100)


@pytest.mark.parametrize("name", ["a\nb.mp4", "\x1b[31m.mp4", "\u202egnp.mp4"])
async def test_names_that_would_lie_to_a_reader_are_passed_over(camera: Camera, segment: Path, name: str) -> None:
    copy_of(segment, camera.root / name)
    found = await camera.find(0, 3, names=None)
    assert len(found.segments) == 1
    assert all(note.isprintable() for note in found.notes)


async def test_a_name_that_is_no_text_is_passed_over(camera: Camera, segment: Path) -> None:
    copy_of(segment, Path(os.fsdecode(os.fsencode(camera.root) + b"/\xff\xfe.mp4")))
    found = await camera.find(0, 3)
    assert "passed over" in found.notes[0]


async def test_a_file_larger_than_allowed_is_a_gap_and_keeps_nothing_else_back(camera: Camera, tmp_path: Path) -> None:
    camera.film(3, 3)
    size = max(path.stat().st_size for path in camera.root.iterdir())
    with (camera.root / name_at(3)).open("ab") as file:
        file.truncate(2 * size)
    (tmp_path / "copies").mkdir()
    window = Window(asked_from=at(0), asked_to=at(6), event_at=at(1))
    found = await Footage(Limits(file_bytes=size)).find(
        camera.source(), window, directory=tmp_path / "copies", now=LONG_AFTER
    )
    assert names(found) == [name_at(0)]
    assert [seconds_of(gap) for gap in found.gaps] == [(3, 6, "unreadable")]
    assert "more than is read of one file" in found.notes[0]


async def test_all_copies_together_are_bounded(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    camera.film(3, 3)
    size = max(path.stat().st_size for path in camera.root.iterdir())
    monkeypatch.setattr(acquiring, "MAX_TOTAL_BYTES", size + size // 2)
    with pytest.raises(MediaError) as refused:
        await camera.find(0, 6)
    assert refused.value.reason is Reason.TOO_LARGE


async def test_an_endless_listing_is_refused_with_advice(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "MAX_LISTED", 50)
    for number in range(60):
        (camera.root / f"{number}.mp4").touch()
    with pytest.raises(MediaError, match="begin with the date") as refused:
        await camera.find(0, 3)
    assert refused.value.reason is Reason.TOO_LARGE


async def test_folders_nested_without_end_are_passed_over(camera: Camera, segment: Path) -> None:
    deep = camera.root
    for _ in range(40):
        deep /= "a"
        deep.mkdir()
    copy_of(segment, deep / name_at(0))
    assert len((await camera.find(0, 3, names=None)).segments) == 1


async def test_a_file_with_a_time_of_writing_in_the_far_future_is_taken_when_the_wait_is_over(camera: Camera) -> None:
    os.utime(camera.root / name_at(0), (4_000_000_000, 4_000_000_000))
    assert not (await camera.find(0, 3, now=at(60))).complete
    assert (await camera.find(0, 3, now=at(3 + 120))).complete


async def test_a_file_that_grows_while_it_is_copied_is_not_taken_for_complete(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = camera.root / name_at(0)
    os.utime(path, ns=(at(3) * 1000, at(3) * 1000))
    original = shelves.copy

    def growing(source: shelves.Readable, target: Path, *, limit: int) -> tuple[int, str]:
        copied = original(source, target, limit=limit)
        with path.open("ab") as file:
            file.write(b"more")
        return copied

    monkeypatch.setattr(shelves, "copy", growing)
    now = at(60)
    found = await camera.find(0, 3, now=now)
    assert not found.complete


async def test_a_segment_that_vanishes_between_listing_and_copying_is_a_gap(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera.film(3, 3)
    listing = DirectoryShelf.list

    def late(self: DirectoryShelf, prefixes: tuple[str, ...]) -> shelves.Listing:
        listed = listing(self, prefixes)
        (camera.root / name_at(3)).unlink(missing_ok=True)
        return listed

    monkeypatch.setattr(DirectoryShelf, "list", late)
    found = await camera.find(0, 6)
    assert names(found) == [name_at(0)]
    assert len(found.gaps) == 1


def test_a_segment_is_locked_against_its_ring_while_it_is_copied(
    camera: Camera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = threading.Event()
    original = shelves.copy

    def slow(source: shelves.Readable, target: Path, *, limit: int) -> tuple[int, str]:
        with (camera.root / name_at(0)).open("rb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tried.set()
        return original(source, target, limit=limit)

    monkeypatch.setattr(shelves, "copy", slow)
    shelf = DirectoryShelf(camera.root)
    (listed,) = shelf.list(("",)).files
    shelf.fetch(listed, tmp_path / "copy", limit=10**9)
    assert tried.is_set()
    with (camera.root / name_at(0)).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_a_full_disk_here_is_worth_another_try(camera: Camera, tmp_path: Path) -> None:
    window = Window(asked_from=at(0), asked_to=at(3), event_at=at(1))
    with pytest.raises(MediaError) as refused:
        await Footage().find(camera.source(), window, directory=tmp_path / "missing", now=at(3) + 200 * SECOND)
    assert refused.value.reason is Reason.FOOTAGE_UNAVAILABLE
