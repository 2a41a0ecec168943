"""Checks data/artefacts: clips and recordings against the chain's own record of them.

Clips by `docs/spec/clip.md`, section 6; recordings by `docs/spec/recording.md`. A file is evidence because the chain
says which bytes it has. What the documents beside it tell is worth what the chain confirms of it.
"""

from collections.abc import Iterator

from verifier.bundle import Bundle, read_limited
from verifier.clip_records import ClipRecord, TooManyEventsError, read_records
from verifier.custody import CUSTODY, CUSTODY_TO_DATE, Custody, CustodyError, contradictions, omissions, read_custody
from verifier.event import format_time
from verifier.findings import Finding, Severity
from verifier.recording_files import RecordingFiles
from verifier.recording_records import read_recordings

ARTEFACTS = "data/artefacts/"

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""A custody document with some ten thousand entries; it is read into memory."""

MAX_FINDINGS = 100
"""After so many a reader knows enough; memory stays bounded."""


def check_artefacts(bundle: Bundle, *, chain_id: str, organisation_id: str, covered_events: int) -> list[Finding]:
    """Findings about every file under data/artefacts of a bundle whose chain was found intact.

    Events up to `covered_events` are vouched for by anchors.
    """
    folders = _folders(bundle)
    if not folders:
        return []
    try:
        clips = read_records(bundle, folders)
        others = folders.keys() - clips.keys()
        recordings = read_recordings(bundle, others) if others else {}
    except TooManyEventsError as error:
        text = f"The files of clips and recordings could not be compared with the chain: {error}."
        return [_wrong("artefact-events-too-many", ARTEFACTS, text)]
    findings: list[Finding] = []
    for item_id, files in sorted(folders.items()):
        if item_id in clips:
            clip = _Clip(item_id, files, clips[item_id], bundle)
            wrong = [*clip.differences(), *clip.custody_findings(chain_id, organisation_id)]
            findings += wrong or clip.praise(covered_events)
        elif item_id in recordings:
            recording = RecordingFiles(item_id, files, recordings[item_id], bundle)
            wrong = [
                *recording.differences(),
                *recording.contradictions(chain_id),
                *recording.document_findings(organisation_id),
            ]
            findings += wrong or recording.praise(covered_events)
        else:
            text = (
                f"The chain records no preserved clip and no completed recording {item_id!r:.80}, so nothing says what "
                "these files are."
            )
            findings.append(_wrong("artefact-clip-unknown", f"{ARTEFACTS}{item_id}", text))
    return findings[:MAX_FINDINGS]


def _folders(bundle: Bundle) -> dict[str, dict[str, str]]:
    """The files of each clip or recording: paths by name, by its id."""
    folders: dict[str, dict[str, str]] = {}
    for path in sorted(bundle.sizes):
        if path.startswith(ARTEFACTS):
            item_id, _, name = path.removeprefix(ARTEFACTS).partition("/")
            folders.setdefault(item_id, {})[name] = path
    return folders


class _Clip:
    """The files of one clip beside what the chain says of it."""

    def __init__(self, clip_id: str, files: dict[str, str], record: ClipRecord, bundle: Bundle) -> None:
        self._id = clip_id
        self._files = files
        self._record = record
        self._bundle = bundle

    def differences(self) -> Iterator[Finding]:
        """Files that are not, byte for byte, those that the chain names."""
        event = self._record.sequence
        for name, path in self._files.items():
            if name == CUSTODY_TO_DATE:
                continue
            recorded = self._record.artefacts.get(name)
            if recorded is None:
                text = f"Event {event}, which records the clip {self._id}, names no file {name!r:.80}."
                yield _wrong("artefact-unknown", path, text)
            elif recorded != (self._bundle.bag.digests.get(path), self._bundle.sizes[path]):
                text = f"The file {name} is not the one that event {event} recorded: its digest or its size is another."
                yield _wrong("artefact-digest-differs", path, text)

    def custody_findings(self, chain_id: str, organisation_id: str) -> Iterator[Finding]:
        """Where the custody documents and the chain disagree."""
        documents: dict[str, Custody] = {}
        for name in (CUSTODY, CUSTODY_TO_DATE):
            if name not in self._files:
                continue
            path = self._files[name]
            try:
                custody = self._read(path)
            except CustodyError as error:
                yield _wrong("custody-malformed", path, f"The custody document {name} cannot be read: {error}.")
                continue
            record = self._record
            about = (record.source, record.camera, record.incident)
            if (custody.clip_id, custody.organisation_id, custody.about) != (self._id, organisation_id, about):
                text = f"The custody document {name} is about another clip or of another organisation."
                yield _wrong("custody-foreign", path, text)
                continue
            documents[name] = custody
            for code, sentence in contradictions(custody, self._record, chain_id):
                yield _wrong(code, path, f"The custody document {name} contradicts the chain: {sentence}.")
        if len(documents) == 2:  # noqa: PLR2004 - both
            yield from self._carried_on(documents[CUSTODY], documents[CUSTODY_TO_DATE])

    def _carried_on(self, stored: Custody, to_date: Custody) -> Iterator[Finding]:
        path = self._files[CUSTODY_TO_DATE]
        if list(to_date.entries[: len(stored.entries)]) != list(stored.entries):
            text = f"The document {CUSTODY_TO_DATE} does not begin with the entries of {CUSTODY}."
            yield _wrong("custody-rewritten", path, text)
        for event in omissions(to_date, self._record):
            text = f"The document {CUSTODY_TO_DATE} does not tell of event {event.sequence} ({event.kind})."
            yield _wrong("custody-incomplete", path, text)

    def _read(self, path: str) -> Custody:
        raw = read_limited(self._bundle, path, MAX_DOCUMENT_BYTES)
        if raw is None:
            raise CustodyError(f"it is damaged or longer than {MAX_DOCUMENT_BYTES} bytes")
        return read_custody(raw)

    def praise(self, covered_events: int) -> Iterator[Finding]:
        """What the good files prove."""
        record = self._record
        compared = len(self._files.keys() - {CUSTODY_TO_DATE})
        text = (
            f"{compared} files of the clip of incident {record.incident!r:.80} on camera {record.camera!r:.80} are "
            f"byte for byte those that event {record.sequence} recorded at {format_time(record.occurred_at)}."
        )
        if record.sequence > covered_events:
            text += " No anchor covers that event, so only the chain's keeper vouches for its time."
        where = f"{ARTEFACTS}{self._id}"
        yield Finding(code="artefacts-recorded", severity=Severity.INFO, where=where, message=text)
        if absent := sorted(record.artefacts.keys() - self._files.keys()):
            text = f"Of this clip the bundle does not hold {', '.join(absent)}: not shown here, but recorded."
            yield Finding(code="artefacts-left-out", severity=Severity.INFO, where=where, message=text)
        if CUSTODY_TO_DATE not in self._files:
            text = f"Without {CUSTODY_TO_DATE}, the bundle does not tell who did what to this clip later."
            yield Finding(code="custody-left-out", severity=Severity.INFO, where=where, message=text)


def _wrong(code: str, where: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, where=where, message=message)
