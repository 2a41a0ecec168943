"""What everyone who may insert at all can do to the end of a session, and to what is pending."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.store.guards.rogue import checkpoint, following, insert, next_event

REFUSED = (errors.IntegrityConstraintViolation, errors.InsufficientPrivilege, errors.RestrictViolation)
CASES = json.loads((Path(__file__).parents[2] / "vectors/sessions.json").read_text("utf-8"))["cases"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PENDING = [
    {"item_id": "c1", "since_sequence": 2, "type": "clip"},
    {"item_id": "r1", "since_sequence": 3, "type": "recording"},
]


def text(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def ending(connection: psycopg.Connection, chain: str = "visit", *, wait: int = 60_000_000, **changes: Any) -> Any:
    """The event that would end a session with nothing pending, with some of its payload changed."""
    event = next_event(connection, chain)
    payload = {"closes_by": text(event["occurred_at"] + wait), "format": "indelible-session-end/1", "pending": []}
    return next_event(connection, chain, kind="session.ended", payload=json.dumps(payload | changes))


def closing(connection: psycopg.Connection, chain: str = "ended", *, late: int = 0, **changes: Any) -> Any:
    """A closing of the ended chain at its deadline, which names what is unfinished."""
    row = connection.execute(
        "SELECT closes_by FROM indelible.session_ends JOIN indelible.chains USING (chain_key) WHERE chain_id = %s",
        (chain,),
    ).fetchone()
    before = next_event(connection, chain)
    payload = checkpoint(tree_size=before["sequence"] - 1, **({"unfinished": _PENDING} | changes))
    at = before["occurred_at"] if row is None else row[0] + late
    return next_event(connection, chain, kind="chain.closed", occurred_at=at, payload=payload)


def test_a_session_may_be_ended_by_an_event_that_says_what_is_pending(writer: psycopg.Connection) -> None:
    began = next_event(writer, kind="clip.requested", payload='{"clip_id":"c9"}')
    item = {"item_id": "c9", "since_sequence": began["sequence"], "type": "clip"}
    with pytest.raises(REFUSED, match="does not end a session"), writer.transaction():
        insert(writer, began, following(began, kind="session.ended", payload=ending(writer)["payload"]))
    insert(writer, began)
    insert(writer, ending(writer, pending=[item]))
    with pytest.raises(REFUSED, match="session has ended"):
        insert(writer, next_event(writer))


@pytest.mark.parametrize(
    "changes",
    [
        {"pending": _PENDING[:1]},
        {"pending": None},
        {"pending": {}},
        {"format": "indelible-session-end/2"},
        {"format": None},
        {"closes_by": None},
        {"closes_by": 0},
        {"closes_by": "tomorrow"},
        {"closes_by": "2026-11-22T15:00:00Z"},
        {"closes_by": "infinity"},
        {"wait": 59_999_999},
        {"wait": 604_800_000_001},
        {"wait": -1},
        {"ending": "finished"},
    ],
)
def test_an_end_of_a_session_that_says_anything_else_is_refused(
    writer: psycopg.Connection, changes: dict[str, Any]
) -> None:
    with pytest.raises(REFUSED, match="does not end a session"):
        insert(writer, ending(writer, **changes))


def test_the_operations_chain_does_not_end(writer: psycopg.Connection) -> None:
    with pytest.raises(REFUSED, match="does not end a session"):
        insert(writer, ending(writer, "operations"))


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("door.closed", {}),
        ("consent.withdrawn", {"recording_id": "r1"}),
        ("clip.preserved", {}),
        ("clip.preserved", {"clip_id": "c2"}),
        ("clip.requested", {"clip_id": "c2"}),
        ("clip.requested", {"clip_id": "c3"}),
        ("clip.preserved", {"clip_id": ["c1"]}),
        ("clip.preserved", {"clip_id": None}),
        ("clip.preserved", {"recording_id": "r1"}),
        ("recording.completed", {"recording_id": "c1"}),
        ("recordings.completed", {"recording_id": "r1"}),
        ("session.ended", {"format": "indelible-session-end/1", "pending": _PENDING}),
    ],
)
def test_nothing_but_processing_that_is_pending_follows_the_end_of_a_session(
    writer: psycopg.Connection, kind: str, payload: dict[str, Any]
) -> None:
    with pytest.raises(REFUSED, match=r"session has ended|does not end a session"):
        insert(writer, next_event(writer, "ended", kind=kind, payload=json.dumps(payload)))


def test_a_second_end_of_a_session_is_refused_however_well_formed(writer: psycopg.Connection) -> None:
    with pytest.raises(REFUSED, match="session has ended"):
        insert(writer, ending(writer, "ended", pending=_PENDING))


def test_an_item_is_pending_until_the_event_that_ends_it_also_within_a_statement(writer: psycopg.Connection) -> None:
    stored = next_event(writer, "ended", kind="recording.file_stored", payload='{"recording_id":"r1"}')
    done = following(stored, kind="recording.completed")
    with pytest.raises(REFUSED, match="session has ended"), writer.transaction():
        insert(writer, stored, done, following(done, kind="recording.file_stored"))
    with pytest.raises(REFUSED, match="session has ended"), writer.transaction():
        insert(writer, following(done, kind="recording.started"), stored, done)
    insert(writer, done, stored)
    size = done["sequence"]
    insert(writer, following(done, kind="chain.checkpointed", payload=checkpoint(tree_size=size)))
    with pytest.raises(REFUSED, match="session has ended"):
        insert(writer, next_event(writer, "ended", kind="recording.file_stored", payload='{"recording_id":"r1"}'))


@pytest.mark.parametrize(
    "changes",
    [
        {"unfinished": []},
        {"unfinished": _PENDING[:1]},
        {"unfinished": _PENDING[::-1]},
        {"unfinished": None},
        {"late": -1},
    ],
)
def test_a_closing_that_hides_what_is_unfinished_or_does_not_wait_for_it_is_refused(
    writer: psycopg.Connection, changes: dict[str, Any]
) -> None:
    with pytest.raises(REFUSED, match="a closing names what is unfinished"):
        insert(writer, closing(writer, **changes))


def test_a_closing_at_the_deadline_that_names_what_is_unfinished_is_taken(writer: psycopg.Connection) -> None:
    insert(writer, closing(writer))
    open_ends = "SELECT count(*) FROM indelible.session_ends WHERE organisation_id = 'acme' AND NOT closed"
    assert writer.execute(open_ends).fetchone() == (0,)


def test_a_chain_whose_session_goes_on_is_not_closed_over_what_is_pending(writer: psycopg.Connection) -> None:
    began = next_event(writer, kind="recording.started", payload='{"recording_id":"r9"}')
    insert(writer, began)
    with pytest.raises(REFUSED, match="a closing names what is unfinished"):
        insert(writer, closing(writer, "visit"))


# What may never be written any more, though a reader takes it for an ordinary event of an older chain.
_OF_OLDER_CHAINS = {
    "session.ended without the format is an ordinary event": 5,
    "session.ended of another format is an ordinary event": 5,
}


@pytest.fixture
def vector_chain(append_role: psycopg.Connection) -> int:
    """The chain of the vectors, without an event, in a transaction that is rolled back."""
    row = append_role.execute(
        """INSERT INTO indelible.chains (organisation_id, chain_id, type, subject, opened_at)
           VALUES ('acme', 'demo-1', 'session', '{"case":"A-17"}', now()) RETURNING chain_key"""
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    "case",
    # An operations chain of this name cannot be in the tables.
    [case for case in CASES if "operations" not in case["name"]],
    ids=lambda case: case["name"],
)
def test_the_database_refuses_the_event_at_which_the_vector_is_wrong(
    append_role: psycopg.Connection, vector_chain: int, case: dict[str, Any]
) -> None:
    refused_at = case["first_divergent_sequence"] or _OF_OLDER_CHAINS.get(case["name"])
    for line in case["lines"]:
        event = row_of(line, vector_chain)
        if event["sequence"] == refused_at:
            with pytest.raises(errors.IntegrityConstraintViolation):
                insert(append_role, event)
            return
        insert(append_role, event)
    assert refused_at is None


def test_the_database_finds_the_wrong_event_among_others_of_one_statement(
    append_role: psycopg.Connection, vector_chain: int
) -> None:
    (case,) = [case for case in CASES if case["name"] == "an ordinary event behind a result, before another"]
    events = [row_of(line, vector_chain) for line in case["lines"]]
    with pytest.raises(errors.IntegrityConstraintViolation, match="event 8 of chain"):
        insert(append_role, *events)


def row_of(line: str, chain_key: int) -> dict[str, Any]:
    """An event of a bundle as a row of the table."""
    event = json.loads(line)
    moment = datetime.fromisoformat(event["occurred_at"])
    return {
        "chain_key": chain_key,
        "sequence": event["sequence"],
        "occurred_at": (moment - _EPOCH) // timedelta(microseconds=1),
        "prev_hash": bytes.fromhex(event["prev_hash"]),
        "hash": bytes.fromhex(event["hash"]),
        "organisation_id": "acme",
        "kind": event["kind"],
        "payload": line.partition(',"payload":')[2].rpartition(',"prev_hash":')[0],
    }


_FORGED_STEP = """
INSERT INTO indelible.item_steps (chain_key, sequence, begins, organisation_id, type, item_id)
SELECT step.chain_key, step.sequence + 1, NOT step.begins, step.organisation_id, step.type, step.item_id
  FROM indelible.item_steps AS step WHERE step.organisation_id = 'acme' LIMIT 1
