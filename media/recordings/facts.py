"""What the documents say of a finished file beyond its name and digest: codecs, how it was made, what is missing."""

from collections.abc import Iterator
from typing import Any

from media.video.composite_values import Composite
from media.video.recording_values import Encoded
from media.video.values import GapReason, Probe, Tool

_SECOND = 1_000_000
# Who switches their camera off and on all the time must not fill the documents.
MAX_GAPS = 20
_WHY = {
    GapReason.MISSING: "its file has none there",
    GapReason.TRUNCATED: "its file ends before what it declares",
    GapReason.UNREADABLE: "those of its file cannot be decoded",
}


def facts_of_file(encoded: Encoded) -> dict[str, Any]:
    """Of one participant's file, a half of it, or what LiveKit filmed of the room."""
    return {
        "video": None
        if encoded.video_codec is None
        else {
            "codec": encoded.video_codec,
            "width": encoded.width,
            "height": encoded.height,
            "frames": encoded.frames,
        },
        "audio": None if encoded.audio_codec is None else {"codec": encoded.audio_codec},
        "copied": encoded.copied,
        "tool": _tool(encoded.tool),
        "notes": list(encoded.notes),
    }


def doubts(encoded: Encoded, probe: Probe | None = None) -> dict[str, Any]:
    """Why the raw object that a file was made from must stay: what could not be read of it is nowhere else."""
    truncated = {"truncated": True} if probe is not None and probe.truncated else {}
    return truncated | ({"incomplete": True} if encoded.notes else {})


def facts_of_composite(composite: Composite) -> dict[str, Any]:
    """Of a composite that was built of the participants' files."""
    unusable = [one for one in composite.inputs if one.unusable is not None]
    damaged = [one for one in composite.inputs if one.lost_frames]
    return {
        "video": {
            "codec": "h264",
            "width": composite.width,
            "height": composite.height,
            "frames": composite.frames,
        },
        "audio": {"codec": "aac"} if composite.has_audio else None,
        "copied": False,
        "tool": _tool(composite.tool),
        "notes": [
            *(f"a file of tile {one.tile} is not in it: {one.unusable}" for one in unusable),
            *(f"of a file of tile {one.tile}, {one.lost_frames} pictures are missing" for one in damaged),
            *_gaps(composite),
        ],
    }


def _gaps(composite: Composite) -> Iterator[str]:
    for gap in composite.gaps[:MAX_GAPS]:
        begins, ends = ((at - composite.starts_at) / _SECOND for at in (gap.starts_at, gap.ends_at))
        yield f"tile {gap.tile} shows no picture from {begins:.1f} s to {ends:.1f} s: {_WHY[gap.why]}"
    if len(composite.gaps) > MAX_GAPS:
        yield f"there are {len(composite.gaps) - MAX_GAPS} more times in which a tile shows no picture"


def _tool(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "versions": dict(tool.versions), "arguments": dict(tool.arguments)}
