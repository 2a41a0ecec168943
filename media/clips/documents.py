"""metadata.json: what a clip shows, from which footage, by which clock, and how every derivative was made.

Written for people and programs alike (docs/spec/clip.md, section 3). It follows SWGDE and ISO/IEC 27037 in what it must
answer: the native format is kept, digests begin at acquisition, the clock's error is stated, and every derivative names
its tool, versions and arguments.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from media.clips.events import time_text
from media.records.values import ArtefactRole, Clip
from media.video.values import Artefacts, Derivative, Gap, Segment

FORMAT = "indelible-clip-metadata/1"
METADATA_NAME = "metadata.json"

MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "json": "application/json",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "mp4": "video/mp4",
    "webm": "video/webm",
}
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Digest:
    """Size and SHA-256 of a file as it was when it had just been made."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentParts:
    """What metadata.json is written from: `digests` by the artefact's name, `notes` in sentences."""

    clip: Clip
    segments: Sequence[Segment]
    gaps: Sequence[Gap]
    artefacts: Artefacts
    digests: Mapping[str, Digest]
    notes: Sequence[str]
    made_at: int


def metadata_document(parts: DocumentParts) -> dict[str, Any]:
    """metadata.json."""
    clip, artefacts = parts.clip, parts.artefacts
    return {
        "format": FORMAT,
        "clip_id": str(clip.clip_id),
        "organisation_id": clip.organisation_id,
        "source": clip.source_id,
        "camera": clip.camera_id,
        "incident": clip.incident_id,
        "event_at": time_text(clip.event_at),
        "requested": {
            "by": clip.requested_by,
            "at": time_text(clip.requested_at),
            "session_chain_id": clip.session_chain_id,
        },
        "window": {
            "asked": _span(clip.asked_from, clip.asked_to),
            "actual": _span(artefacts.clip.actual_from, artefacts.clip.actual_to),
            "gaps": gap_list(parts.gaps),
        },
        "clock": _clock(parts.segments),
        "footage": [_footage(segment) for segment in parts.segments],
        "artefacts": [_artefact(derivative, parts.digests[derivative.name], artefacts) for derivative in artefacts.all],
        "made": {"at": time_text(parts.made_at), "by": "indelible", "version": version("indelible")},
        "notes": list(parts.notes),
    }


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """A document as it is stored: UTF-8, indented, members in the order of the specification."""
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def explained(gaps: Sequence[Gap], reasons: Sequence[Gap]) -> tuple[Gap, ...]:
    """The gaps of a clip, each with the reason of what the search for footage missed there, where it did."""
    named = []
    for gap in gaps:
        overlaps = [
            (min(gap.ends_at, reason.ends_at) - max(gap.starts_at, reason.starts_at), reason.why) for reason in reasons
        ]
        longest = max(overlaps, default=(0, gap.why), key=lambda overlap: overlap[0])
        named.append(replace(gap, why=longest[1]) if longest[0] > 0 else gap)
    return tuple(named)


def gap_list(gaps: Sequence[Gap]) -> list[dict[str, Any]]:
    """Gaps as documents and records show them."""
    return [{**_span(gap.starts_at, gap.ends_at), "why": str(gap.why)} for gap in gaps]


def role_of(derivative: Derivative, artefacts: Artefacts) -> ArtefactRole:
    """What a derivative is for."""
    if derivative in artefacts.native:
        return "native"
    if derivative is artefacts.clip:
        return "primary"
    return "thumbnail" if derivative is artefacts.thumbnail else "preview"


def media_type_of(name: str) -> str:
    """The media type of an artefact, by its name."""
    return MEDIA_TYPES[name.rpartition(".")[2]]


def _span(starts_at: int, ends_at: int) -> dict[str, str]:
    return {"from": time_text(starts_at), "to": time_text(ends_at)}


def _clock(segments: Sequence[Segment]) -> dict[str, Any]:
    """The least certain clock of the footage: what may be claimed of the whole."""
    worst = max((segment.clock for segment in segments), key=lambda clock: clock.error_us)
    return {"source": str(worst.source), "error_seconds": worst.error_us / _MICROSECONDS}


def _footage(segment: Segment) -> dict[str, Any]:
    return {
        "name": segment.source_name,
        "sha256": segment.sha256,
        **_span(segment.starts_at, segment.ends_at),
        "clock": {"source": str(segment.clock.source), "error_seconds": segment.clock.error_us / _MICROSECONDS},
    }


def _artefact(derivative: Derivative, digest: Digest, artefacts: Artefacts) -> dict[str, Any]:
    return {
        "name": derivative.name,
        "role": role_of(derivative, artefacts),
        "media_type": media_type_of(derivative.name),
        "size": digest.size,
        "sha256": digest.sha256,
        **_span(derivative.actual_from, derivative.actual_to),
        "gaps": gap_list(derivative.gaps),
        "video": {
            "codec": derivative.video_codec,
            "width": derivative.width,
            "height": derivative.height,
            "frames": derivative.frames,
        },
        "audio": {"codec": derivative.audio_codec} if derivative.audio_codec else None,
        "copied": derivative.copied,
        "tool": {
            "name": derivative.tool.name,
            "versions": dict(derivative.tool.versions),
            "arguments": dict(derivative.tool.arguments),
        },
        "notes": list(derivative.notes),
    }
