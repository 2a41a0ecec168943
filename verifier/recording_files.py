"""Checks the files of a recording against the chain's own record of them (`docs/spec/recording.md`).

1. Every file is one that `recording.completed` lists, with that size and SHA-256. A listed file may be absent.
2. On the session's chain, every listed file was told of before by `recording.file_stored`, with the same size, SHA-256
   and raw objects, and each of these raw objects by `recording.file_hashed`.
3. recording.json is about this recording and organisation, and lists the same files, itself apart.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from verifier.bundle import Bundle, read_limited
from verifier.canonical import NotCanonicalError, parse_strict
from verifier.event import format_time
from verifier.findings import Finding, Severity
from verifier.recording_records import RecordingRecord, read_files

DOCUMENT = "recording.json"
FORMAT = "indelible-recording/1"

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""recording.json with some thousand files; it is read into memory."""

_MAX_PARTS = 1_000_000  # brackets and commas: each costs memory when read
# The operations chain tells how a recording ended, not of each file.
_OPERATIONS = "operations"


class RecordingFiles:
    """The files of one recording beside what the chain says of them."""

    def __init__(self, recording_id: str, files: Mapping[str, str], record: RecordingRecord, bundle: Bundle) -> None:
        """`files`: their paths in the bundle by name."""
        self._id = recording_id
        self._files = files
        self._record = record
        self._bundle = bundle

    def differences(self) -> Iterator[Finding]:
        """Files that are not, byte for byte, those that the chain names (rule 1)."""
        event = self._record.sequence
        for name, path in self._files.items():
            recorded = self._record.files.get(name)
            if recorded is None:
                text = f"Event {event}, which ends the recording {self._id}, names no file {name!r:.80}."
                yield _wrong("artefact-unknown", path, text)
            elif (recorded.sha256, recorded.size) != (self._bundle.bag.digests.get(path), self._bundle.sizes[path]):
                text = f"The file {name} is not the one that event {event} recorded: its digest or its size is another."
                yield _wrong("artefact-digest-differs", path, text)

    def contradictions(self, chain_id: str) -> Iterator[Finding]:
        """Where the chain contradicts itself about the files (rule 2)."""
        if chain_id == _OPERATIONS:
            return
        where = f"data/artefacts/{self._id}"
        for name, file in self._record.files.items():
            sequence, stored = self._record.stored.get(name, (None, None))
            if stored is None:
                text = f"Event {self._record.sequence} lists the file {name!r:.80}, which no event says was stored."
                yield _wrong("recording-contradiction", where, text)
            elif stored != file:
                text = (
                    f"Events {sequence} and {self._record.sequence} say different things about the file {name!r:.80}."
                )
                yield _wrong("recording-contradiction", where, text)
            elif any(digest not in self._record.hashed for digest in file.made_from):
                text = f"Of what the file {name!r:.80} was made from, no event before event {sequence} has the digest."
                yield _wrong("recording-contradiction", where, text)

    def document_findings(self, organisation_id: str) -> Iterator[Finding]:
        """Where recording.json and the chain disagree (rule 3)."""
        path = self._files.get(DOCUMENT)
        if path is None:
            return
        try:
            document = self._read(path)
            listed = read_files(document.get("artefacts"))
        except ValueError as error:
            yield _wrong("recording-malformed", path, f"The document {DOCUMENT} cannot be read: {error}.")
            return
        record = self._record
        about = (document.get("recording_id"), document.get("organisation_id"), document.get("session_chain_id"))
        if about != (self._id, organisation_id, record.session_chain_id):
            text = f"The document {DOCUMENT} is about another recording, organisation or session."
            yield _wrong("recording-foreign", path, text)
        elif listed != {name: file for name, file in record.files.items() if name != DOCUMENT}:
            text = f"The document {DOCUMENT} lists other files than event {record.sequence}."
            yield _wrong("recording-contradiction", path, text)

    def praise(self, covered_events: int) -> Iterator[Finding]:
        """What the good files prove."""
        record = self._record
        text = (
            f"{len(self._files)} files of the recording {self._id} are byte for byte those that event "
            f"{record.sequence} recorded at {format_time(record.occurred_at)}."
        )
        if record.sequence > covered_events:
            text += " No anchor covers that event, so only the chain's keeper vouches for its time."
        where = f"data/artefacts/{self._id}"
        yield Finding(code="artefacts-recorded", severity=Severity.INFO, where=where, message=text)
        if absent := sorted(record.files.keys() - self._files.keys()):
            text = f"Of this recording the bundle does not hold {', '.join(absent)}: not shown here, but recorded."
            yield Finding(code="artefacts-left-out", severity=Severity.INFO, where=where, message=text)

    def _read(self, path: str) -> dict[str, Any]:
        raw = read_limited(self._bundle, path, MAX_DOCUMENT_BYTES)
        if raw is None:
            raise ValueError(f"it is damaged or longer than {MAX_DOCUMENT_BYTES} bytes")
        if raw.count(b"[") + raw.count(b"{") + raw.count(b",") > _MAX_PARTS:
            raise ValueError("it has too many parts")
        try:
            document = parse_strict(raw)
        except NotCanonicalError as error:
            raise ValueError(str(error)) from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f"it is not of the format {FORMAT}")
        return document


def _wrong(code: str, where: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, where=where, message=message)
