import struct

from hypothesis import given
from hypothesis import strategies as st

from media.video.recorder_clock import ARRIVAL_ERROR_US, CameraClock, reference_time
from media.video.values import ClockSource

SECOND = 1_000_000
NOON = 1_772_366_400 * SECOND
FRAME = 40_000


def watch(clock: CameraClock, seconds: float, *, offset: int | None, delay: int = 80_000, start: float = 0) -> None:
    """Pictures for so long; the camera's clock is `offset` from the true time, None: it says nothing."""
    for number in range(int(start * SECOND) // FRAME, int((start + seconds) * SECOND) // FRAME):
        media = number * FRAME
        told = None if offset is None else NOON + media + offset
        clock.observe(media, arrived_at=NOON + media + delay, camera_at=told)


def test_a_camera_that_tells_the_time_is_believed_within_the_bound_of_its_arrival() -> None:
    clock = CameraClock(opening_us=0)
    watch(clock, 10, offset=3000)
    reading = clock.read(0, epoch=0)
    assert reading is not None
    assert reading.clock.source is ClockSource.RTCP
    assert reading.clock.utc_of(7 * SECOND) == NOON + 7 * SECOND + 3000
    assert reading.clock.error_us >= 100_000
    assert reading.camera_offset_us == 3000 - 80_000


def test_a_camera_that_does_not_tell_the_time_is_placed_by_its_quickest_packet() -> None:
    clock = CameraClock(opening_us=0)
    for media, delay in ((0, 2_500_000), (SECOND, 1_500_000), (2 * SECOND, 90_000), (3 * SECOND, 400_000)):
        clock.observe(media, arrived_at=NOON + media + delay, camera_at=None)
    reading = clock.read(0, epoch=0)
    assert reading is not None
    assert reading.clock.source is ClockSource.ARRIVAL
    assert reading.clock.utc_of(0) == NOON + 90_000
    assert reading.clock.error_us == ARRIVAL_ERROR_US
    assert reading.camera_offset_us is None


def test_a_camera_whose_clock_is_wrong_is_not_believed_and_its_offset_noted() -> None:
    clock = CameraClock(opening_us=0)
    watch(clock, 10, offset=-3600 * SECOND)
    reading = clock.read(0, epoch=0)
    assert reading is not None
    assert reading.clock.source is ClockSource.ARRIVAL
    assert reading.camera_offset_us == -3600 * SECOND - 80_000


def test_a_clock_that_is_set_during_a_segment_keeps_what_it_said_before() -> None:
    clock = CameraClock(opening_us=0)
    watch(clock, 5, offset=0)
    watch(clock, 5, offset=1_500_000, start=5)
    reading = clock.read(0, epoch=0)
    assert reading is not None
    assert reading.clock.source is ClockSource.RTCP
    assert reading.clock.utc_of(9 * SECOND) == NOON + 9 * SECOND


def test_the_next_segment_begins_with_the_clock_as_it_was_set() -> None:
    clock = CameraClock(opening_us=0)
    watch(clock, 5, offset=0)
    watch(clock, 5, offset=1_500_000, start=5)
    clock.begin_segment()
    watch(clock, 5, offset=1_500_000, start=10)
    reading = clock.read(10 * SECOND, epoch=0)
    assert reading is not None
    assert reading.clock.source is ClockSource.RTCP
    assert reading.clock.utc_of(0) == NOON + 10 * SECOND + 1_500_000


def test_a_segment_of_one_picture_knows_what_the_one_before_knew() -> None:
    clock = CameraClock(opening_us=0)
    watch(clock, 5, offset=7000)
    clock.begin_segment()
    clock.observe(5 * SECOND, arrived_at=NOON + 7 * SECOND, camera_at=NOON + 5 * SECOND + 7000)
    reading = clock.read(5 * SECOND, epoch=0)
    assert reading is not None
    assert reading.clock.source is ClockSource.RTCP
    assert reading.clock.utc_of(0) == NOON + 5 * SECOND + 7000


def test_packets_that_waited_while_the_stream_was_opened_widen_the_bound_until_a_later_one_has_come() -> None:
    opening = 3 * SECOND
    clock = CameraClock(opening_us=opening)
    for number in range(50):  # two seconds of pictures, read all at once after the opening
        clock.observe(number * FRAME, arrived_at=NOON + opening, camera_at=None)
    early = clock.read(0, epoch=0)
    assert early is not None
    assert early.clock.utc_of(0) - NOON <= early.clock.error_us
    watch(clock, 8, offset=None, start=2)
    late = clock.read(0, epoch=0)
    assert late is not None
    assert late.clock.error_us == ARRIVAL_ERROR_US
    assert late.clock.utc_of(0) == NOON + 80_000


def test_a_camera_is_believed_though_its_first_packets_waited_longer_than_the_bound() -> None:
    clock = CameraClock(opening_us=3 * SECOND)
    for number in range(10):
        clock.observe(number * FRAME, arrived_at=NOON + 3 * SECOND, camera_at=NOON + number * FRAME)
    reading = clock.read(0, epoch=0)
    assert reading is not None
    assert reading.clock.source is ClockSource.RTCP
    assert reading.clock.utc_of(0) == NOON


def test_a_reader_that_was_held_up_for_a_segment_remembers_the_minute_before() -> None:
    clock = CameraClock(opening_us=0)
    watch(clock, 20, offset=None)
    clock.begin_segment()
    watch(clock, 5, offset=None, delay=30 * SECOND, start=20)
    reading = clock.read(20 * SECOND, epoch=0)
    assert reading is not None
    assert reading.clock.utc_of(0) == NOON + 20 * SECOND + 80_000


def test_a_wall_clock_that_is_set_moves_what_is_recorded_then() -> None:
    clock = CameraClock(opening_us=0)
    watch(clock, 5, offset=None)
    before, after = clock.read(0, epoch=0), clock.read(0, epoch=3600 * SECOND)
    assert before is not None
    assert after is not None
    assert after.clock.utc_of(0) - before.clock.utc_of(0) == 3600 * SECOND


def test_a_single_stamp_that_nothing_confirms_is_not_believed() -> None:
    clock = CameraClock(opening_us=0)
    clock.observe(0, arrived_at=NOON, camera_at=NOON + 100_000)
    clock.observe(FRAME, arrived_at=NOON + FRAME, camera_at=NOON + FRAME)
    clock.observe(2 * FRAME, arrived_at=NOON + 2 * FRAME, camera_at=NOON + 2 * FRAME)
    reading = clock.read(0, epoch=0)
    assert reading is not None
    assert reading.clock.utc_of(0) == NOON


def test_a_clock_that_is_steered_is_followed() -> None:
    clock = CameraClock(opening_us=0)
    for number in range(500):
        media = number * FRAME
        clock.observe(media, arrived_at=NOON + media, camera_at=NOON + media + number * 200)
    reading = clock.read(0, epoch=0)
    assert reading is not None
    assert len(reading.clock.anchors) >= 3
    assert abs(reading.clock.utc_of(400 * FRAME) - (NOON + 400 * FRAME + 400 * 200)) < 20_000


def test_a_clock_that_comes_right_only_slowly_is_not_believed_for_what_it_said_before() -> None:
    clock = CameraClock(opening_us=0)
    for number in range(1000):
        media = number * FRAME
        clock.observe(media, arrived_at=NOON + media, camera_at=NOON + media - (999 - number) * 15_000)
    reading = clock.read(0, epoch=0)
    assert reading is not None
    assert reading.clock.source is ClockSource.ARRIVAL


@given(
    stamps=st.lists(
        st.tuples(st.integers(0, 10**12), st.integers(0, 4 * 10**15), st.none() | st.integers(-(2**63), 2**63 - 1)),
        min_size=1,
        max_size=200,
    )
)
def test_no_stamps_of_a_camera_make_a_clock_that_cannot_be_read(stamps: list[tuple[int, int, int | None]]) -> None:
    clock = CameraClock(opening_us=0)
    for number, (media, arrived_at, camera_at) in enumerate(stamps):
        if number % 7 == 0:
            clock.begin_segment()
        clock.observe(media, arrived_at=arrived_at, camera_at=camera_at)
    assert clock.read(0, epoch=0) is not None


@given(data=st.binary(max_size=40))
def test_side_data_of_any_size_is_read_or_left(data: bytes) -> None:
    assert (reference_time(data) is None) == (len(data) < 8)


def test_the_wall_clock_of_side_data_is_its_first_number() -> None:
    assert reference_time(struct.pack("=qi4x", NOON, 24)) == NOON
