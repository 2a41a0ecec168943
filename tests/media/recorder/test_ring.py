import fcntl
import os
from pathlib import Path

import pytest

from media.video.recorder_ring import LOCK_NAME, Ring, RingError, reading
from media.video.recorder_sidecar import SegmentState, Sidecar, parse_sidecar, sidecar_of, write_sidecar
from media.video.values import ClockMap, ClockSource

SECOND = 1_000_000
NOON = 1_772_366_400 * SECOND
HOUR = 3600 * SECOND


def sidecar(state: SegmentState) -> Sidecar:
    return Sidecar(
        state=state,
        clock=ClockMap(anchors=((0, NOON),), error_us=0, source=ClockSource.ARRIVAL),
        camera_offset_us=None,
        frames=0,
        size=0,
        sha256=None,
        lost_before=None,
    )


def add(ring: Ring, at: int, size: int = 1000, state: SegmentState = SegmentState.FINISHED) -> Path:
    path = ring.new_segment(at, ".mp4")
    path.write_bytes(b"x" * size)
    write_sidecar(sidecar_of(path), sidecar(state), durably=False)
    return path


def left(ring: Ring) -> list[str]:
    return sorted(path.name for path in ring.directory.iterdir() if path.name != LOCK_NAME)


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(tmp_path / "ring", keep_us=HOUR, keep_bytes=10_000)


def test_segments_older_than_the_ring_are_deleted_with_their_sidecars(ring: Ring) -> None:
    old = add(ring, NOON - 2 * HOUR)
    young = [add(ring, NOON - minutes * 60 * SECOND) for minutes in (20, 10)]
    kept = ring.prune(NOON, writing=None)
    assert (kept.deleted, kept.segments) == (1, 2)
    assert not old.exists()
    assert left(ring) == sorted(name for path in young for name in (path.name, sidecar_of(path).name))


def test_of_too_many_bytes_the_oldest_go(ring: Ring) -> None:
    paths = [add(ring, NOON - (10 - n) * SECOND, size=4000) for n in range(4)]
    kept = ring.prune(NOON, writing=None)
    assert [path.exists() for path in paths] == [False, False, True, True]
    assert kept.size <= 10_000


def test_the_newest_complete_segment_stays_however_old_and_large(ring: Ring) -> None:
    path = add(ring, NOON - 100 * HOUR, size=50_000)
    assert ring.prune(NOON, writing=None).deleted == 0
    assert path.exists()


def test_the_segment_being_written_stays_and_so_does_the_newest_complete_one(ring: Ring) -> None:
    paths = [add(ring, NOON - (100 - n) * HOUR, size=50_000) for n in range(3)]
    ring.prune(NOON, writing=paths[-1])
    assert [path.exists() for path in paths] == [False, True, True]


def test_a_segment_that_is_being_read_stays_until_it_was(ring: Ring) -> None:
    read, other = (add(ring, NOON - hours * HOUR) for hours in (3, 2))
    add(ring, NOON)
    with read.open("rb") as file, reading(file.fileno()):
        kept = ring.prune(NOON, writing=None)
        assert (kept.deleted, kept.in_use) == (1, 1)
        assert read.exists()
        assert sidecar_of(read).exists()
        assert not other.exists()
    assert ring.prune(NOON, writing=None).deleted == 1
    assert not read.exists()


def test_a_reader_that_was_killed_holds_nothing_back(ring: Ring) -> None:
    path = add(ring, NOON - 3 * HOUR)
    add(ring, NOON)
    child = os.fork()
    if child == 0:
        fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_SH)
        os._exit(9)
    os.waitpid(child, 0)
    assert ring.prune(NOON, writing=None).deleted == 1


def test_files_of_others_are_never_deleted(ring: Ring) -> None:
    others = ["notes.txt", "20200101T000000.mp4", "20200101T000000.000000Z.avi", "backup.json", "x.draft"]
    for name in others:
        (ring.directory / name).write_bytes(b"x" * 100_000)
    (ring.directory / "20200101T000000.000001Z.mp4").symlink_to("notes.txt")
    (ring.directory / "20200101T000000.000002Z.mp4").mkdir()
    add(ring, NOON - 2 * HOUR)
    add(ring, NOON)
    ring.prune(NOON, writing=None)
    assert set(others) <= set(left(ring))
    assert (ring.directory / "notes.txt").stat().st_size == 100_000


def test_sidecars_and_drafts_without_their_segment_are_swept(ring: Ring) -> None:
    add(ring, NOON)
    for suffix in (".json", ".draft"):
        (ring.directory / f"20260301T115900.000000Z{suffix}").write_text("{}")
    ring.prune(NOON, writing=None)
    assert len(left(ring)) == 2


def test_a_full_disk_makes_room_before_the_ring_is_full(ring: Ring) -> None:
    paths = [add(ring, NOON - (10 - n) * SECOND) for n in range(4)]
    ring.prune(NOON, writing=None, spare=1500)
    assert [path.exists() for path in paths] == [False, False, True, True]


def test_a_directory_has_one_recorder_at_a_time(ring: Ring) -> None:
    with pytest.raises(RingError, match="another recorder"):
        Ring(ring.directory, keep_us=HOUR, keep_bytes=1)
    ring.close()
    Ring(ring.directory, keep_us=HOUR, keep_bytes=1).close()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RingError, match="cannot be written"):
        Ring(tmp_path / "file" / "ring", keep_us=HOUR, keep_bytes=1)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "ring").mkdir()
    (tmp_path / "ring" / LOCK_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RingError):
        Ring(tmp_path / "ring", keep_us=HOUR, keep_bytes=1)
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_killed_recorder_left_is_marked_and_keeps_its_clock(ring: Ring) -> None:
    finished = add(ring, NOON - 20 * SECOND)
    killed = add(ring, NOON - 10 * SECOND, size=777, state=SegmentState.RECORDING)
    assert ring.recover() == [killed]
    marked = parse_sidecar(sidecar_of(killed).read_bytes())
    assert (marked.state, marked.size, marked.sha256) == (SegmentState.INTERRUPTED, 777, None)
    assert marked.clock == sidecar(SegmentState.RECORDING).clock
    assert parse_sidecar(sidecar_of(finished).read_bytes()).state is SegmentState.FINISHED
    assert ring.recover() == []


def test_unusable_sidecars_do_not_keep_a_recorder_from_starting(ring: Ring) -> None:
    for number, content in enumerate((b"", b"{", b"[]", b"\xff" * 100)):
        sidecar_of(add(ring, NOON + number)).write_bytes(content)
    assert ring.recover() == []


def test_two_segments_never_share_a_name(ring: Ring) -> None:
    assert len({add(ring, NOON) for _ in range(5)}) == 5


def test_segments_from_before_the_clock_was_set_back_go_before_newer_ones(ring: Ring) -> None:
    ahead = [add(ring, NOON + HOUR + n * SECOND, size=3000) for n in range(3)]
    real = [add(ring, NOON - (3 - n) * SECOND, size=3000) for n in range(3)]
    ring.prune(NOON, writing=None)
    assert not any(path.exists() for path in ahead)
    assert all(path.exists() for path in real)
