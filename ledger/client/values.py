"""What a client sends to the ledger and gets back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

# A JSON object as Python values, or as UTF-8 text.
Payload = Mapping[str, Any] | bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent:
    """An event to append. `sealed_members` names top-level members that others shall see only if disclosed to them."""

    kind: str
    payload: Payload
    sealed_members: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """An event of a chain. `payload` is canonical JSON, exactly as hashed."""

    sequence: int
    prev_hash: bytes
    kind: str
    payload: bytes
    occurred_at_us: int
    hash: bytes

    @property
    def content(self) -> dict[str, Any]:
        """The payload as Python values."""
        content: dict[str, Any] = json.loads(self.payload)
        return content


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """The ledger's signed word that it accepted events. `replayed`: it had given this answer before."""

    chain_id: str
    first_sequence: int
    last_sequence: int
    event_hashes: tuple[bytes, ...]
    signed_note: str
    replayed: bool
    occurred_at_us: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingItem:
    """A recording or clip in the making: "recording" or "clip", its id, and the event that began it."""

    type: str
    item_id: str
    since_sequence: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """A chain as it stands.

    `ended_at` and `closes_by`: when its session ended, and when it closes at the latest; None until it ends.
    `pending` is what was begun and is not finished; always empty in lists.
    """

    chain_id: str
    type: Literal["session", "operations"]
    state: Literal["open", "ended", "closed"]
    organisation_id: str
    organisation_name: str
    subject: bytes
    event_count: int
    head: bytes
    opened_at: datetime
    closed_at: datetime | None
    ended_at: datetime | None = None
    closes_by: datetime | None = None
    pending: tuple[PendingItem, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchor:
    """Outside evidence for one checkpoint, obtained or still asked for. `anchored_at` is the authority's time."""

    sequence: int
    digest: bytes
    backend: str
    authority: str
    state: Literal["pending", "obtained"]
    attempts: int
    last_error: str
    requested_at: datetime
    next_attempt_at: datetime | None
    obtained_at: datetime | None
    anchored_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """The service's own re-check of a chain; `first_divergent_sequence` is None when it is whole."""

    ok: bool
    event_count: int
    head: bytes
    first_divergent_sequence: int | None
    divergence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CreatedLink:
    """A verify link. Whoever has the token, or the address made of it, sees the chain until it expires."""

    link_id: str
    token: str
    url: str
    expires_at: datetime
    head: bytes
