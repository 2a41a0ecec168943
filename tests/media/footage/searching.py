"""Footage to search, filmed once, and searches of it at a time of the test's choosing."""

import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av

from media.clips.footage import Footage, Found
from media.clips.naming import NamePattern
from media.clips.sources import Source, SourceKind
from media.clips.window import WindowLengths
from media.video.values import Gap, Segment, Window
from sandbox.camera import Recording, read_clock, write_segment

SECOND = 1_000_000
NOON = 1_772_366_400 * SECOND  # 2026-03-01T12:00:00Z
LONG_AFTER = NOON + 24 * 3600 * SECOND
NAMES = "%Y%m%dT%H%M%S.%f%z.*"


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A directory of segments, and searches in it. Times are seconds after noon."""

    root: Path

    def film(self, starts: float, seconds: float, *, name: str | None = None, **kind: Any) -> Path:
        """Film one segment, written when it ended."""
        path = self.root / (name or name_at(starts))
        recording = Recording(starts_at=at(starts), seconds=seconds, width=192, height=108)
        write_segment(path, replace(recording, **kind))
        write_time(path, starts + seconds)
        return path

    def source(self, **changes: Any) -> Source:
        """The directory as a source."""
        source = Source(
            organisation_id="acme",
            source_id="gate",
            camera_id="gate",
            kind=SourceKind.DIRECTORY,
            location=self.root,
            names=NamePattern(NAMES, UTC),
            clock_error_us=SECOND // 2,
            longest_segment_us=3600 * SECOND,
            settle_us=10 * SECOND,
            wait_us=120 * SECOND,
            lengths=WindowLengths(),
        )
        return replace(source, **changes)

    async def find(self, first: float, last: float, *, now: int = LONG_AFTER, **changes: Any) -> Found:
        """Search once, into a directory that is deleted with the test's."""
        window = Window(asked_from=at(first), asked_to=at(last), event_at=at((first + last) / 2))
        target = Path(tempfile.mkdtemp(dir=self.root.parent))
        return await Footage().find(self.source(**changes), window, directory=target, now=now)


def at(seconds: float) -> int:
    """The time so many seconds after noon."""
    return NOON + round(seconds * SECOND)


def name_at(seconds: float, suffix: str = ".mp4") -> str:
    """A segment's name that begins then."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at(seconds))
    return f"{moment:%Y%m%dT%H%M%S.%f}Z{suffix}"


def write_time(path: Path, seconds: float) -> None:
    """Say that the file was last written then."""
    os.utime(path, ns=(at(seconds) * 1000, at(seconds) * 1000))


def names(found: Found) -> list[str]:
    """What the segments found are called in the source."""
    return [segment.source_name for segment in found.segments]


def seconds_of(gap: Gap) -> tuple[float, float, str]:
    """A gap in seconds after noon."""
    return ((gap.starts_at - NOON) / SECOND, (gap.ends_at - NOON) / SECOND, str(gap.why))


def clock_errors(segment: Segment) -> list[int]:
    """For every picture, by how much its placed time differs from the one its camera drew on it (µs)."""
    with av.open(str(segment.path)) as container:
        video = container.streams.video[0]
        frames = list(container.decode(video))
        base = video.time_base
    assert base is not None
    first = min(frame.pts or 0 for frame in frames)
    return [
        segment.clock.utc_of(int(((frame.pts or 0) - first) * base * SECOND)) - read_clock(frame) for frame in frames
    ]


def copy_of(source: Path, target: Path) -> Path:
    """A copy with the original's time of writing."""
    shutil.copy2(source, target)
    return target
