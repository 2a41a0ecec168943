"""Clock maps, windows, and what crosses the pipe to the child."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.video.values import (
    DEFAULT_LIMITS,
    ClockMap,
    ClockSource,
    Gap,
    GapReason,
    Limits,
    Progress,
    Segment,
    Window,
)
from media.video.wire import from_json, to_json

STEPS = st.lists(st.tuples(st.integers(1, 10**8), st.integers(1, 10**8)), max_size=6)


def clock(*anchors: tuple[int, int]) -> ClockMap:
    return ClockMap(anchors=anchors, error_us=0, source=ClockSource.RTCP)


@given(STEPS, st.lists(st.integers(-(10**9), 10**9), min_size=2, max_size=20))
def test_time_never_runs_back_on_a_clock_map(steps: list[tuple[int, int]], positions: list[int]) -> None:
    anchors = [(0, 10**15)]
    for media, utc in steps:
        anchors.append((anchors[-1][0] + media, anchors[-1][1] + utc))
    mapped = clock(*anchors)
    times = [mapped.utc_of(position) for position in sorted(positions)]
    assert times == sorted(times)
    assert [mapped.utc_of(media) for media, _ in anchors] == [utc for _, utc in anchors]
    assert [mapped.media_of(utc) for _, utc in anchors] == [media for media, _ in anchors]


@given(st.integers(-(10**12), 10**12), st.integers(0, 10**16))
def test_a_clock_with_one_anchor_is_exact_both_ways(position: int, utc: int) -> None:
    mapped = clock((0, utc))
    assert mapped.media_of(mapped.utc_of(position)) == position


@pytest.mark.parametrize("anchors", [(), ((0, 5), (0, 6)), ((0, 5), (1, 5)), ((1, 5), (0, 6))])
def test_a_clock_on_which_time_stops_is_refused(anchors: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="anchor"):
        clock(*anchors)


@pytest.mark.parametrize(("starts", "ends", "event"), [(2, 2, 2), (3, 2, 2), (1, 5, 6), (1, 5, 0)])
def test_a_window_is_not_empty_and_holds_its_event(starts: int, ends: int, event: int) -> None:
    with pytest.raises(ValueError, match=r"window"):
        Window(asked_from=starts, asked_to=ends, event_at=event)


def test_values_cross_the_pipe_unchanged() -> None:
    gap = Gap(starts_at=1, ends_at=2, why=GapReason.MISSING)
    segment = Segment(
        path=Path("/a/b"), clock=clock((0, 1), (5, 9)), starts_at=1, ends_at=9, source_name="ü", sha256=None
    )
    assert from_json(Gap, to_json(gap)) == gap
    assert from_json(Segment, to_json(segment)) == segment
    assert from_json(Limits, to_json(DEFAULT_LIMITS)) == DEFAULT_LIMITS
    assert from_json(dict[str, str], {"a": "b"}) == {"a": "b"}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Gap, {"starts_at": 1, "ends_at": 2}),
        (Gap, {"starts_at": 1, "ends_at": 2, "why": "missing", "more": 1}),
        (Gap, {"starts_at": "1", "ends_at": 2, "why": "missing"}),
        (Gap, {"starts_at": True, "ends_at": 2, "why": "missing"}),
        (Gap, {"starts_at": 1, "ends_at": 2, "why": "because"}),
        (Gap, [1, 2, "missing"]),
        (Progress, {"step": "clip", "done": "half"}),
        (ClockMap, {"anchors": [[0]], "error_us": 0, "source": "rtcp"}),
        (ClockMap, {"anchors": [], "error_us": 0, "source": "rtcp"}),
        (dict[str, str], {"a": 1}),
    ],
)
def test_what_no_child_of_ours_would_say_is_refused(kind: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_json(kind, value)
