"""What work on the files of recordings takes and gives. Times are microseconds on the timeline of a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from media.video.placing import Placement
from media.video.values import Tool

# The number of the tile that fills the upright picture, or where tiles lie in it, from when on.
Placing = int | Sequence[Placement]


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingSettings:
    """How recordings are encoded. The defaults are the product's; they stand in every recording's documents."""

    preset: str = "medium"
    crf: int = 20
    threads: int = 0  # 0: as many as keep all cores busy
    audio_bit_rate: int = 128_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """One file of a recording, and how it was made. An audio file has no frames, width and height."""

    path: Path
    width: int
    height: int
    frames: int
    duration_us: int  # from time zero of the file to the end of what is shown or heard last
    video_codec: str | None
    audio_codec: str | None
    copied: bool  # the packets of the source, nothing encoded again
    tool: Tool
    annotation_offset_us: int | None  # what the annotation clock showed at time zero; None without annotations
    strokes_painted: int
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Separated:
    """The two halves of a recording; without sound there is one."""

    video: Encoded
    audio: Encoded | None


DEFAULT_ENCODING: Final = EncodingSettings()
