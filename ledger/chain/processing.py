"""What a session's events say of its processing: which recordings and clips were begun and are not ended.

The rules: docs/spec/chain.md, section 8. PostgreSQL applies the same ones by itself (store/migrations/sql/0007).
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.timestamps import moment, rfc3339

END_FORMAT = "indelible-session-end/1"
# How long an ended session waits for what is pending.
SHORTEST_WAIT_SECONDS = 60
LONGEST_WAIT_SECONDS = 7 * 86_400
DEFAULT_WAIT_SECONDS = 86_400
# So that session.ended, which names them all, stays within the size of a payload.
MAX_PENDING = 1_000

PROCESSING_PREFIXES = ("recording.", "clip.")
_BEGIN = frozenset({"recording.started", "clip.requested"})
_END = frozenset({"recording.completed", "recording.failed", "clip.preserved", "clip.failed"})
_STEPS = _BEGIN | _END
_WAITS = (SHORTEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_ITEM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)

# The type and the id of an item.
ItemKey = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class PendingItem:
    """A recording or clip in the making; `since_sequence` is the event that began it."""

    type: str
    item_id: str
    since_sequence: int


def item_of(kind: str, payload: Mapping[str, Any]) -> ItemKey | None:
    """The item that an event under `PROCESSING_PREFIXES` is about; None when it names none."""
    item_type = kind.partition(".")[0]
    item_id = payload.get(f"{item_type}_id")
    return (item_type, item_id) if isinstance(item_id, str) and _ITEM_ID.fullmatch(item_id) else None


def ends_an_item(kind: str) -> bool:
    """Whether an event of this kind ends the making of something."""
    return kind in _END


def take_step(pending: dict[ItemKey, int], kind: str, item: ItemKey, sequence: int) -> None:
    """Note in `pending` (item: the event that began it) what an event about `item` begins or ends."""
    if kind in _BEGIN:
        pending[item] = sequence
    elif kind in _STEPS:
        pending.pop(item, None)


def ending(*, closes_by: str, pending: Collection[PendingItem], remark: str) -> dict[str, Any]:
    """The payload of `session.ended`: `closes_by` in the form of section 3, `remark` canonical JSON or empty."""
    return {
        "closes_by": closes_by,
        "format": END_FORMAT,
        "pending": item_list(pending),
        **({"ending": json.loads(remark)} if remark else {}),
    }


def ending_problem(payload: Mapping[str, Any], *, occurred_at_us: int, pending: Collection[PendingItem]) -> str:
    """What is wrong with the payload of a `session.ended` before which `pending` was pending; empty when nothing is."""
    if payload.get("pending") != item_list(pending):
        return "the end of the session does not name what is pending"
    if not isinstance(payload.get("ending", {}), dict):
        return "what is said about the end of the session is not an object"
    deadline = payload.get("closes_by")
    if not isinstance(deadline, str) or not _TIME.fullmatch(deadline):
        return "the end of the session sets no deadline"
    first, last = (rfc3339(moment(occurred_at_us + seconds * 1_000_000)) for seconds in _WAITS)
    # Times of this form are in the order of their texts.
    return "" if first <= deadline <= last else "the session waits for less than a minute or more than a week"


def item_list(items: Collection[PendingItem]) -> list[dict[str, Any]]:
    """Items as events name them."""
    return [
        {"item_id": item.item_id, "since_sequence": item.since_sequence, "type": item.type} for item in sorted(items)
    ]
