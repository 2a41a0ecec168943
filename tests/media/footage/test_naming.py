import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.clips.naming import MAX_NAME_CHARACTERS, NamePattern, parse_zone

PARIS = parse_zone("Europe/Paris")


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def times(pattern: str, name: str, zone: str | None = None) -> tuple[int, ...] | None:
    named = NamePattern(pattern, parse_zone(zone) if zone else None).match(name)
    return None if named is None else named.candidates


@pytest.mark.parametrize(
    ("pattern", "name", "zone", "expected"),
    [
        ("%Y-%m-%d_%H-%M-%S.mp4", "2026-07-01_12-30-05.mp4", "UTC", "2026-07-01T12:30:05Z"),
        ("%Y/%m/%d/%H%M%S.ts", "2026/07/01/123005.ts", "Europe/Paris", "2026-07-01T10:30:05Z"),
        ("cam*_%Y%m%dT%H%M%S%z.mkv", "cam 7_20260701T123005+0530.mkv", None, "2026-07-01T07:00:05Z"),
        ("%Y%m%d%H%M%S%z", "20260701123005Z", None, "2026-07-01T12:30:05Z"),
        ("%Y-%j-%H%M.avi", "2026-182-1230.avi", "+02:00", "2026-07-01T10:30:00Z"),
        ("%s.mp4", "1782909005.mp4", None, "2026-07-01T12:30:05Z"),
        ("%Y%m%d/%Y%m%d%H.ts", "20260701/2026070112.ts", "UTC", "2026-07-01T12:00:00Z"),
        ("100%%-%Y%m%d%H", "100%-2026070112", "UTC", "2026-07-01T12:00:00Z"),
    ],
)
def test_a_pattern_reads_the_time_of_a_name(pattern: str, name: str, zone: str | None, expected: str) -> None:
    assert times(pattern, name, zone) == (us(expected),)


def test_fractions_of_a_second_are_read_to_the_microsecond() -> None:
    assert times("%s%f.mp4", "1782909005123.mp4") == (1782909005_123000,)
    assert times("%Y%m%dT%H%M%S.%f%z.m*", "20260701T123005.000001Z.mp4") == (us("2026-07-01T12:30:05Z") + 1,)


@pytest.mark.parametrize(
    "name",
    [
        "2026-02-30_12-00-00.mp4",
        "2026-13-01_12-00-00.mp4",
        "2026-01-01_24-00-00.mp4",
        "2026-01-01_12-60-00.mp4",
        "0000-01-01_12-00-00.mp4",
        "9999-12-31_23-59-59.mp4",
        "1970-01-01_00-00-00.mp4",
        "2026-01-01_12-00-00.mp4.part",
        "x2026-01-01_12-00-00.mp4",
        "2026-01-01_12-00-00.mp4\n",
        "٢٠٢٦-01-01_12-00-00.mp4",
        "",
    ],
)
def test_a_name_that_is_no_time_or_no_plausible_one_does_not_match(name: str) -> None:
    assert times("%Y-%m-%d_%H-%M-%S.mp4", name, "UTC") is None


def test_a_date_written_twice_must_be_the_same_twice() -> None:
    assert times("%Y%m%d/%Y%m%d%H.ts", "20260701/2026070212.ts", "UTC") is None


def test_a_wildcard_does_not_reach_into_another_folder() -> None:
    assert times("*-%Y%m%d%H", "a/b-2026070112", "UTC") is None


def test_the_hour_that_autumn_repeats_has_two_times_an_hour_apart() -> None:
    named = NamePattern("%Y%m%d%H%M%S", PARIS).match("20261025023000")
    assert named is not None
    assert named.candidates == (us("2026-10-25T00:30:00Z"), us("2026-10-25T01:30:00Z"))


def test_the_time_of_writing_tells_the_two_apart() -> None:
    named = NamePattern("%Y%m%d%H%M%S", PARIS).match("20261025023000")
    assert named is not None
    minute = 60_000_000
    assert named.settle(minute, us("2026-10-25T00:31:02Z")) == (us("2026-10-25T00:30:00Z"), 0)
    assert named.settle(minute, us("2026-10-25T01:31:02Z")) == (us("2026-10-25T01:30:00Z"), 0)


def test_a_copied_file_of_the_repeated_hour_has_the_hour_in_its_error_bound() -> None:
    named = NamePattern("%Y%m%d%H%M%S", PARIS).match("20261025023000")
    assert named is not None
    assert named.settle(60_000_000, us("2026-12-01T00:00:00Z")) == (us("2026-10-25T00:30:00Z"), 3600_000_000)


def test_an_hour_that_spring_skips_is_as_doubtful() -> None:
    named = NamePattern("%Y%m%d%H%M%S", PARIS).match("20260329023000")
    assert named is not None
    assert len(named.candidates) == 2
    assert named.settle(60_000_000, us("2026-12-01T00:00:00Z"))[1] == 3600_000_000


