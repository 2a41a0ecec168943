"""What the chains are told about the files of a recording (docs/spec/recording.md): kinds and payloads. Pure.

What is told of each file goes to the session's chain. The end goes to the operations chain as well, which also has what
happens after it: raw objects that are dropped, files that come too late, and the disposal.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

from media.clips.events import time_text
from media.recordings.plan import problem_of, why_kept
from media.records.recording_work import Egress, Raw, RecordingFile, RecordingWork
from media.records.values import OPERATIONS_CHAIN_ID, Disposal, Note
from media.storage.values import StoredObject

FILE_HASHED = "recording.file_hashed"
FILE_STORED = "recording.file_stored"
COMPLETED = "recording.completed"
FAILED = "recording.failed"
RAW_DROPPED = "recording.raw_dropped"
DISPOSED = "recording.disposed"

# An event holds at most 256 KiB; recording.json, whose digest it carries, tells everything. Who comes and goes a
# hundred times must not make an event that no chain takes: every file is in it, and the rest as far as it fits.
MAX_BYTES = 240 * 1024
MAX_ACCOUNTS = 100
MAX_RAWS = 10
MAX_FULL_ENTRIES = 300
MAX_NOTES = 50
MAX_TEXT = 500


def raw_id(recording_id: UUID, key: str, version_id: str | None) -> UUID:
    """The id of a raw object: whoever reads it first, and again after dying, gives it the same."""
    return uuid5(recording_id, f"raw\n{key}\n{version_id or ''}")


def file_id(recording_id: UUID, name: str) -> UUID:
    """The id of a finished file, likewise."""
    return uuid5(recording_id, f"file\n{name}")


def hashed_note(recording: RecordingWork, raw: Raw) -> Note:
    """A raw object was read in full for the first time."""
    egress = recording.egress(raw.stay_id)
    payload = {
        **_about(recording),
        **_of_egress(egress),
        **_object(raw.stored),
        "counts": raw.counts,
        "kept": raw.kept_because,
        "read_at": time_text(raw.read_at),
    }
    return Note(
        kind=FILE_HASHED,
        payload=payload,
        subject_id=raw.raw_id,
        chain_id=recording.session_chain_id,
    )


def stored_note(recording: RecordingWork, file: RecordingFile, *, stored_at: int) -> Note:
    """A finished file was stored and read back."""
    payload = {
        **_about(recording),
        **file_entry(file),
        "starts_at": None if file.starts_at is None else time_text(file.starts_at),
        "duration_us": file.duration_us,
        "annotations_sha256": file.facts.get("annotations_sha256"),
        "annotation_offset_us": file.facts.get("annotation_offset_us"),
        "copied": bool(file.facts.get("copied")),
        "stored_at": time_text(stored_at),
    }
    return Note(
        kind=FILE_STORED,
        payload=payload,
        subject_id=file_id(recording.recording_id, file.name),
        chain_id=recording.session_chain_id,
    )


def completed_notes(
    recording: RecordingWork, files: Sequence[RecordingFile], notes: Sequence[str], *, completed_at: int
) -> list[Note]:
    """Every file of the recording, tied together: for the session's chain and the operations chain."""
    entry = file_entry if len(files) <= MAX_FULL_ENTRIES else _short_entry
    payload = {
        **_about(recording),
        **_span(recording),
        "artefacts": [entry(file) for file in files],
        "notes": [note[:MAX_TEXT] for note in notes[:MAX_NOTES]],
        "completed_at": time_text(completed_at),
    }
    return _on_both_chains(COMPLETED, recording, _with_accounts(payload, accounts(recording, files)))


def failed_notes(recording: RecordingWork, reason: str, message: str, *, failed_at: int) -> list[Note]:
    """Nothing usable came of a recording: for the same chains. What its egresses left is kept."""
    payload = {
        **_about(recording),
        **_span(recording),
        "reason": reason,
        "message": message[:MAX_TEXT],
        "failed_at": time_text(failed_at),
    }
    return _on_both_chains(FAILED, recording, _with_accounts(payload, accounts(recording, ())))


def dropped_note(recording: RecordingWork, raw: Raw, *, decided_at: int) -> Note:
    """A raw object goes: everything it held is in finished files, whose digests are on the chain."""
    payload = {**_about(recording), **_object(raw.stored), "decided_at": time_text(decided_at)}
    return Note(kind=RAW_DROPPED, payload=payload, subject_id=raw.raw_id)


