"""recording.json: what a recording holds, whose it is, how each file was made and from what, and what is missing.

Written for people and programs alike (docs/spec/recording.md). Its schema is media/recordings/schemas/recording-1.json.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from media.clips.events import time_text
from media.recordings.events import accounts
from media.records.recording_work import RecordingFile, RecordingWork

FORMAT = "indelible-recording/1"


def recording_document(
    recording: RecordingWork, files: Sequence[RecordingFile], notes: Sequence[str], *, made_at: int
) -> dict[str, Any]:
    """recording.json: of `files` all that are finished, which are all but itself."""
    annotations = recording.annotations
    return {
        "format": FORMAT,
        "recording_id": str(recording.recording_id),
        "organisation_id": recording.organisation_id,
        "session_chain_id": recording.session_chain_id,
        "room": recording.room,
        "operator": recording.operator,
        "requested": {"by": recording.requested_by, "at": time_text(recording.started_at)},
        "stopped": None
        if recording.stopped_at is None
        else {"at": time_text(recording.stopped_at), "reason": recording.stop_reason},
        "composite": recording.composite.lower(),
        "annotations": {
            "expected": recording.annotations_expected,
            "received": None
            if annotations is None
            else {
                "size": len(annotations.data),
                "sha256": annotations.sha256,
                "at": time_text(annotations.received_at),
                "by": annotations.received_by,
            },
        },
        "tiles": _tiles(recording),
        "egresses": [
            {
                **account,
                "started_at": _optional_time(egress.file_started_at),
                "ended_at": _optional_time(egress.file_ended_at),
                "stated_size": egress.stated_size,
            }
            for egress, account in zip(recording.egresses, accounts(recording, files), strict=True)
        ],
        "artefacts": [_artefact(file) for file in files],
        "made": {"at": time_text(made_at), "by": "indelible", "version": version("indelible")},
        "notes": list(notes),
    }


def _tiles(recording: RecordingWork) -> list[dict[str, Any]]:
    return [
        {
            "tile": member.tile,
            "participant": member.participant,
            "role": member.role.lower(),
            "joined_at": time_text(member.first_seen_at),
        }
        for member in sorted(recording.members, key=lambda member: member.tile)
    ]


def _artefact(file: RecordingFile) -> dict[str, Any]:
    facts = file.facts
    return {
        "name": file.name,
        "role": file.role,
        "media_type": file.media_type,
        "participant": file.participant,
        "tile": file.tile,
        "size": file.stored.size,
        "sha256": file.stored.sha256,
        "raw_sha256": list(file.raw_sha256),
        "starts_at": _optional_time(file.starts_at),
        "duration_us": file.duration_us,
        "video": facts.get("video"),
        "audio": facts.get("audio"),
        "copied": bool(facts.get("copied")),
        "annotations": None
        if facts.get("annotations_sha256") is None
        else {
            "sha256": facts["annotations_sha256"],
            "offset_us": facts["annotation_offset_us"],
            "strokes_painted": facts["strokes_painted"],
        },
        "tool": facts.get("tool"),
        "notes": list(facts.get("notes", ())),
    }


def _optional_time(at: int | None) -> str | None:
    return None if at is None else time_text(at)
