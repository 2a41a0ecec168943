import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.video.recorder_sidecar import (
    MAX_BYTES,
    Lost,
    SegmentState,
    Sidecar,
    SidecarError,
    parse_sidecar,
    write_sidecar,
)
from media.video.values import ClockMap, ClockSource

NOON = 1_772_366_400_000_000

SIDECAR = Sidecar(
    state=SegmentState.FINISHED,
    clock=ClockMap(anchors=((0, NOON), (5_000_000, NOON + 5_000_123)), error_us=100_000, source=ClockSource.RTCP),
    camera_offset_us=-98_000,
    frames=100,
    size=12345,
    sha256="ab" * 32,
    lost_before=Lost(since=NOON - 7, why="it ended the stream"),
)


def changed(*path: str | int, to: Any) -> bytes:
    content: Any = json.loads(SIDECAR.as_json())
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return json.dumps(content).encode()


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_sidecar(tmp_path / "a.json", SIDECAR, durably=True)
    assert parse_sidecar((tmp_path / "a.json").read_bytes()) == SIDECAR
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b" " * (MAX_BYTES + 1),
        changed("format", to="indelible-recording/2"),
        changed("state", to="gone"),
        changed("clock", to=None),
        changed("clock", "source", to="file_name"),
        changed("clock", "error_us", to=-1),
        changed("clock", "error_us", to=1.5),
        changed("clock", "anchors", to=[]),
        changed("clock", "anchors", to=[{"media_us": 0, "utc": "2026-03-01T12:00:00Z"}] * 2),
        changed("clock", "anchors", 1, "utc", to="2026-03-01T11:00:00Z"),
        changed("clock", "anchors", 0, "utc", to="2026-03-01T12:00:00"),
        changed("clock", "anchors", 0, "utc", to=5),
        changed("clock", "anchors", 0, "media_us", to=True),
        changed("clock", "anchors", 0, "media_us", to=10**30),
        changed("frames", to=-1),
        changed("size", to="5"),
        changed("sha256", to="AB" * 32),
        changed("sha256", to="ab"),
        changed("lost_before", to="yesterday"),
        changed("lost_before", "why", to="\x1b[31m"),
        changed("camera_offset_us", to=float("nan")),
    ],
)
def test_what_the_recorder_does_not_write_is_refused(data: bytes) -> None:
    with pytest.raises(SidecarError):
        parse_sidecar(data)


@given(
    data=st.binary(max_size=300)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps({"format": "indelible-recording/1", "clock": value}).encode()
    )
)
def test_no_bytes_make_reading_fail_otherwise(data: bytes) -> None:
    with contextlib.suppress(SidecarError):
        parse_sidecar(data)


@given(place=st.integers(0, len(SIDECAR.as_json()) - 1), value=st.integers(0, 255))
def test_no_changed_byte_makes_reading_fail_otherwise(place: int, value: int) -> None:
    data = bytearray(SIDECAR.as_json())
    data[place] = value
    with contextlib.suppress(SidecarError):
        parse_sidecar(bytes(data))
