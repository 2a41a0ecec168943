"""What composing takes and gives. Times are microseconds since 1970 (UTC) unless a name says otherwise."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from media.video.values import GapReason, Tool


class Shows(StrEnum):
    """What a participant's file shows of them."""

    CAMERA = "camera"
    SCREEN_SHARE = "screen_share"


@dataclass(frozen=True, kw_only=True, slots=True)
class ParticipantFile:
    """One file of one participant. Somebody who left and came back has several, of one tile."""

    path: Path
    tile: int
    starts_at: int  # of the file's time zero, as LiveKit told of the finished file
    ends_at: int | None = None  # as LiveKit told; what lies between this and the file's own end is a gap
    shows: Shows = Shows.CAMERA


@dataclass(frozen=True, kw_only=True, slots=True)
class CompositeSettings:
    """How composites are made. The defaults are the product's; they stand in every recording's documents."""

    width: int = 1280
    height: int = 720
    frame_rate: int = 30
    preset: str = "medium"
    crf: int = 20
    threads: int = 0  # 0: as many as keep all cores busy
    audio_rate: int = 48_000
    audio_bit_rate: int = 128_000
    longest_seconds: int = 24 * 3600  # of a composite: nobody is in a session for longer


@dataclass(frozen=True, kw_only=True, slots=True)
class ComposedInput:
    """What became of one participant's file. A file that could not be used says why in `unusable`."""

    name: str
    tile: int
    shows: Shows
    offset_us: int  # of the file's time zero, from that of the composite
    duration_us: int  # until the end of what is seen or heard last
    frames: int  # pictures that could be decoded
    lost_frames: int
    truncated: bool
    has_audio: bool
    unusable: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TileGap:
    """A part of a file's time in which its tile shows background. `ends_at` is exclusive."""

    tile: int
    starts_at: int
    ends_at: int
    why: GapReason


@dataclass(frozen=True, kw_only=True, slots=True)
class Composite:
    """The file that was made. Its time zero is `starts_at`."""

    path: Path
    starts_at: int
    duration_us: int
    frames: int
    width: int
    height: int
    frame_rate: int
    has_audio: bool
    strokes_painted: int
    inputs: tuple[ComposedInput, ...]
    gaps: tuple[TileGap, ...]
    tool: Tool


DEFAULT_COMPOSITE: Final = CompositeSettings()
