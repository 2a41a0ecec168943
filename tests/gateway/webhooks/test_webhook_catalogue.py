"""Each kind of event that is told of becomes one webhook, which says what happened and names the proof."""

import json
from typing import Any

import orjson
import pytest

from gateway.webhooks.catalogue import EventType, notice_of
from ledger.client.values import Event

ARTEFACT = {
    "key": "acme/2026/03/01/g/i/clip.mp4",
    "name": "clip.mp4",
    "sha256": "ab" * 32,
    "size": 5,
    "version_id": "v1",
}
SHOWN = {"name": "clip.mp4", "sha256": "ab" * 32, "size": 5}
TOLD: list[tuple[str, dict[str, Any], EventType, dict[str, Any]]] = [
    (
        "ledger.chain_closed",
        {"chain_id": "s-1", "head": "cd" * 32, "event_count": 9},
        EventType.SESSION_CLOSED,
        {"chain_id": "s-1", "head": "cd" * 32, "event_count": 9},
    ),
    (
        "ledger.anchor_obtained",
        {"chain_id": "s-1", "sequence": 9, "digest": "cd" * 32, "backend": "rfc3161", "authority": "freetsa",
         "anchored_at": "2026-03-01T12:00:00.000000Z", "response_sha256": "ef" * 32},
        EventType.CHAIN_ANCHORED,
        {"chain_id": "s-1", "sequence": 9, "digest": "cd" * 32, "backend": "rfc3161", "authority": "freetsa",
         "anchored_at": "2026-03-01T12:00:00.000000Z"},
    ),
    (
        "clip.preserved",
        {"clip_id": "c-1", "source": "gate-1", "camera": "gate-1", "incident": "i-1", "gaps": [], "gap_count": 0,
         "artefacts": [ARTEFACT]},
        EventType.CLIP_PRESERVED,
        {"clip_id": "c-1", "source": "gate-1", "camera": "gate-1", "incident": "i-1", "gap_count": 0,
         "artefacts": [SHOWN]},
    ),
    (
        "clip.failed",
        {"clip_id": "c-1", "reason": "NO_FOOTAGE", "message": "none", "kept": [ARTEFACT]},
        EventType.CLIP_FAILED,
        {"clip_id": "c-1", "reason": "NO_FOOTAGE", "message": "none"},
    ),
    (
        "hold.placed",
        {"hold_id": "h-1", "clip_id": "c-1", "reason": "case 7", "placed_by": "ann", "placed_at": "2026"},
        EventType.HOLD_PLACED,
        {"hold_id": "h-1", "clip_id": "c-1", "reason": "case 7", "placed_by": "ann", "placed_at": "2026"},
    ),
    (
        "hold.lifted",
        {"hold_id": "h-1", "clip_id": "c-1", "reason": "done", "lifted_by": "bob", "lifted_at": "2026"},
        EventType.HOLD_LIFTED,
        {"hold_id": "h-1", "clip_id": "c-1", "reason": "done", "lifted_by": "bob", "lifted_at": "2026"},
    ),
    (
        "hold.placed",
        {"hold_id": "h-2", "recording_id": "r-1", "reason": "case 7", "placed_by": "ann", "placed_at": "2026"},
        EventType.HOLD_PLACED,
        {"hold_id": "h-2", "recording_id": "r-1", "reason": "case 7", "placed_by": "ann", "placed_at": "2026"},
    ),
    (
        "hold.lifted",
        {"hold_id": "h-2", "recording_id": "r-1", "reason": "done", "lifted_by": "bob", "lifted_at": "2026"},
        EventType.HOLD_LIFTED,
        {"hold_id": "h-2", "recording_id": "r-1", "reason": "done", "lifted_by": "bob", "lifted_at": "2026"},
    ),
    (
        "recording.completed",
        {"recording_id": "r-1", "session_chain_id": "s-1", "completed_at": "2026", "artefacts": [ARTEFACT],
         "egresses": [{"participant": "ann"}]},
        EventType.RECORDING_READY,
        {"recording_id": "r-1", "session_chain_id": "s-1", "completed_at": "2026", "files": [SHOWN]},
    ),
]  # fmt: skip


def event(kind: str, payload: dict[str, Any]) -> Event:
    return Event(
        sequence=7,
        prev_hash=bytes(32),
        kind=kind,
        payload=orjson.dumps(payload),
        occurred_at_us=1_772_366_400_000_000,
        hash=b"\x01" * 32,
    )


@pytest.mark.parametrize(("kind", "payload", "told_as", "data"), TOLD, ids=[one[0] for one in TOLD])
def test_an_event_becomes_one_message(
    kind: str, payload: dict[str, Any], told_as: EventType, data: dict[str, Any]
) -> None:
    notice = notice_of("acme", "operations", event(kind, payload))
    assert notice is not None
    assert notice.type is told_as
    assert notice.message_id == "evt_" + "01" * 32
    assert json.loads(notice.body) == {
        "type": told_as.value,
        "timestamp": "2026-03-01T12:00:00.000000Z",
        "data": {
            "organisation_id": "acme",
            **data,
            "event": {"chain_id": "operations", "sequence": 7, "hash": "01" * 32},
        },
    }


def test_every_type_is_told_of_by_some_event() -> None:
    assert {one[2] for one in TOLD} == set(EventType)


def test_other_events_are_nobodys_business() -> None:
    for kind in ("access.decided", "chain.checkpointed", "clip.accessed", "something.else"):
        assert notice_of("acme", "operations", event(kind, {"a": 1})) is None