"""


@pytest.mark.parametrize(
    "command",
    [
        _FORGED_STEP,
        _FORGED_STEP.replace("step.sequence + 1", "step.sequence"),
        _FORGED_STEP.replace("NOT step.begins", "step.begins"),
        "UPDATE indelible.item_steps SET begins = false",
        "DELETE FROM indelible.item_steps",
        "TRUNCATE indelible.item_steps",
        """INSERT INTO indelible.session_ends (chain_key, sequence, ended_at, closes_by, organisation_id)
           SELECT chain_key, 2, 0, 1, 'acme' FROM indelible.chains WHERE chain_id = 'visit'""",
        """INSERT INTO indelible.session_ends (chain_key, sequence, ended_at, closes_by, organisation_id)
           SELECT chain_key, sequence, ended_at, closes_by + 1, 'acme' FROM indelible.session_ends
            WHERE organisation_id = 'acme'""",
        "UPDATE indelible.session_ends SET closed = true",
        "UPDATE indelible.session_ends SET closes_by = closes_by + 1",
        "UPDATE indelible.session_ends SET sequence = sequence + 100",
        "DELETE FROM indelible.session_ends",
        "TRUNCATE indelible.session_ends",
    ],
)
@pytest.mark.parametrize("attacker", ["runtime_role", "append_role", "worker_role", "owner", "superuser"])
def test_nobody_makes_something_pending_or_a_session_end_but_by_an_event(
    attack: Callable[[str], psycopg.Connection], attacker: str, command: str
) -> None:
    with pytest.raises(REFUSED):
        attack(attacker).execute(command.encode())


def test_what_the_tables_say_is_what_the_events_say(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        """SELECT step.sequence, step.begins, step.type, step.item_id FROM indelible.item_steps AS step
            JOIN indelible.chains AS chain USING (chain_key)
           WHERE chain.chain_id = 'ended' AND chain.organisation_id = 'acme' ORDER BY sequence"""
    ).fetchall()
    assert rows == [
        (2, True, "clip", "c1"),
        (3, True, "recording", "r1"),
        (4, True, "clip", "c2"),
        (5, False, "clip", "c2"),
    ]
