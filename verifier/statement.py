"""What bundle.json states, read strictly (`docs/spec/bundle.md`, sections 3 and 6)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from verifier.canonical import NotCanonicalError, parse_canonical
from verifier.event import MAX_SEQUENCE, is_integer, parse_time, read_digest, read_identifier, read_organisation

FORMAT = "indelible-bundle/1"
RFC3161 = "rfc3161"
TEZOS = "tezos"
OPENTIMESTAMPS = "opentimestamps"
MAX_ANCHORS = 10_000
"""A checkpoint an hour at one authority for more than a year; each costs a signature check or more."""

MAX_PARTS = 400_000
"""Commas and opening brackets of bundle.json: twice what the largest number of anchors needs. Of 8 MiB of nothing but
brackets every one would cost fifty times its size in memory."""

_MEMBERS = ["anchors", "chain_id", "event_count", "exported_at", "format", "head", "organisation", "pending"]
_ANCHOR_MEMBERS = ["aggregation", "authority", "backend", "digest", "files", "obtained_at", "sequence"]
# The files of each backend's anchors: what each is, and how its name ends.
_FILES = {
    RFC3161: {"request": ".tsq", "response": ".tsr"},
    TEZOS: {"receipt": ".tezos.json"},
    OPENTIMESTAMPS: {"proof": ".ots"},
}
_BACKEND = re.compile(r"[a-z][a-z0-9]{0,31}")
_AUTHORITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ROLE = re.compile(r"[a-z][a-z0-9_]{0,31}")


class OtherFormatError(ValueError):
    """bundle.json is intact but of a format this reader does not know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnchorStatement:
    """One anchor as bundle.json lists it.

    `files` maps what a file is ("response") to its path; `aggregation` is where the digest stands under the value that
    was anchored, None when it was anchored itself.
    """

    sequence: int
    backend: str
    authority: str
    digest: str
    files: dict[str, str]
    obtained_at: int
    aggregation: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingAnchor:
    """An anchor that had been asked for and not yet obtained at export."""

    sequence: int
    backend: str
    authority: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleStatement:
    """All of bundle.json. Times are microseconds since 1970."""

    chain_id: str
    organisation_id: str
    organisation_name: str
    event_count: int
    head: str
    exported_at: int
    exported_date: str
    anchors: tuple[AnchorStatement, ...]
    pending: tuple[PendingAnchor, ...]


def read_statement(raw: bytes) -> BundleStatement:
    """Read bundle.json; raise `OtherFormatError`, or `ValueError` saying what is wrong."""
    if sum(map(raw.count, (b",", b"[", b"{"))) > MAX_PARTS:
        raise ValueError("it has more parts than the largest number of anchors needs")
    try:
        members = parse_canonical(raw)
    except NotCanonicalError as error:
        raise ValueError(f"it is not canonical JSON: {error}") from error
    if not isinstance(members, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - bad input, not a wrong call
    if members.get("format") != FORMAT:
        raise OtherFormatError(f"its format is {members.get('format')!r:.60}, and this program knows {FORMAT}")
    if sorted(members) != _MEMBERS:
        raise ValueError("it does not have exactly the members of a bundle")
    if not is_integer(members["event_count"], 1, MAX_SEQUENCE):
        raise ValueError("its event_count is not a positive integer")
    organisation_id, organisation_name = read_organisation(members["organisation"])
    anchors = tuple(_anchor(entry) for entry in _entries(members, "anchors"))
    pending = tuple(_pending(entry) for entry in _entries(members, "pending"))
    if set(_require_order(anchors, "anchors")) & set(_require_order(pending, "pending")):
        raise ValueError("an anchor is both obtained and pending")
    return BundleStatement(
        chain_id=read_identifier(members["chain_id"], "chain_id"),
        organisation_id=organisation_id,
        organisation_name=organisation_name,
        event_count=members["event_count"],
        head=read_digest(members["head"], "head"),
        exported_at=_time(members["exported_at"], "exported_at"),
        exported_date=members["exported_at"][:10],
        anchors=anchors,
        pending=pending,
    )


def _entries(members: dict[str, Any], name: str) -> list[Any]:
    entries = members[name]
    if not isinstance(entries, list) or len(entries) > MAX_ANCHORS:
        raise ValueError(f"its {name} is not a list of at most {MAX_ANCHORS} entries")
    return entries


def _anchor(entry: object) -> AnchorStatement:
    if not isinstance(entry, dict) or sorted(entry) != _ANCHOR_MEMBERS:
        raise ValueError("an anchor does not have exactly the members of an anchor")
    sequence, backend, authority = _place(entry)
    if backend in {RFC3161, OPENTIMESTAMPS} and entry["aggregation"] is not None:
        raise ValueError(f"an anchor of the kind {backend} has an aggregation")
    if entry["aggregation"] is not None and not isinstance(entry["aggregation"], dict):
        raise ValueError("an anchor's aggregation is neither null nor an object")
    return AnchorStatement(
        sequence=sequence,
        backend=backend,
        authority=authority,
        digest=read_digest(entry["digest"], "an anchor's digest"),
        files=_files(entry["files"], f"data/anchors/{sequence}-{backend}-{authority}", backend),
        obtained_at=_time(entry["obtained_at"], "obtained_at"),
        aggregation=entry["aggregation"],
    )


def _files(value: object, stem: str, backend: str) -> dict[str, str]:
    if backend in _FILES and value != {role: stem + suffix for role, suffix in _FILES[backend].items()}:
        raise ValueError(f"the anchor {stem} does not name its files as it must")
    if not isinstance(value, dict) or not all(
        _ROLE.fullmatch(role) and isinstance(path, str) and path.startswith(f"{stem}.") for role, path in value.items()
    ):
        raise ValueError(f"the anchor {stem} does not name its files as it must")
    return value


def _pending(entry: object) -> PendingAnchor:
    if not isinstance(entry, dict) or sorted(entry) != ["authority", "backend", "sequence"]:
        raise ValueError("a pending anchor does not have exactly authority, backend and sequence")
    sequence, backend, authority = _place(entry)
    return PendingAnchor(sequence=sequence, backend=backend, authority=authority)


def _place(entry: dict[str, Any]) -> tuple[int, str, str]:
    sequence, backend, authority = entry["sequence"], entry["backend"], entry["authority"]
    if not is_integer(sequence, 1, MAX_SEQUENCE):
        raise ValueError("an anchor's sequence is not a positive integer")
    if not isinstance(backend, str) or not _BACKEND.fullmatch(backend):
        raise ValueError("an anchor's backend is not a name of the format")
    if not isinstance(authority, str) or not _AUTHORITY.fullmatch(authority):
        raise ValueError("an anchor's authority is not a name of the format")
    return sequence, backend, authority


def _require_order(entries: Sequence[AnchorStatement | PendingAnchor], name: str) -> list[tuple[int, str, str]]:
    places = [(entry.sequence, entry.backend, entry.authority) for entry in entries]
    if any(one >= other for one, other in pairwise(places)):
        raise ValueError(f"its {name} are not in order, or one is there twice")
    return places


def _time(value: object, name: str) -> int:
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a time")  # noqa: TRY004 - bad input, not a wrong call
    try:
        return parse_time(value)
    except ValueError as error:
        raise ValueError(f"{name} is not a time of the form YYYY-MM-DDTHH:MM:SS.ffffffZ") from error
