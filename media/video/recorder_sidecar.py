"""What the recorder knows about one segment, kept in a JSON file beside it: `NAME.mp4` has `NAME.json`.

The file is replaced whole, never changed in place, so a reader and a recorder that is killed always find one that is
complete. While a segment is being written its state is `recording`; what stands there then already places it in time.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from ledger.timestamps import moment, rfc3339
from media.video.values import ClockMap, ClockSource

FORMAT = "indelible-recording/1"
SUFFIX = ".json"
MAX_BYTES = 256 * 1024
MAX_ANCHORS = 1000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGEST_CHARACTERS = 64


class SidecarError(ValueError):
    """The file is not what the recorder writes."""


class SegmentState(StrEnum):
    """Where a segment is in its life."""

    RECORDING = "recording"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"  # its recorder was killed; found and said so by the next one


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """When and why there was no picture before a segment."""

    since: int
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sidecar:
    """One segment: its clock, and the digest of its bytes as they were written."""

    state: SegmentState
    clock: ClockMap
    camera_offset_us: int | None  # the camera's clock less the recorder's; None: the camera did not tell the time
    frames: int
    size: int
    sha256: str | None  # once it is finished
    lost_before: Lost | None

    def as_json(self) -> bytes:
        """The file's content."""
        return json.dumps(
            {
                "format": FORMAT,
                "state": self.state,
                "clock": {
                    "source": self.clock.source,
                    "error_us": self.clock.error_us,
                    "anchors": [{"media_us": media, "utc": rfc3339(moment(utc))} for media, utc in self.clock.anchors],
                },
                "camera_offset_us": self.camera_offset_us,
                "frames": self.frames,
                "size": self.size,
                "sha256": self.sha256,
                "lost_before": self.lost_before
                and {"since": rfc3339(moment(self.lost_before.since)), "why": self.lost_before.why},
            },
            indent=1,
        ).encode()


def sidecar_of(segment: Path) -> Path:
    """Where the sidecar of `segment` lies."""
    return segment.with_suffix(SUFFIX)


def write_sidecar(path: Path, sidecar: Sidecar, *, durably: bool) -> None:
    """Replace the file at `path` in one step; `durably`: it also survives a power cut from here on. Raises OSError."""
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(sidecar.as_json())
        if durably:
            file.flush()
            os.fsync(file.fileno())
    draft.replace(path)


def parse_sidecar(data: bytes) -> Sidecar:
    """Read the content of a sidecar. Raises SidecarError for anything that the recorder does not write."""
    if len(data) > MAX_BYTES:
        raise SidecarError("larger than any sidecar")
    try:
        content = json.loads(data)
        if content["format"] != FORMAT:
            raise SidecarError("another format")
        return Sidecar(
            state=SegmentState(content["state"]),
            clock=_clock(content["clock"]),
            camera_offset_us=None if content["camera_offset_us"] is None else _whole(content, "camera_offset_us"),
            frames=_whole(content, "frames", least=0),
            size=_whole(content, "size", least=0),
            sha256=_digest(content["sha256"]),
            lost_before=_lost(content["lost_before"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise SidecarError(f"not a sidecar of the recorder ({type(error).__name__})") from error


def _clock(content: Mapping[str, Any]) -> ClockMap:
    anchors = content["anchors"]
    if not isinstance(anchors, list) or len(anchors) > MAX_ANCHORS:
        raise SidecarError("too many anchors")
    source = ClockSource(content["source"])
    if source not in {ClockSource.RTCP, ClockSource.ARRIVAL}:
        raise SidecarError("a clock that no recorder has")
    return ClockMap(
        anchors=tuple((_whole(anchor, "media_us"), _time(anchor["utc"])) for anchor in anchors),
        error_us=_whole(content, "error_us", least=0),
        source=source,
    )


def _lost(content: Mapping[str, Any] | None) -> Lost | None:
    if content is None:
        return None
    why = content["why"]
    if not isinstance(why, str) or not why.isprintable():
        raise SidecarError("no reason")
    return Lost(since=_time(content["since"]), why=why)


def _whole(content: Mapping[str, Any], key: str, *, least: int = -(2**62)) -> int:
    value = content[key]
    if type(value) is not int or not least <= value < 2**62:
        raise SidecarError(f"{key} is no whole number")
    return value


def _digest(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) != _DIGEST_CHARACTERS or set(value) - set("0123456789abcdef"):
        raise SidecarError("no digest")
    return value


def _time(text: str) -> int:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise SidecarError("a time without a zone")
    return (at - _EPOCH) // timedelta(microseconds=1)
