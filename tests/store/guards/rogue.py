"""Events as somebody would write them who goes round the ledger."""

import json
from typing import Any

import psycopg

from ledger.chain.event import event_hash

COLUMNS = "chain_key, sequence, occurred_at, prev_hash, hash, organisation_id, kind, payload"


def next_event(connection: psycopg.Connection, chain: str = "visit", **changes: Any) -> dict[str, Any]:
    """What would be the chain's next event, with some of it changed and the hash made to fit unless it is given."""
    row = connection.execute(
        """SELECT c.chain_key, e.sequence, e.hash, e.occurred_at
             FROM indelible.chains AS c JOIN indelible.events AS e USING (chain_key)
            WHERE c.chain_id = %s AND c.organisation_id = 'acme' ORDER BY e.sequence DESC LIMIT 1""",
        (chain,),
    ).fetchone()
    assert row is not None
    event = {
        "chain_key": row[0],
        "sequence": row[1] + 1,
        "occurred_at": row[3],
        "prev_hash": row[2],
        "organisation_id": "acme",
        "kind": "door.closed",
        "payload": "{}",
    } | changes
    return rehashed(event) if "hash" not in changes else event


def rehashed(event: dict[str, Any]) -> dict[str, Any]:
    return event | {
        "hash": event_hash(
            sequence=event["sequence"],
            prev_hash=event["prev_hash"],
            kind=event["kind"].encode(),
            payload=event["payload"].encode(),
            occurred_at_us=event["occurred_at"],
        )
    }


def insert(connection: psycopg.Connection, *events: dict[str, Any]) -> None:
    """All rows by one statement."""
    rows = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s)"] * len(events))
    values = [event[column] for event in events for column in COLUMNS.split(", ")]
    connection.execute(f"INSERT INTO indelible.events ({COLUMNS}) VALUES {rows}", values)


def following(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return rehashed(event | {"sequence": event["sequence"] + 1, "prev_hash": event["hash"]} | changes)


def checkpoint(**changes: Any) -> str:
    return json.dumps({"merkle_root": "00" * 32, "tree_size": 4} | changes)
