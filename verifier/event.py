"""One event: the line that carries it and the hash that binds it (`docs/spec/chain.md` sections 3 and 4)."""

import re
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from verifier.canonical import MAX_INTEGER, MAX_LEVELS, NotCanonicalError, parse_canonical

MAX_PAYLOAD_BYTES = 256 * 1024
"""The format's limit; one event is read into memory."""

MAX_LINE_BYTES = MAX_PAYLOAD_BYTES + 512
"""A payload and the longest frame around it, without the line end."""

MAX_SEQUENCE = 2**48 - 1

KIND = re.compile(r"(?=.{3,64}\Z)[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")

OPENED = "chain.opened"
CHECKPOINTED = "chain.checkpointed"
CLOSED = "chain.closed"
RESERVED_PREFIX = "chain."
CHECKPOINTS = frozenset({CHECKPOINTED, CLOSED})
ZERO_HASH = "0" * 64

MAX_NAME_CHARACTERS = 256
"""An organisation's name, as printed on a page."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - every time of the format is UTC and is read without a zone
_MICROSECOND = timedelta(microseconds=1)
_MEMBERS = ["hash", "kind", "occurred_at", "payload", "prev_hash", "sequence"]


class MalformedEventError(ValueError):
    """The line is not an event of the format; `code` is the finding's code, the text says why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, kw_only=True, slots=True)
class EventLine:
    """An event as its line states it. Nothing has been recomputed."""

    sequence: int
    hash: str
    prev_hash: str
    kind: str
    payload: bytes
    occurred_at: int
    """Microseconds since 1970-01-01T00:00:00Z."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Genesis:
    """What the first event says the chain is."""

    chain_id: str
    chain_type: str
    organisation_id: str
    organisation_name: str


def parse_line(line: bytes) -> EventLine:
    """Read one line of `events.jsonl`, without its line end; raise `MalformedEventError`."""
    if len(line) > MAX_LINE_BYTES:
        raise MalformedEventError("event-too-long", f"its line is longer than {MAX_LINE_BYTES} bytes")
    try:
        members = parse_canonical(line, max_levels=MAX_LEVELS + 1)
    except NotCanonicalError as error:
        raise MalformedEventError("event-not-canonical", f"its line is not canonical JSON: {error}") from error
    if not isinstance(members, dict) or sorted(members) != _MEMBERS:
        raise MalformedEventError("event-malformed", "its line does not have exactly the members of an event")
    try:
        occurred_at = _read_members(members)
    except ValueError as error:
        raise MalformedEventError("event-malformed", f"a member has a wrong form: {error}") from error
    # The line is canonical, so the payload stands between frames whose lengths are known.
    before = len(b'{"hash":"","kind":"","occurred_at":"","payload":') + 64 + len(members["kind"]) + 27
    after = len(b',"prev_hash":"","sequence":}') + 64 + len(str(members["sequence"]))
    payload = line[before : len(line) - after]
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MalformedEventError("event-too-long", f"its payload is longer than {MAX_PAYLOAD_BYTES} bytes")
    return EventLine(
        sequence=members["sequence"],
        hash=members["hash"],
        prev_hash=members["prev_hash"],
        kind=members["kind"],
        payload=payload,
        occurred_at=occurred_at,
    )


def preimage(event: EventLine) -> bytes:
    """Return the bytes whose SHA-256 is the event's hash."""
    kind = event.kind.encode("ascii")
    return b"".join(
        (
            struct.pack(">Q", event.sequence),
            bytes.fromhex(event.prev_hash),
            struct.pack(">I", len(kind)),
            kind,
            struct.pack(">I", len(event.payload)),
            event.payload,
            struct.pack(">q", event.occurred_at),
        )
    )


def parse_time(text: str) -> int:
    """Return microseconds since 1970 of a `YYYY-MM-DDTHH:MM:SS.ffffffZ`; `ValueError` for any other text."""
    if not _TIME.fullmatch(text):
        raise ValueError("a time is not of the form YYYY-MM-DDTHH:MM:SS.ffffffZ")
    return (datetime.fromisoformat(text[:-1]) - _EPOCH) // _MICROSECOND


def format_time(microseconds: int) -> str:
    """The inverse of `parse_time`."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds") + "Z"


def read_genesis(payload: dict[str, Any]) -> Genesis:
    """Read the payload of `chain.opened`; raise `ValueError` with the member that is wrong."""
    if payload.get("format") != "indelible-chain/1":
        raise ValueError("its format is not indelible-chain/1")
    if payload.get("chain_type") not in {"session", "operations"}:
        raise ValueError("its chain_type is neither session nor operations")
    if not isinstance(payload.get("subject"), dict):
        raise ValueError("it has no subject")  # noqa: TRY004 - bad input, not a wrong call
    organisation_id, organisation_name = read_organisation(payload.get("organisation"))
    return Genesis(
        chain_id=read_identifier(payload.get("chain_id"), "chain_id"),
        chain_type=payload["chain_type"],
        organisation_id=organisation_id,
        organisation_name=organisation_name,
    )


def read_organisation(value: object) -> tuple[str, str]:
    """Read `{"id","name"}`; raise `ValueError`."""
    if not isinstance(value, dict) or sorted(value) != ["id", "name"]:
        raise ValueError("organisation does not have exactly id and name")
    name = value["name"]
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise ValueError(f"the organisation's name is not a string of 1 to {MAX_NAME_CHARACTERS} characters")
    return read_identifier(value["id"], "organisation id"), name


def read_identifier(value: object, name: str) -> str:
    """Return `value` if it is an identifier of the format; raise `ValueError`."""
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise ValueError(f"{name} is not an identifier (letters, digits, '.', '_', '-'; at most 128)")
    return value


def read_digest(value: object, name: str) -> str:
    """Return `value` if it is 64 lowercase hexadecimal digits; raise `ValueError`."""
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ValueError(f"{name} is not 64 lowercase hexadecimal digits")
    return value


def is_integer(value: object, lowest: int, highest: int = MAX_INTEGER) -> bool:
    """Tell whether `value` is an integer (a boolean is none) between two bounds, both included."""
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _read_members(members: dict[str, Any]) -> int:
    """Check the members of a line; return `occurred_at` in microseconds. Raises `ValueError`."""
    read_digest(members["hash"], "hash")
    read_digest(members["prev_hash"], "prev_hash")
    if not isinstance(members["kind"], str) or not KIND.fullmatch(members["kind"]):
        raise ValueError("kind is not of the form the format allows")
    if not is_integer(members["sequence"], 1, MAX_SEQUENCE):
        raise ValueError("sequence is not an integer from 1 to 2^48-1")
    if not isinstance(members["payload"], dict) or not isinstance(members["occurred_at"], str):
        raise ValueError("payload is not an object, or occurred_at is not a string")  # noqa: TRY004 - bad input
    return parse_time(members["occurred_at"])
