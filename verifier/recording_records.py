"""What a chain says about the files of recordings (`docs/spec/recording.md`), read from its events."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verifier.bundle import EVENTS, Bundle
from verifier.canonical import parse_strict
from verifier.clip_records import MAX_EVENTS_ABOUT_CLIPS, TooManyEventsError
from verifier.event import EventLine, is_integer, parse_line, read_digest

HASHED = "recording.file_hashed"
STORED = "recording.file_stored"
COMPLETED = "recording.completed"

MAX_FILES = 1_000
"""Of one recording: an event of the largest size names no more."""

# As for clips: a quick look at lines that a strict look has accepted before.
_ABOUT_FILES = re.compile(rb'\{"hash":"[0-9a-f]{64}","kind":"recording\.(?:file_|completed)')


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """A finished file by an event: `made_from` are the SHA-256 of the raw objects behind it."""

    sha256: str
    size: int
    made_from: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingRecord:
    """One recording by the event that ends it, and what earlier events say of its files.

    `stored`: event and file by name, each once; `hashed`: the SHA-256 of the raw objects that were read.
    """

    sequence: int
    occurred_at: int
    session_chain_id: str
    files: Mapping[str, FileRecord]
    stored: Mapping[str, tuple[int, FileRecord]]
    hashed: Collection[str]


def read_recordings(bundle: Bundle, recording_ids: Collection[str]) -> dict[str, RecordingRecord]:
    """The records of these recordings in a chain whose every line was found intact; malformed ones are left out.

    Memory does not grow with the chain. Raises `TooManyEventsError`.
    """
    records: dict[str, RecordingRecord] = {}
    stored: dict[str, dict[str, tuple[int, FileRecord]]] = {one: {} for one in recording_ids}
    hashed: dict[str, set[str]] = {one: set() for one in recording_ids}
    for count, (line, payload) in enumerate(_events_about(bundle, recording_ids)):
        if count == MAX_EVENTS_ABOUT_CLIPS:
            raise TooManyEventsError(f"it has more than {MAX_EVENTS_ABOUT_CLIPS} events about them")
        recording_id = payload["recording_id"]
        # What is said after the end changes nothing that the end has said.
        if recording_id in records:
            continue
        try:
            if line.kind == HASHED:
                hashed[recording_id].add(read_digest(payload.get("sha256"), "sha256"))
            elif line.kind == STORED:
                stored[recording_id].setdefault(_name(payload), (line.sequence, _file(payload)))
            elif line.kind == COMPLETED:
                records[recording_id] = RecordingRecord(
                    sequence=line.sequence,
                    occurred_at=line.occurred_at,
                    session_chain_id=str(payload.get("session_chain_id")),
                    files=read_files(payload.get("artefacts")),
                    stored=stored[recording_id],
                    hashed=hashed[recording_id],
                )
        except ValueError:
            continue
    return records


def read_files(value: object) -> dict[str, FileRecord]:
    """A list of finished files, as an event or recording.json has it. Raises `ValueError`."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_FILES:
        raise ValueError("artefacts is not a list of files")
    files = {_name(item): _file(item) for item in value}
    if len(files) != len(value):
        raise ValueError("two files have one name")
    return files


def _events_about(bundle: Bundle, recording_ids: Collection[str]) -> Iterator[tuple[EventLine, dict[str, Any]]]:
    for line in bundle.iter_lines(EVENTS):
        if _ABOUT_FILES.match(line):
            event = parse_line(line)
            payload = parse_strict(event.payload)
            recording_id = payload.get("recording_id")
            if isinstance(recording_id, str) and recording_id in recording_ids:
                yield event, payload


def _name(item: object) -> str:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise ValueError("a file has no name")  # noqa: TRY004 - a finding about what was read, not a wrong call
    name: str = item["name"]
    return name


def _file(item: Mapping[str, Any]) -> FileRecord:
    made_from: Sequence[object] = item.get("raw_sha256", ())
    if not is_integer(item.get("size"), 0) or not isinstance(made_from, list):
        raise ValueError("a file has no size or no list of what it was made from")
    return FileRecord(
        sha256=read_digest(item.get("sha256"), "sha256"),
        size=item["size"],
        made_from=tuple(read_digest(one, "raw_sha256") for one in made_from),
    )
