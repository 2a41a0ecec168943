"""Searches of a directory of segments of ten seconds."""

import hashlib
import os
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import av
import pytest

from media.clips.footage import Footage
from media.clips.naming import NamePattern
from media.errors import MediaError, Reason
from media.video.values import ClockSource, Window
from tests.media.footage.searching import (
    LONG_AFTER,
    NOON,
    SECOND,
    Camera,
    at,
    clock_errors,
    copy_of,
    name_at,
    names,
    seconds_of,
    write_time,
)


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Camera:
    """One minute without a flaw."""
    camera = Camera(root=tmp_path_factory.mktemp("minute") / "gate")
    for start in range(0, 60, 10):
        camera.film(start, 10)
    return camera


@pytest.fixture
def camera(tmp_path: Path) -> Camera:
    (tmp_path / "gate").mkdir()
    return Camera(root=tmp_path / "gate")


async def test_exactly_the_segments_that_touch_the_window_are_found(minute: Camera) -> None:
    found = await minute.find(15, 35)
    assert names(found) == [name_at(10), name_at(20), name_at(30)]
    assert found.complete
    assert found.gaps == ()


async def test_every_picture_is_placed_where_its_camera_saw_it(minute: Camera) -> None:
    found = await minute.find(15, 35)
    for segment in found.segments:
        assert max(map(abs, clock_errors(segment))) <= 1000


async def test_segments_are_local_copies_with_the_digest_of_the_source(minute: Camera) -> None:
    found = await minute.find(15, 25)
    for segment in found.segments:
        assert not segment.path.is_relative_to(minute.root)
        original = (minute.root / segment.source_name).read_bytes()
        assert segment.path.read_bytes() == original
        assert segment.sha256 == hashlib.sha256(original).hexdigest()


async def test_copies_that_are_not_needed_are_deleted(minute: Camera) -> None:
    found = await minute.find(20, 30)
    assert names(found) == [name_at(20)]
    assert list(found.segments[0].path.parent.iterdir()) == [found.segments[0].path]


async def test_a_window_that_ends_where_a_segment_begins_does_not_take_it(minute: Camera) -> None:
    assert names(await minute.find(12, 20)) == [name_at(10)]


async def test_a_missing_segment_is_a_gap_with_its_times(minute: Camera, camera: Camera) -> None:
    for start in (0, 10, 30, 40):
        copy_of(minute.root / name_at(start), camera.root / name_at(start))
    found = await camera.find(5, 45)
    assert [seconds_of(gap) for gap in found.gaps] == [(20, 30, "missing")]
    assert names(found) == [name_at(0), name_at(10), name_at(30), name_at(40)]


async def test_nothing_before_the_first_segment_is_a_gap_too(minute: Camera) -> None:
    found = await minute.find(-20, 10)
    assert [seconds_of(gap) for gap in found.gaps] == [(-20, 0, "missing")]


async def test_what_lies_beyond_the_newest_footage_is_not_recorded_yet(minute: Camera) -> None:
    found = await minute.find(50, 90)
    assert [seconds_of(gap) for gap in found.gaps] == [(60, 90, "not_yet_recorded")]
    assert found.newest_at == at(60)


async def test_a_window_without_any_footage_is_refused_with_what_there_is_nearby(minute: Camera) -> None:
    with pytest.raises(MediaError) as refused:
        await minute.find(100, 130)
    assert refused.value.reason is Reason.NO_FOOTAGE
    assert refused.value.metadata["nearest_before"] == "2026-03-01T12:01:00.000000Z"
    assert "2026-03-01T12:01:00.000000Z" in refused.value.message


async def test_a_source_without_anything_says_so(camera: Camera) -> None:
    with pytest.raises(MediaError) as refused:
        await camera.find(0, 10)
    assert refused.value.reason is Reason.NO_FOOTAGE


