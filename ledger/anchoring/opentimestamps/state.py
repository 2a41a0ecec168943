"""What is known of a head between two rounds. It lives in the anchor job, so that any worker can go on with it.

`proof` and `proof_at` are read by others too: until the proof is complete, bundles carry it as it is
(docs/spec/bundle.md, section 6).
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ledger.anchoring.opentimestamps.timestamp import (
    Leaf,
    read_proof,
    read_timestamp,
    write_proof,
    write_timestamp,
)
from ledger.timestamps import rfc3339

NONCE_BYTES = 16
MAX_PROMISES = 3  # of one calendar; the oldest goes when it promises once more
MAX_PROOF_BYTES = 64 * 1024  # what a bundle takes (docs/spec/bundle.md, section 6)


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """A calendar's word, given at `at`, that `message` will be under a Bitcoin block."""

    message: bytes
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class CalendarNotes:
    """What is known of one calendar.

    `kept` says that a Bitcoin attestation came from it. `unchecked` holds paths it gave, by the message they begin
    at, to blocks that nothing trusted shows yet. `trouble` is what went wrong last, "" for nothing.
    """

    promises: tuple[Promise, ...] = ()
    kept: bool = False
    unchecked: Mapping[bytes, tuple[Leaf, ...]] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A head on its way. `leaves` are those of the proof so far; `short_rounds` counts rounds with too few promises."""

    digest: bytes
    nonce: bytes
    leaves: frozenset[Leaf] = frozenset()
    proof_at: datetime | None = None
    calendars: Mapping[str, CalendarNotes] = field(default_factory=dict)
    short_rounds: int = 0

    @classmethod
    def begin(cls, digest: bytes) -> "Submission":
        """A head that nobody was told of."""
        return cls(digest=digest, nonce=secrets.token_bytes(NONCE_BYTES))

    @classmethod
    def read(cls, digest: bytes, state: Mapping[str, Any]) -> "Submission":
        """What `write` wrote for the same digest. Raises ValueError, KeyError or TypeError for anything else."""
        return cls(
            digest=digest,
            nonce=bytes.fromhex(state["nonce"]),
            leaves=frozenset(read_proof(_binary(state["proof"]), digest)),
            proof_at=datetime.fromisoformat(state["proof_at"]),
            calendars={url: _read_notes(notes) for url, notes in state["calendars"].items()},
            short_rounds=int(state["short_rounds"]),
        )

    def write(self, progress: str) -> dict[str, object]:
        """The state as JSON. There must be a leaf."""
        if self.proof_at is None:
            raise ValueError("nothing was promised yet")
        return {
            "nonce": self.nonce.hex(),
            "proof": _text(self.proof),
            "proof_at": rfc3339(self.proof_at),
            "calendars": {url: _write_notes(notes) for url, notes in self.calendars.items()},
            "short_rounds": self.short_rounds,
            "progress": progress,
        }

    @property
    def commitment(self) -> bytes:
        """What calendars are given: they can neither know the head by it nor link it to others."""
        return hashlib.sha256(self.digest + self.nonce).digest()

    @property
    def proof(self) -> bytes:
        """The proof file so far."""
        return write_proof(self.digest, self.leaves)

    @property
    def bitcoin(self) -> tuple[Leaf, ...]:
        """The leaves about Bitcoin blocks. Each was checked against a header before it came in."""
        return tuple(leaf for leaf in self.leaves if leaf.is_bitcoin)

    @property
    def kept(self) -> int:
        """How many calendars have kept their promise. Several paths of one are worth no more than one."""
        return sum(notes.kept for notes in self.calendars.values())

    def notes(self, url: str) -> CalendarNotes:
        """What is known of the calendar at `url`."""
        return self.calendars.get(url, CalendarNotes())

    def promised(self, url: str, message: bytes) -> Leaf | None:
        """The leaf of the promise that the calendar at `url` made about `message`."""
        return next((leaf for leaf in self.leaves if leaf.calendar == url and leaf.message == message), None)

    def noting(self, url: str, notes: CalendarNotes) -> "Submission":
        """The same with other notes about the calendar at `url`."""
        return replace(self, calendars={**self.calendars, url: notes})


def _read_notes(notes: Mapping[str, Any]) -> CalendarNotes:
    return CalendarNotes(
        promises=tuple(
            Promise(message=bytes.fromhex(message), at=datetime.fromisoformat(at)) for message, at in notes["promises"]
        ),
        kept=bool(notes["kept"]),
        unchecked={
            bytes.fromhex(message): read_timestamp(_binary(answer), bytes.fromhex(message))
            for message, answer in notes["unchecked"].items()
        },
        trouble=str(notes["trouble"]),
    )


def _write_notes(notes: CalendarNotes) -> dict[str, object]:
    return {
        "promises": [[promise.message.hex(), rfc3339(promise.at)] for promise in notes.promises],
        "kept": notes.kept,
        "unchecked": {message.hex(): _text(write_timestamp(leaves)) for message, leaves in notes.unchecked.items()},
        "trouble": notes.trouble,
    }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _binary(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