def late_note(recording: RecordingWork, raw: Raw) -> Note:
    """An upload came too late for the recording: it is hashed and kept as it is, which the operations chain is told."""
    return replace(hashed_note(recording, raw), chain_id=OPERATIONS_CHAIN_ID)


def disposed_note(recording: RecordingWork, disposal: Disposal, *, disposed_at: int) -> Note:
    """The bytes of a recording are gone; the digests stay here for ever."""
    entry = file_entry if len(recording.files) <= MAX_FULL_ENTRIES else _short_entry
    kept = [_object(raw.stored) for raw in recording.raws if raw.drop_decided_at is None]
    payload = {
        **_about(recording),
        "artefacts": [entry(file) for file in recording.files],
        # Every one of them is on a chain since it was read.
        "raws": kept[:MAX_ACCOUNTS],
        "raw_count": len(kept),
        "decided_by": disposal.by,
        "reason": disposal.reason,
        "decided_at": time_text(disposal.decided_at),
        "disposed_at": time_text(disposed_at),
    }
    return Note(kind=DISPOSED, payload=payload, subject_id=recording.recording_id)


def accounts(recording: RecordingWork, files: Sequence[RecordingFile]) -> list[dict[str, Any]]:
    """What became of every egress: what LiveKit said, what it left, which files were made, and what went wrong."""
    return [_account(recording, egress, files) for egress in recording.egresses]


def file_entry(file: RecordingFile) -> dict[str, Any]:
    """Name, place, size and digest of a finished file, and the raw objects behind it."""
    return {
        "name": file.name,
        "role": file.role,
        "participant": file.participant,
        "tile": file.tile,
        **_object(file.stored),
        "raw_sha256": list(file.raw_sha256),
    }


def _short_entry(file: RecordingFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "size": file.stored.size,
        "sha256": file.stored.sha256,
        "raw_sha256": list(file.raw_sha256),
    }


def _with_accounts(payload: dict[str, Any], told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The payload with as many accounts of egresses as fit."""
    fitting = [{**account, "raws": account["raws"][:MAX_RAWS]} for account in told[:MAX_ACCOUNTS]]
    while fitting and len(json.dumps({**payload, "egresses": fitting}, ensure_ascii=False).encode()) > MAX_BYTES:
        del fitting[len(fitting) // 2 :]
    return {**payload, "egresses": fitting}


def _account(recording: RecordingWork, egress: Egress, files: Sequence[RecordingFile]) -> dict[str, Any]:
    raws = recording.raws_of(egress.stay_id)
    digests = {raw.stored.sha256 for raw in raws}
    return {
        **_of_egress(egress),
        "outcome": None if egress.outcome is None else egress.outcome.lower(),
        "outcome_detail": egress.outcome_detail[:MAX_TEXT],
        "raws": [{**_object(raw.stored), "kept": why_kept(recording, raw)} for raw in raws],
        "files": [file.name for file in files if digests & set(file.raw_sha256)],
        "problem": problem_of(recording, egress),
    }


def _about(recording: RecordingWork) -> dict[str, Any]:
    return {"recording_id": str(recording.recording_id), "session_chain_id": recording.session_chain_id}


def _span(recording: RecordingWork) -> dict[str, Any]:
    return {
        "started_at": time_text(recording.started_at),
        "stopped_at": None if recording.stopped_at is None else time_text(recording.stopped_at),
    }


def _of_egress(egress: Egress) -> dict[str, Any]:
    return {
        "stay_id": str(egress.stay_id),
        "egress_id": egress.egress_id,
        "of": egress.kind,
        "participant": egress.participant,
        "tile": egress.tile,
        "stay": egress.stay,
    }


def _object(stored: StoredObject) -> dict[str, Any]:
    return {"key": stored.key, "version_id": stored.version_id, "size": stored.size, "sha256": stored.sha256}


def _on_both_chains(kind: str, recording: RecordingWork, payload: Mapping[str, Any]) -> list[Note]:
    return [
        Note(kind=kind, payload=payload, subject_id=recording.recording_id, chain_id=chain_id)
        for chain_id in (recording.session_chain_id, OPERATIONS_CHAIN_ID)
    ]