async def test_a_directory_that_is_not_there_is_worth_another_try(camera: Camera) -> None:
    camera.root.rmdir()
    with pytest.raises(MediaError) as refused:
        await camera.find(0, 10)
    assert refused.value.reason is Reason.FOOTAGE_UNAVAILABLE
    assert str(camera.root) not in refused.value.message


async def test_a_window_in_the_future_is_waited_for_without_a_look(camera: Camera) -> None:
    camera.root.rmdir()
    found = await camera.find(0, 60, now=at(30))
    assert not found.complete
    assert found.again_at == at(60)
    assert found.waiting_until == at(180)


async def test_a_window_past_the_newest_segment_is_waited_for(minute: Camera) -> None:
    found = await minute.find(30, 65, now=at(70))
    assert not found.complete
    assert at(70) < found.again_at <= found.waiting_until == at(185)
    assert found.segments == ()


async def test_a_window_is_complete_as_soon_as_its_last_segment_is_there(minute: Camera, camera: Camera) -> None:
    for path in minute.root.iterdir():
        copy_of(path, camera.root / path.name)
    assert not (await camera.find(30, 65, now=at(82))).complete
    camera.film(60, 10)
    found = await camera.find(30, 65, now=at(82))
    assert found.complete
    assert found.gaps == ()


async def test_a_segment_that_was_just_written_is_not_taken_for_complete(minute: Camera, camera: Camera) -> None:
    for path in minute.root.iterdir():
        copy_of(path, camera.root / path.name)
    camera.film(60, 4)
    write_time(camera.root / name_at(60), 65)
    assert not (await camera.find(30, 63, now=at(70))).complete
    assert (await camera.find(30, 63, now=at(76))).complete


async def test_when_the_wait_is_over_a_growing_segment_is_taken_as_it_is(minute: Camera, camera: Camera) -> None:
    copy_of(minute.root / name_at(0), camera.root / name_at(0))
    camera.film(10, 4)
    write_time(camera.root / name_at(10), 40 + 119)
    found = await camera.find(5, 40, now=at(40 + 120))
    assert found.complete
    assert [seconds_of(gap) for gap in found.gaps] == [(14, 40, "not_yet_recorded")]


async def test_a_late_segment_inside_the_window_is_waited_for(minute: Camera, camera: Camera) -> None:
    for start in (0, 20, 30):
        copy_of(minute.root / name_at(start), camera.root / name_at(start))
    assert not (await camera.find(5, 35, now=at(60))).complete
    copy_of(minute.root / name_at(10), camera.root / name_at(10))
    assert (await camera.find(5, 35, now=at(62))).gaps == ()


@pytest.mark.parametrize("share", [0.3, 0.7])
async def test_a_truncated_fragmented_segment_gives_what_it_has(camera: Camera, share: float) -> None:
    path = camera.film(0, 10, format="mpegts", name=name_at(0, ".ts"))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    write_time(path, 10)
    camera.film(10, 10)
    found = await camera.find(0, 20)
    (gap,) = found.gaps
    assert gap.ends_at == at(10)
    assert at(10 * share - 2) < gap.starts_at < at(10 * share + 2)
    assert len(found.segments) == 2


@pytest.mark.parametrize("content", [b"", b"\x00" * 5000, b"not a video at all" * 100])
async def test_an_unreadable_segment_is_a_gap_and_its_digest_is_kept(
    minute: Camera, camera: Camera, content: bytes
) -> None:
    for start in (0, 20):
        copy_of(minute.root / name_at(start), camera.root / name_at(start))
    (camera.root / name_at(10)).write_bytes(content)
    found = await camera.find(5, 25)
    assert [seconds_of(gap) for gap in found.gaps] == [(10, 20, "unreadable")]
    (note,) = found.notes
    assert name_at(10) in note
    assert hashlib.sha256(content).hexdigest() in note


