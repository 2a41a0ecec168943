import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.clips.window import EARLIEST_EVENT, LATEST_EVENT, MAX_WINDOW_SECONDS, WindowLengths, choose_window
from media.errors import MediaError, Reason

NOON = 1_772_366_400_000_000
SECOND = 1_000_000


def test_a_clip_shows_30_seconds_before_its_event_to_60_seconds_after_unless_told_otherwise() -> None:
    window = choose_window(NOON)
    assert (window.asked_from, window.asked_to, window.event_at) == (NOON - 30 * SECOND, NOON + 60 * SECOND, NOON)


def test_the_most_special_level_that_says_a_length_decides_it() -> None:
    request = WindowLengths(before_seconds=5)
    camera = WindowLengths(before_seconds=10, after_seconds=20)
    organisation = WindowLengths(before_seconds=100, after_seconds=200)
    window = choose_window(NOON, request, camera, organisation)
    assert (window.asked_from, window.asked_to) == (NOON - 5 * SECOND, NOON + 20 * SECOND)


def test_nothing_at_all_before_the_event_is_a_length_too() -> None:
    assert choose_window(NOON, WindowLengths(before_seconds=0)).asked_from == NOON


@pytest.mark.parametrize(
    ("before", "after"), [(-1, 60), (30, -1), (0, 0), (3600, 1), (1801, 1800), (10**12, 0), (0, MAX_WINDOW_SECONDS + 1)]
)
def test_a_window_that_is_empty_or_too_long_is_refused(before: int, after: int) -> None:
    with pytest.raises(MediaError) as refused:
        choose_window(NOON, WindowLengths(before_seconds=before, after_seconds=after))
    assert refused.value.reason is Reason.INVALID_ARGUMENT


@pytest.mark.parametrize("event_at", [0, -(10**18), EARLIEST_EVENT - 1, LATEST_EVENT + 1, 2**63])
def test_an_event_at_an_impossible_time_is_refused(event_at: int) -> None:
    with pytest.raises(MediaError) as refused:
        choose_window(event_at)
    assert refused.value.reason is Reason.INVALID_ARGUMENT


@given(before=st.integers(0, 1800), after=st.integers(1, 1800), event_at=st.integers(EARLIEST_EVENT, LATEST_EVENT))
def test_every_permitted_window_lies_around_its_event(before: int, after: int, event_at: int) -> None:
    window = choose_window(event_at, WindowLengths(before_seconds=before, after_seconds=after))
    assert window.asked_to - window.asked_from == (before + after) * SECOND
    assert window.event_at - window.asked_from == before * SECOND
