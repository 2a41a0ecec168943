"""What video work takes and gives. Times are microseconds since 1970 (UTC) unless a name says `media_us`.

`media_us` is a position in one file: microseconds after its first video frame, in the order frames are shown. Files
restart their own clocks at any value they like; only a `ClockMap` places them in wall time.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final


class ClockSource(StrEnum):
    """What told the wall clock of a file, the best first."""

    RTCP = "rtcp"
    ARRIVAL = "arrival"
    FILE_NAME = "file_name"
    FILE_INFO = "file_info"
    GIVEN = "given"
    MODIFIED_AT = "modified_at"


class GapReason(StrEnum):
    """Why there is no footage for a part of the window."""

    MISSING = "missing"
    TRUNCATED = "truncated"
    UNREADABLE = "unreadable"
    OVERLAP_DROPPED = "overlap_dropped"
    NO_KEYFRAME = "no_keyframe"
    NOT_YET_RECORDED = "not_yet_recorded"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockMap:
    """Places a file in wall time: straight lines between anchors, real speed before the first and after the last."""

    anchors: tuple[tuple[int, int], ...]  # (media_us, UTC)
    error_us: int
    source: ClockSource

    def __post_init__(self) -> None:
        """Raise ValueError for anchors under which time would stop or run back."""
        if not self.anchors:
            raise ValueError("a clock map needs an anchor")
        if self.error_us < 0:
            raise ValueError("an error bound is not negative")
        for (media, utc), (next_media, next_utc) in zip(self.anchors, self.anchors[1:], strict=False):
            if next_media <= media or next_utc <= utc:
                raise ValueError("the anchors of a clock map must rise")

    def utc_of(self, media_us: int) -> int:
        """The wall time of a position in the file."""
        return _interpolated(media_us, self.anchors)

    def media_of(self, utc: int) -> int:
        """The position in the file that was recorded at this time; outside the file when it was not."""
        return _interpolated(utc, [(at, media) for media, at in self.anchors])


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One local file of footage placed in wall time. `ends_at` is exclusive."""

    path: Path
    clock: ClockMap
    starts_at: int
    ends_at: int
    source_name: str
    sha256: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """What was asked for; `asked_to` is exclusive, `event_at` lies between the two, either included."""

    asked_from: int
    asked_to: int
    event_at: int

    def __post_init__(self) -> None:
        """Raise ValueError for an empty window, or one without its event."""
        if not self.asked_from < self.asked_to:
            raise ValueError("a window ends after it starts")
        if not self.asked_from <= self.event_at <= self.asked_to:
            raise ValueError("the event lies inside the window")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """A part of the window without footage. `ends_at` is exclusive."""

    starts_at: int
    ends_at: int
    why: GapReason


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoTrack:
    """The video of a file as it was found by reading all of it, not as its header tells."""

    codec: str
    width: int
    height: int
    pixel_format: str | None
    frames: int
    keyframes: tuple[int, ...]  # media_us
    duration_us: int  # from the first frame to the end of the last one shown
    container_start_us: int  # where the container's own clock stands at the first frame


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioTrack:
    """The first audio stream of a file."""

    codec: str
    sample_rate: int
    channels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What a file holds."""

    container: str
    size: int
    video: VideoTrack
    audio: AudioTrack | None
    truncated: bool  # reading ended before what the file itself declares
    created_at: int | None  # the container's creation time, if it tells one


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """What made a derivative, so that it can be repeated."""

    name: str
    versions: dict[str, str]
    arguments: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Derivative:
    """One file made from the footage, and the part of wall time it really shows (`actual_to` exclusive)."""

    name: str
    path: Path
    actual_from: int
    actual_to: int
    gaps: tuple[Gap, ...]
    video_codec: str
    audio_codec: str | None
    width: int
    height: int
    frames: int
    copied: bool  # the packets of the source, nothing encoded again
    tool: Tool
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Artefacts:
    """Everything made from one window of footage."""

    native: tuple[Derivative, ...]  # more than one where the camera changed its codec parameters
    clip: Derivative
    thumbnail: Derivative
    preview: Derivative
    gaps: tuple[Gap, ...]  # of the window, in the clip

    @property
    def all(self) -> tuple[Derivative, ...]:
        """Every file, in the order in which documents list them."""
        return (*self.native, self.clip, self.thumbnail, self.preview)


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """A sign of life: which step, and how much of it is done (0 to 1)."""

    step: str
    done: float


Report = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSettings:
    """How derivatives are made. The defaults are the product's; they stand in every clip's metadata."""

    preset: str = "veryfast"
    crf: int = 22
    threads: int = 0  # 0: as many as there are cores
    audio_bit_rate: int = 128_000
    thumbnail_width: int = 1280
    thumbnail_quality: int = 3  # JPEG quantiser of libav, 2 (best) to 31
    preview_seconds: int = 15
    preview_width: int = 640
    preview_height: int = 360
    preview_crf: int = 36
    preview_frame_rate: int = 30  # at most


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What hostile footage may cost."""

    file_bytes: int = 16 << 30  # one segment; an hour of 4K is about 10 GiB
    streams: int = 32
    pixels: int = 8192 * 4320  # 8K UHD, the largest that cameras and H.265 levels know
    packets: int = 4_000_000  # of one file: a day and a half of video at 30 frames a second
    output_bytes: int = 32 << 30
    address_space_bytes: int = 6 << 30  # of the child; threads reserve far more than they use
    cpu_seconds: int = 4 * 3600
    wall_seconds: int = 2 * 3600
    silent_seconds: int = 300  # without progress the child counts as stuck


DEFAULT_SETTINGS: Final = VideoSettings()
DEFAULT_LIMITS: Final = Limits()


def _interpolated(value: int, points: tuple[tuple[int, int], ...] | list[tuple[int, int]]) -> int:
    index = bisect_right(points, value, key=lambda point: point[0])
    if index in (0, len(points)):
        x, y = points[0 if index == 0 else -1]
        return y + value - x
    (x, y), (next_x, next_y) = points[index - 1], points[index]
    return y + ((value - x) * (next_y - y) + (next_x - x) // 2) // (next_x - x)
