"""Copies segments here, reads them as a whole and places them; notes what is doubtful about them."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import structlog

from ledger.timestamps import moment, rfc3339
from media.clips.naming import NamedTime
from media.clips.placing import Acquired, Placed, place
from media.clips.shelves import Fetched, GoneError, Listed, Shelf
from media.clips.sources import Source
from media.errors import MediaError
from media.video.apart import probe_apart
from media.video.recorder_sidecar import MAX_BYTES as MAX_SIDECAR_BYTES
from media.video.recorder_sidecar import SegmentState, Sidecar, SidecarError, parse_sidecar, sidecar_of
from media.video.values import Limits

# Of all copies together: an hour of 4K twice over.
MAX_TOTAL_BYTES = 24 << 30
# More would bury what matters in the clip's documents.
MAX_NOTES = 50

_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}", re.IGNORECASE)
_NOTABLE_OFFSET_US = 1_000_000

_log = structlog.stdlib.get_logger("media.footage")


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A file that may show something of the window."""

    listed: Listed
    named: NamedTime | None

    @property
    def earliest(self) -> int:
        """When it may begin; without a name that tells, when it was last written."""
        return self.named.candidates[0] if self.named else self.listed.modified_at

    @property
    def latest(self) -> int:
        """When it may begin, if its name means two times."""
        return self.named.candidates[-1] if self.named else self.listed.modified_at


@dataclass(frozen=True, kw_only=True, slots=True)
class _Copy:
    candidate: Candidate
    sidecar: Sidecar | None
    fetched: Fetched
    path: Path


class Acquisition:
    """The copies of one search. What it could not read stands in `unreadable` (when it begins) and in `notes`."""

    def __init__(
        self, source: Source, shelf: Shelf, directory: Path, limits: Limits, *, unsettled_since: int | None
    ) -> None:
        """Files changed after `unsettled_since` are still being written and left out; None takes them as they are."""
        self.notes: list[str] = []
        self.unreadable: list[int] = []
        self._source = source
        self._shelf = shelf
        self._directory = directory
        self._limits = limits
        self._unsettled_since = unsettled_since
        self._room = MAX_TOTAL_BYTES
        self._count = 0

    async def acquire(self, candidates: Sequence[Candidate]) -> list[Placed]:
        """Copy, read and place these, as far as they are there and can be read.

        Raises MediaError: TOO_LARGE, FOOTAGE_UNAVAILABLE.
        """
        fetched = [await asyncio.to_thread(self._fetch, candidate) for candidate in candidates]
        copies = [copy for copy in fetched if copy is not None]
        if not copies:
            return []
        placed = []
        probes = await probe_apart([copy.path for copy in copies], limits=self._limits)
        for copy, probe in zip(copies, probes, strict=True):
            if isinstance(probe, MediaError):
                self._note_unreadable(copy, probe)
                continue
            acquired = Acquired(
                listed=copy.candidate.listed,
                named=copy.candidate.named,
                sidecar=copy.sidecar,
                fetched=copy.fetched,
                path=copy.path,
                probe=probe,
            )
            segment = place(self._source, acquired)
            self._note_doubts(copy, segment)
            placed.append(segment)
        return placed

    def _fetch(self, candidate: Candidate) -> _Copy | None:
        """A local copy, or None of what is gone or still being written."""
        listed = candidate.listed
        try:
            sidecar = self._sidecar(listed.name)
            if self._is_growing(listed, sidecar):
                return None
            if listed.size > self._limits.file_bytes:
                # One such file, whoever left it, must not keep the rest from being preserved.
                self.unreadable.append(candidate.earliest)
                self._note(f"{listed.name} was left out: its {listed.size} bytes are more than is read of one file")
                return None
            path = self._directory / f"{self._count:04}{_suffix(listed.name)}"
            self._count += 1
            fetched = self._shelf.fetch(listed, path, limit=min(self._limits.file_bytes, self._room))
        except GoneError:
            _log.info("segment_gone", source_id=self._source.source_id, name=listed.name)
            return None
        self._room -= fetched.size
        if fetched.changed and self._unsettled_since is not None:
            path.unlink()
            return None
        return _Copy(candidate=candidate, sidecar=sidecar, fetched=fetched, path=path)

    def _sidecar(self, name: str) -> Sidecar | None:
        if not self._source.has_sidecars:
            return None
        try:
            return parse_sidecar(self._shelf.read(str(sidecar_of(Path(name))), limit=MAX_SIDECAR_BYTES + 1))
        except GoneError:
            self._note(f"{name} has lost what its recorder noted about it; its name told the time")
        except SidecarError as error:
            self._note(f"{name} has an unusable note of its recorder ({error}); its name told the time")
        return None

    def _is_growing(self, listed: Listed, sidecar: Sidecar | None) -> bool:
        if sidecar is not None and sidecar.state is not SegmentState.RECORDING:
            return False
        return self._unsettled_since is not None and listed.modified_at > self._unsettled_since

    def _note_unreadable(self, copy: _Copy, error: MediaError) -> None:
        copy.path.unlink(missing_ok=True)
        self.unreadable.append(copy.candidate.earliest)
        why = error.message.replace(copy.path.name, "it")
        self._note(
            f"{copy.candidate.listed.name} could not be used ({why}); its {copy.fetched.size} bytes have the SHA-256 "
            f"{copy.fetched.sha256}"
        )

    def _note_doubts(self, copy: _Copy, segment: Placed) -> None:
        name, sidecar = copy.candidate.listed.name, copy.sidecar
        if segment.acquired.probe.truncated:
            self._note(f"{name} ends before its own declared end: it was cut off")
        if copy.fetched.changed:
            self._note(f"{name} was still being written when it was copied")
        if copy.candidate.named and len(copy.candidate.named.candidates) > 1:
            self._note(f"the local time in the name of {name} means two times, as clocks were changed in that hour")
        if sidecar is None:
            return
        if sidecar.state is not SegmentState.FINISHED:
            self._note(f"{name} had not been finished by its recorder when it was copied")
        if sidecar.sha256 not in {None, copy.fetched.sha256}:
            self._note(f"{name} is not what its recorder wrote: it noted the SHA-256 {sidecar.sha256}")
        if sidecar.lost_before is not None:
            since = rfc3339(moment(sidecar.lost_before.since))
            self._note(f"the recorder had no picture from {since} until {name} began: {sidecar.lost_before.why}")
        offset = sidecar.camera_offset_us
        if offset is not None and abs(offset) >= _NOTABLE_OFFSET_US:
            self._note(f"during {name} the camera's clock differed from the recorder's by {offset / 1e6:+.3f} s")

    def _note(self, sentence: str) -> None:
        if len(self.notes) < MAX_NOTES:
            self.notes.append(sentence)


def _suffix(name: str) -> str:
    """The end of the name if it looks like the type of a file: some readers go by it."""
    suffix = PurePosixPath(name).suffix
    return suffix.lower() if _SUFFIX.fullmatch(suffix) else ""