async def test_an_mp4_without_its_index_is_a_gap_and_not_an_error(minute: Camera, camera: Camera) -> None:
    whole = (minute.root / name_at(0)).read_bytes()
    (camera.root / name_at(0)).write_bytes(whole[: len(whole) // 2])
    copy_of(minute.root / name_at(10), camera.root / name_at(10))
    found = await camera.find(0, 20)
    assert [seconds_of(gap) for gap in found.gaps] == [(0, 10, "unreadable")]


async def test_only_unreadable_footage_is_no_footage(camera: Camera) -> None:
    (camera.root / name_at(0)).write_bytes(b"junk")
    with pytest.raises(MediaError, match="1 segments could not be used") as refused:
        await camera.find(0, 10)
    assert refused.value.reason is Reason.NO_FOOTAGE


async def test_names_in_whole_seconds_are_joined_and_the_bound_tells_it(camera: Camera) -> None:
    """Each segment begins 0.4 s after what its name says, as it does when names are cut to the second."""
    for start in (0, 10, 20):
        camera.film(start + 0.4, 10, name=name_at(start).replace(".000000", ""))
    found = await camera.find(2, 28, names=NamePattern("%Y%m%dT%H%M%S%z.*", UTC))
    assert found.gaps == ()
    for segment in found.segments:
        assert max(map(abs, clock_errors(segment))) <= segment.clock.error_us
        assert segment.clock.source is ClockSource.FILE_NAME
    assert [one.ends_at for one in found.segments[:-1]] == [one.starts_at for one in found.segments[1:]]


async def test_a_small_drift_between_names_and_lengths_makes_no_gaps(camera: Camera) -> None:
    for number in range(4):
        camera.film(number * 10.2, 10)
    found = await camera.find(5, 38)
    assert found.gaps == ()
    assert all(abs(error) <= one.clock.error_us for one in found.segments for error in clock_errors(one))


async def test_a_gap_wider_than_the_clocks_may_be_wrong_stays_a_gap(camera: Camera) -> None:
    camera.film(0, 10)
    camera.film(12, 10)
    assert [seconds_of(gap) for gap in (await camera.find(5, 20)).gaps] == [(10, 12, "missing")]


async def test_overlapping_segments_are_both_handed_on(camera: Camera) -> None:
    camera.film(0, 10)
    camera.film(6, 10)
    found = await camera.find(2, 15)
    assert [(one.starts_at, one.ends_at) for one in found.segments] == [(at(0), at(10)), (at(6), at(16))]
    assert found.gaps == ()


async def test_a_copy_of_a_segment_under_another_name_is_left_out_and_noted(minute: Camera, camera: Camera) -> None:
    copy_of(minute.root / name_at(0), camera.root / name_at(0))
    copy_of(minute.root / name_at(0), camera.root / name_at(0, ".copy.mp4"))
    found = await camera.find(0, 8)
    assert len(found.segments) == 1
    assert "same bytes" in found.notes[0]


async def test_a_segment_inside_another_is_left_out_and_noted(camera: Camera) -> None:
    camera.film(0, 10)
    camera.film(3, 2)
    found = await camera.find(0, 10)
    assert names(found) == [name_at(0)]
    assert name_at(3) in found.notes[0]


async def test_a_long_segment_begun_before_others_is_found(camera: Camera) -> None:
    camera.film(0, 40)
    camera.film(20, 2)
    found = await camera.find(30, 35)
    assert names(found) == [name_at(0)]


async def test_a_segment_without_a_keyframe_of_its_own_brings_the_one_before(camera: Camera) -> None:
    whole = camera.film(0, 20, gop_seconds=15, format="mpegts", name="whole.ts")
    with av.open(str(whole)) as source:
        video = source.streams.video[0]
        for start, chosen in ((0, range(100)), (10, range(100, 200))):
            source.seek(0)
            with av.open(str(camera.root / name_at(start, ".ts")), "w", format="mpegts") as target:
                stream = target.add_stream_from_template(video)
                for number, packet in enumerate(packet for packet in source.demux(video) if packet.size):
                    if number in chosen:
                        packet.stream = stream
                        target.mux(packet)
            write_time(camera.root / name_at(start, ".ts"), start + 10)
    whole.unlink()
    assert names(await camera.find(12, 14)) == [name_at(0, ".ts"), name_at(10, ".ts")]
    assert names(await camera.find(17, 18)) == [name_at(10, ".ts")]


async def test_without_telling_names_the_time_of_writing_places_a_file_with_a_wide_bound(camera: Camera) -> None:
    for start in (0, 10, 20):
        camera.film(start, 10, name=f"clip {start}.mp4")
    found = await camera.find(12, 18, names=None)
    assert names(found) == ["clip 10.mp4"]
    (segment,) = found.segments
    assert segment.clock.source is ClockSource.MODIFIED_AT
    assert segment.clock.error_us >= 300 * SECOND
    assert max(map(abs, clock_errors(segment))) <= 1000


def with_creation_time(path: Path, seconds: float) -> None:
    """Write the file again with a creation time in its header."""
    written = path.stat().st_mtime_ns
    made = path.with_name("made.mp4")
    with av.open(str(path)) as source, av.open(str(made), "w") as target:
        target.metadata["creation_time"] = f"2026-03-01T12:{int(seconds) // 60:02}:{int(seconds) % 60:02}Z"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    made.replace(path)
    os.utime(path, ns=(written, written))


@pytest.mark.parametrize("created", [30, 40])
async def test_a_creation_time_is_known_for_the_beginning_or_the_end_by_when_the_file_was_written(
    camera: Camera, created: int
) -> None:
    path = camera.film(30, 10, name="a.mp4")
    with_creation_time(path, created)
    (segment,) = (await camera.find(32, 38, names=None)).segments
    assert segment.clock.source is ClockSource.FILE_INFO
    assert segment.clock.error_us < 2 * SECOND
    assert max(map(abs, clock_errors(segment))) <= 1000


async def test_a_creation_time_of_a_copied_file_has_its_length_in_the_bound(camera: Camera) -> None:
    path = camera.film(30, 10, name="a.mp4")
    with_creation_time(path, 40)
    write_time(path, 600)
    (segment,) = (await camera.find(42, 48, names=None)).segments
    assert segment.clock.source is ClockSource.FILE_INFO
    assert max(map(abs, clock_errors(segment))) <= segment.clock.error_us


async def test_a_creation_time_after_the_file_was_written_is_not_believed(camera: Camera) -> None:
    path = camera.film(30, 10, name="a.mp4")
    with_creation_time(path, 3000)
    (segment,) = (await camera.find(32, 38, names=None)).segments
    assert segment.clock.source is ClockSource.MODIFIED_AT


async def test_local_times_in_names_are_read_in_their_zone(camera: Camera) -> None:
    camera.film(0, 10, name="2026-03-01_13-00-00.mp4")
    pattern = NamePattern("%Y-%m-%d_%H-%M-%S.*", ZoneInfo("Europe/Berlin"))
    (segment,) = (await camera.find(2, 8, names=pattern)).segments
    assert max(map(abs, clock_errors(segment))) <= 1000


async def test_only_files_near_the_window_are_opened(minute: Camera, camera: Camera) -> None:
    copy_of(minute.root / name_at(0), camera.root / name_at(0))
    unreadable = [camera.root / name_at(start) for start in (-4000, -50, 30, 7000)]
    for path in unreadable:
        path.write_bytes(b"junk")
    found = await camera.find(2, 8)
    assert not [note for note in found.notes if name_at(-4000) in note or name_at(7000) in note or name_at(30) in note]


async def test_the_caller_hears_of_the_search_while_it_lasts(minute: Camera, tmp_path: Path) -> None:
    ticks: list[int] = []
    window = Window(asked_from=at(5), asked_to=at(15), event_at=at(10))
    await Footage().find(
        minute.source(), window, directory=tmp_path, now=LONG_AFTER, progress=lambda: ticks.append(NOON)
    )
    assert ticks
