"""What we tell others: which event of the operations chain becomes which webhook, and what it says.

The operations chain tells of everything that integrators are told of, in one order, and keeps it for ever: whoever
follows it misses nothing, however long they were away. A webhook carries names and digests, never evidence, and names
the event it stems from, so that the receiver can fetch the proof.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import orjson

from ledger.client.values import Event
from ledger.timestamps import moment, rfc3339


class EventType(StrEnum):
    """Types of webhooks. They are part of the interface: never renamed, never reused."""

    SESSION_CLOSED = "session.closed"
    CHAIN_ANCHORED = "chain.anchored"
    CLIP_PRESERVED = "clip.preserved"
    CLIP_FAILED = "clip.failed"
    HOLD_PLACED = "hold.placed"
    HOLD_LIFTED = "hold.lifted"
    RECORDING_READY = "recording.ready"


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """One thing to tell every endpoint that asked for its type."""

    message_id: str
    type: EventType
    # JSON in UTF-8, exactly as it is signed and sent.
    body: bytes


def _pick(*names: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """These members of the payload, those that it has."""
    return lambda payload: {name: payload[name] for name in names if name in payload}


def _digests(artefacts: Any) -> list[dict[str, Any]]:
    return [{name: one[name] for name in ("name", "sha256", "size") if name in one} for one in artefacts or []]


def _clip(payload: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "clip_id",
        "source",
        "camera",
        "incident",
        "event_at",
        "actual_from",
        "actual_to",
        "gap_count",
        "preserved_at",
    )
    return _pick(*names)(payload) | {"artefacts": _digests(payload.get("artefacts"))}


def _recording(payload: Mapping[str, Any]) -> dict[str, Any]:
    names = ("recording_id", "session_chain_id", "started_at", "stopped_at", "completed_at")
    return _pick(*names)(payload) | {"files": _digests(payload.get("artefacts"))}


# Of the two ids, a hold has the one of what it is on.
_HOLD = ("hold_id", "clip_id", "recording_id", "reason")
_TOLD: Mapping[str, tuple[EventType, Callable[[Mapping[str, Any]], dict[str, Any]]]] = MappingProxyType(
    {
        "ledger.chain_closed": (
            EventType.SESSION_CLOSED,
            _pick("chain_id", "head", "event_count", "unfinished"),
        ),
        "ledger.anchor_obtained": (
            EventType.CHAIN_ANCHORED,
            _pick("chain_id", "sequence", "digest", "backend", "authority", "anchored_at"),
        ),
        "clip.preserved": (EventType.CLIP_PRESERVED, _clip),
        "clip.failed": (
            EventType.CLIP_FAILED,
            _pick("clip_id", "source", "camera", "incident", "event_at", "reason", "message", "failed_at"),
        ),
        "hold.placed": (EventType.HOLD_PLACED, _pick(*_HOLD, "placed_by", "placed_at")),
        "hold.lifted": (EventType.HOLD_LIFTED, _pick(*_HOLD, "lifted_by", "lifted_at")),
        "recording.completed": (EventType.RECORDING_READY, _recording),
    }
)


def notice_of(organisation_id: str, chain_id: str, event: Event) -> Notice | None:
    """What to tell of an event; None for most."""
    told = _TOLD.get(event.kind)
    if told is None:
        return None
    kind, data_of = told
    source = {"chain_id": chain_id, "sequence": event.sequence, "hash": event.hash.hex()}
    document = {
        "type": kind.value,
        "timestamp": rfc3339(moment(event.occurred_at_us)),
        "data": {"organisation_id": organisation_id, **data_of(event.content), "event": source},
    }
    return Notice(message_id=f"evt_{event.hash.hex()}", type=kind, body=orjson.dumps(document))
