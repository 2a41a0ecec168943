"""One event and its hash (docs/spec/chain.md; formats `indelible-chain/1`)."""

import re
import struct
from dataclasses import dataclass
from hashlib import sha256

FORMAT = "indelible-chain/1"
HASH_BYTES = 32
GENESIS_PREV_HASH = bytes(HASH_BYTES)

# Keeps every sequence exact in a JSON number, with room to spare.
MAX_SEQUENCE = 2**48 - 1
MAX_KIND_BYTES = 64

OPENED = "chain.opened"
CHECKPOINTED = "chain.checkpointed"
CLOSED = "chain.closed"
# Ends a session whose recordings or clips may still be in the making; its chain closes when they are done.
SESSION_ENDED = "session.ended"

_KIND = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+", re.ASCII)
_HEADER = struct.Struct(">Q32sI")
_LENGTH = struct.Struct(">I")
_TIME = struct.Struct(">q")


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One link of a chain. `payload` is canonical JSON exactly as hashed; `occurred_at_us` counts from 1970, UTC."""

    sequence: int
    prev_hash: bytes
    kind: str
    payload: str
    occurred_at_us: int
    hash: bytes


def event_hash(*, sequence: int, prev_hash: bytes, kind: bytes, payload: bytes, occurred_at_us: int) -> bytes:
    """SHA-256 of the event's preimage: u64 sequence, prev_hash, u32 length and kind, u32 length and payload, i64 time.

    `kind` is ASCII and `payload` canonical UTF-8. The lengths keep one event from reading as another.
    """
    return sha256(
        _HEADER.pack(sequence, prev_hash, len(kind))
        + kind
        + _LENGTH.pack(len(payload))
        + payload
        + _TIME.pack(occurred_at_us)
    ).digest()


def is_kind(kind: str) -> bool:
    """Whether `kind` is well formed: lower-case words joined by dots, two at least, at most 64 bytes."""
    return len(kind) <= MAX_KIND_BYTES and _KIND.fullmatch(kind) is not None