@pytest.mark.parametrize(
    ("pattern", "resolution_us"),
    [("%Y%m%d%H", 3600_000_000), ("%Y%m%d%H%M", 60_000_000), ("%Y%m%d%H%M%S", 1_000_000), ("%s", 1_000_000)],
)
def test_what_a_name_leaves_out_is_its_resolution(pattern: str, resolution_us: int) -> None:
    at = datetime(2026, 7, 1, 12, tzinfo=UTC)
    name = str(int(at.timestamp())) if pattern == "%s" else at.strftime(pattern)
    named = NamePattern(pattern, UTC).match(name)
    assert named is not None
    assert named.resolution_us == resolution_us


@pytest.mark.parametrize(
    ("pattern", "zone", "told"),
    [
        ("", "UTC", "characters"),
        ("clip.mp4", "UTC", "date and an hour"),
        ("%Y%m%d.mp4", "UTC", "date and an hour"),
        ("%Y%m%d%H%M%S.mp4", None, "time_zone"),
        ("%Y%m%d%H%S", "UTC", "seconds without minutes"),
        ("%Y%m%d%H%f", "UTC", "fractions without seconds"),
        ("%Y%m%j%H", "UTC", "day of the year"),
        ("%Y%m%d%j%H", "UTC", "day of the year"),
        ("%s%H", "UTC", "one of them"),
        ("%Y%m%d%I", "UTC", "%I is not known"),
        ("%Y%m%d%H%", "UTC", "% is not known"),
        ("*" * 3 + "%Y%m%d%H", "UTC", "wildcards"),
        ("x" * 1000 + "%Y%m%d%H", "UTC", "characters"),
    ],
)
def test_a_pattern_that_cannot_tell_the_time_is_refused(pattern: str, zone: str | None, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        NamePattern(pattern, parse_zone(zone) if zone else None)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "+25:00", "+1:00", "/etc/localtime", "\0"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match=r"time zone|offset"):
        parse_zone(zone)


def test_folders_are_searched_only_for_the_days_and_hours_in_question() -> None:
    pattern = NamePattern("cam/%Y/%m/%d/%H%M%S.mp4", UTC)
    first, last = us("2026-06-30T23:30:00Z"), us("2026-07-01T00:10:00Z")
    hours = ("cam/2026/06/30/22", "cam/2026/06/30/23", "cam/2026/07/01/00", "cam/2026/07/01/01")
    assert pattern.prefixes(first, last) == hours


def test_the_days_in_question_are_those_of_the_names_zone() -> None:
    pattern = NamePattern("%Y-%m-%d/*-%H-%M-%S.mp4", parse_zone("+10:00"))
    assert pattern.prefixes(us("2026-06-30T15:00:00Z"), us("2026-06-30T16:00:00Z")) == ("2026-07-01/",)


def test_a_pattern_without_folders_is_searched_whole() -> None:
    assert NamePattern("*-%Y%m%d%H", UTC).prefixes(us("2026-07-01T00:00:00Z"), us("2026-07-01T00:10:00Z")) == ("",)
    assert NamePattern("%s.mp4", UTC).prefixes(us("2026-07-01T00:00:00Z"), us("2026-07-01T00:10:00Z")) == ("",)


@given(at=st.datetimes(min_value=datetime(1981, 1, 1), max_value=datetime(2099, 1, 1)))  # noqa: DTZ001 - UTC is added
def test_every_time_is_found_under_the_prefixes_of_its_neighbourhood(at: datetime) -> None:
    at = at.replace(tzinfo=UTC, microsecond=0)
    pattern = NamePattern("%Y/%m/%d/%H/%M%S.mp4", PARIS)
    name = at.astimezone(PARIS).strftime("%Y/%m/%d/%H/%M%S.mp4")
    named = pattern.match(name)
    assert named is not None
    exact = int(at.timestamp()) * 1_000_000
    assert exact in named.candidates
    assert name.startswith(pattern.prefixes(exact, exact))


@given(name=st.text(max_size=MAX_NAME_CHARACTERS + 10))
def test_no_name_makes_a_pattern_fail(name: str) -> None:
    for pattern in ("%Y-%m-%d_%H-%M-%S.mp4", "*%s*", "*%Y%j%H*%z", "*.%Y*%m%d%H"):
        NamePattern(pattern, PARIS).match(name)


def test_a_long_hostile_name_is_read_in_no_time() -> None:
    pattern = NamePattern("*0*%s", UTC)
    began = time.thread_time()
    assert pattern.match("0" * (MAX_NAME_CHARACTERS - 1) + "x") is None
    assert pattern.match("0" * 250 + "x") is None
    assert time.thread_time() - began < 1
