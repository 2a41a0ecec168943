"""CheckChain about sessions that ended: the stored vectors of docs/spec/chain.md, section 8."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.chain.event import Event
from ledger.store.checks import _Check
from ledger.store.values import Chain

CASES = json.loads((Path(__file__).parents[2] / "vectors/sessions.json").read_text("utf-8"))["cases"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def event_of(line: str) -> Event:
    event = json.loads(line)
    return Event(
        sequence=event["sequence"],
        prev_hash=bytes.fromhex(event["prev_hash"]),
        kind=event["kind"],
        payload=line.partition(',"payload":')[2].rpartition(',"prev_hash":')[0],
        occurred_at_us=(datetime.fromisoformat(event["occurred_at"]) - _EPOCH) // timedelta(microseconds=1),
        hash=bytes.fromhex(event["hash"]),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_chain_diverges_where_the_vector_says(case: dict[str, Any]) -> None:
    events = [event_of(line) for line in case["lines"]]
    opening = json.loads(events[0].payload)
    chain = Chain(
        chain_key=1,
        chain_id=opening["chain_id"],
        organisation_id="acme",
        organisation_name="Acme Security",
        type=opening["chain_type"],
        state="open",
        subject='{"case":"A-17"}',
        event_count=len(events),
        head=events[-1].hash,
        opened_at=_EPOCH,
        closed_at=None,
    )
    check = _Check(chain)
    divergence = check.read(events)
    wrong_at = case["first_divergent_sequence"]
    assert (bool(divergence), check.count) == (wrong_at is not None, (wrong_at or len(events) + 1) - 1), divergence
