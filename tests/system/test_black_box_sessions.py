"""A session that ended before its files were ready, lived by the real service and judged by the verifier."""

import json

import pytest
import rfc8785

from ledger.client import ClientError, NewEvent
from tests.system.black_box import Ground, changes, pack, unpack, with_new_manifests

BEGINNINGS = [
    NewEvent(kind="clip.requested", payload={"clip_id": "c1"}),
    NewEvent(kind="recording.started", payload={"recording_id": "r1"}),
]
RESULTS = [
    NewEvent(kind="clip.failed", payload={"clip_id": "c1", "reason": "NO_FOOTAGE"}),
    NewEvent(kind="recording.completed", payload={"recording_id": "r1"}),
]


def test_an_ended_session_is_proved_at_its_end_and_again_when_its_chain_has_closed_by_itself(ground: Ground) -> None:
    ledger = ground.ledger
    ledger.open_chain("filmed", {"case": "A-17"})
    ledger.append_events("filmed", BEGINNINGS)
    ledger.append_event("filmed", "door.opened", {"door": "north"})
    ledger.end_session("filmed", {"by": "Ann"})

    exit_code, report = ground.judge_apart(ground.bundle_of("filmed", disclosures=False))
    assert (exit_code, report["verdict"], report["closed"], report["covered_events"]) == (0, "VERIFIED", False, 6)
    assert [item["item_id"] for item in report["session_end"]["unfinished"]] == ["c1", "r1"]
    with pytest.raises(ClientError, match="has ended"):
        ledger.append_event("filmed", "door.closed", {"door": "north"})
    ledger.append_events("filmed", RESULTS)

    bundle = ground.bundle_of("filmed", disclosures=False)
    exit_code, report = ground.judge_apart(bundle)
    assert (exit_code, report["verdict"], report["closed"], report["covered_events"]) == (0, "VERIFIED", True, 9)
    covered = {(token["sequence"], token["covers"]) for token in report["tokens"]}
    assert covered == {(6, "session"), (9, "chain")}
    files = unpack(bundle)
    assert b"The anchors of\n   event 6 cover the session: events 1 to 5" in files["data/README.txt"]
    lines = files["data/events.jsonl"].splitlines(keepends=True)
    for at in (4, 8):
        for path, changed in changes(json.loads(lines[at])):
            forged = [*lines[:at], rfc8785.dumps(changed) + b"\n", *lines[at + 1 :]]
            judged = ground.judge(pack(with_new_manifests(files | {"data/events.jsonl": b"".join(forged)})))
            assert (judged.verdict, judged.first_divergent_sequence) == ("FAILED", at + 1), path
