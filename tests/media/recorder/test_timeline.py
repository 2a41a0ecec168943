from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from media.video.recorder_timeline import MAX_HELD, Beginning, Timeline

RATE = 90_000
FRAME = 3600
FRAME_US = 40_000


def timeline() -> Timeline:
    return Timeline(Fraction(1, RATE), frame_us=FRAME_US)


def placed(*packets: tuple[int | None, int | None, int]) -> list[tuple[int, int]]:
    line = timeline()
    return [(times.pts, times.dts) for times in (line.place(*packet) for packet in packets)]


def test_orderly_times_stay_as_they_are() -> None:
    packets = [(n * FRAME + 2 * FRAME, n * FRAME, n * FRAME_US) for n in range(5)]
    assert placed(*packets) == [(pts, dts) for pts, dts, _ in packets]


def test_a_first_picture_without_times_stands_at_the_beginning() -> None:
    assert placed((None, None, 0), (FRAME, FRAME, FRAME_US)) == [(0, 0), (FRAME, FRAME)]


def test_pictures_sent_in_a_burst_after_a_stall_keep_their_times() -> None:
    packets = [(n * FRAME, n * FRAME, 10_000_000) for n in range(100)]
    assert placed(*packets) == [(n * FRAME, n * FRAME) for n in range(100)]


def test_a_pause_that_really_lasted_stays_a_pause() -> None:
    assert placed((0, 0, 0), (20 * RATE, 20 * RATE, 20_000_000)) == [(0, 0), (20 * RATE, 20 * RATE)]


def test_a_leap_of_the_cameras_counter_is_closed_up() -> None:
    assert placed((0, 0, 0), (10**9, 10**9, FRAME_US)) == [(0, 0), (FRAME, FRAME)]


def test_a_counter_that_starts_again_goes_on() -> None:
    packets = [(10**9, 10**9, 0), (0, 0, FRAME_US), (FRAME, FRAME, 2 * FRAME_US)]
    assert placed(*packets) == [(10**9 + n * FRAME, 10**9 + n * FRAME) for n in range(3)]


def test_the_same_time_twice_is_told_apart() -> None:
    assert placed((0, 0, 0), (0, 0, 0)) == [(0, 0), (1, 1)]


@dataclass
class Packet:
    pts: int | None
    dts: int | None


def told(packets: list[Packet]) -> list[tuple[int | None, int | None]]:
    beginning: Beginning[Packet] = Beginning(timeline())
    return [(one.pts, one.dts) for packet in packets for one in beginning.add(packet)]


def test_first_pictures_get_the_decoding_times_that_libav_did_not_know_yet() -> None:
    """As libav gives them for pictures shown in another order than sent."""
    packets = [Packet(None, None), Packet(3 * FRAME, None), Packet(FRAME, None), Packet(2 * FRAME, FRAME)]
    assert told(packets) == [(0, -2 * FRAME), (3 * FRAME, -FRAME), (FRAME, 0), (2 * FRAME, FRAME)]


def test_what_libav_knows_from_the_first_picture_on_is_not_held_back() -> None:
    assert told([Packet(0, 0), Packet(FRAME, FRAME)]) == [(0, 0), (FRAME, FRAME)]


def test_a_stream_that_never_has_decoding_times_is_not_held_back_for_ever() -> None:
    packets = [Packet(n * FRAME, None) for n in range(MAX_HELD + 3)]
    assert [pts for pts, _ in told(packets)] == [n * FRAME for n in range(MAX_HELD + 3)]


@given(units=st.integers(-(2**40), 2**40))
def test_the_way_to_microseconds_and_back_never_leads_past_a_packet(units: int) -> None:
    line = timeline()
    assert 0 <= units - line.units(line.microseconds(units)) <= 1


@given(
    packets=st.lists(
        st.tuples(
            st.none() | st.integers(-(2**62), 2**62), st.none() | st.integers(-(2**62), 2**62), st.integers(0, 10**15)
        ),
        max_size=100,
    )
)
def test_whatever_comes_times_rise_and_nothing_is_shown_before_it_is_decoded(
    packets: list[tuple[int | None, int | None, int]],
) -> None:
    done = placed(*packets)
    assert all(pts >= dts for pts, dts in done)
    assert all(later > earlier for (_, earlier), (_, later) in pairwise(done))
