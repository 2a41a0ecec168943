"""What CheckChain says after somebody with the rights of an administrator has changed what is stored."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg
import pytest

from ledger.chain.event import Event, event_hash
from ledger.chain.merkle import merkle_root
from ledger.store import LedgerStore
from ledger.store.values import CheckResult, NewEvent
from sandbox.database import Database


async def chain(store: LedgerStore) -> list[Event]:
    """Seven events: opening, two, checkpoint, one sealed, one, closing."""
    await store.open_chain("acme", "gate", b'{"case":"A-17"}')
    plain = NewEvent(kind="door.opened", payload='{"door":"né"}'.encode())
    await store.append_events("acme", "gate", [plain, plain], "one")
    await store.checkpoint_chain("acme", "gate")
    sealed = NewEvent(kind="person.seen", payload=b'{"name":"Ann"}', sealed_members=("name",))
    await store.append_events("acme", "gate", [sealed, plain], "two")
    await store.close_chain("acme", "gate")
    return await store.list_events("acme", "gate", from_sequence=1, limit=10)


@contextmanager
def without_guards(database: Database) -> Iterator[psycopg.Connection]:
    """An administrator's connection with every trigger of the record switched off meanwhile."""
    tables = ("events", "chains", "anchor_jobs")
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        for table in tables:
            connection.execute(f"ALTER TABLE indelible.{table} DISABLE TRIGGER ALL".encode())
        yield connection
        for table in tables:
            connection.execute(f"ALTER TABLE indelible.{table} ENABLE TRIGGER ALL".encode())


def write(connection: psycopg.Connection, event: Event) -> None:
    connection.execute(
        "UPDATE indelible.events SET payload = %s, kind = %s, occurred_at = %s, prev_hash = %s, hash = %s"
        " WHERE sequence = %s AND chain_key = (SELECT chain_key FROM indelible.chains WHERE chain_id = 'gate')",
        (event.payload, event.kind, event.occurred_at_us, event.prev_hash, event.hash, event.sequence),
    )


def rehashed(event: Event) -> Event:
    computed = event_hash(
        sequence=event.sequence,
        prev_hash=event.prev_hash,
        kind=event.kind.encode(),
        payload=event.payload.encode(),
        occurred_at_us=event.occurred_at_us,
    )
    return replace(event, hash=computed)


def relinked(events: list[Event]) -> list[Event]:
    """The chain with every hash computed again, roots left as they are."""
    linked: list[Event] = []
    for event in events:
        before = linked[-1].hash if linked else bytes(32)
        linked.append(rehashed(replace(event, prev_hash=before)))
    return linked


async def test_an_untouched_chain_is_whole(store: LedgerStore) -> None:
    events = await chain(store)
    assert await store.check_chain("acme", "gate") == CheckResult(
        ok=True, event_count=7, head=events[-1].hash, first_divergent_sequence=None, divergence=""
    )
    assert (await store.check_chain("acme", "operations")).ok


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One event as it was, one as it is after, and what is to be said of it."""

    sequence: int
    change: Callable[[Event], Event]
    said: str


DAMAGES = {
    "a changed payload": Damage(
        sequence=2, change=lambda event: replace(event, payload='{"door":"ne"}'), said="the stored hash is not"
    ),
    "a changed kind": Damage(
        sequence=3, change=lambda event: replace(event, kind="door.shut"), said="the stored hash is not"
    ),
    "a changed time": Damage(
        sequence=6,
        change=lambda event: replace(event, occurred_at_us=event.occurred_at_us + 1),
        said="the stored hash is not",
    ),
    "a changed hash": Damage(sequence=5, change=lambda event: replace(event, hash=bytes(32)), said="the stored hash"),
    "a changed link": Damage(
        sequence=5, change=lambda event: replace(event, prev_hash=bytes(31) + b"x"), said="prev_hash"
    ),
    "another spelling of a payload, with its hash": Damage(
        sequence=2, change=lambda event: rehashed(replace(event, payload='{ "door":"né"}')), said="canonical form"
    ),
    "a payload with a repeated name, with its hash": Damage(
        sequence=2, change=lambda event: rehashed(replace(event, payload='{"door":1,"door":1}')), said="twice"
    ),
    "an event dated before the one before it, with its hash": Damage(
        sequence=3,
        change=lambda event: rehashed(replace(event, occurred_at_us=event.occurred_at_us - 10**12)),
        said="dated before",
    ),
    "a second opening, with its hash": Damage(
        sequence=3, change=lambda event: rehashed(replace(event, kind="chain.opened")), said="first event and no other"
    ),
    "a reserved kind that does not exist, with its hash": Damage(
        sequence=3, change=lambda event: rehashed(replace(event, kind="chain.paused")), said="reserved"
    ),
    "a malformed kind, with its hash": Damage(
        sequence=3, change=lambda event: rehashed(replace(event, kind="Door")), said="malformed"
    ),
    "a checkpoint of another size, with its hash": Damage(
        sequence=4,
        change=lambda event: rehashed(replace(event, payload=event.payload.replace('"tree_size":3', '"tree_size":2'))),
        said="covers 2 events, but 3",
    ),
    "a checkpoint of another root, with its hash": Damage(
        sequence=7,
        change=lambda event: rehashed(
            replace(event, payload=event.payload.replace(json.loads(event.payload)["merkle_root"], "0" * 64))
        ),
        said="Merkle root",
    ),
    "an opening that names another organisation, with its hash": Damage(
        sequence=1,
        change=lambda event: rehashed(replace(event, payload=event.payload.replace('"id":"acme"', '"id":"zenith"'))),
        said="names another",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_is_found_where_it_is(store: LedgerStore, database: Database, name: str) -> None:
    damage = DAMAGES[name]
    events = await chain(store)
    with without_guards(database) as administrator:
        changed = damage.change(events[damage.sequence - 1])
        assert changed != events[damage.sequence - 1]
        write(administrator, changed)
    result = await store.check_chain("acme", "gate")
    assert (result.ok, result.first_divergent_sequence) == (False, damage.sequence)
    assert damage.said in result.divergence
    assert result.event_count == damage.sequence - 1
    assert result.head == (events[damage.sequence - 2].hash if damage.sequence > 1 else bytes(32))


async def test_a_removed_event_is_missed(store: LedgerStore, database: Database) -> None:
    await chain(store)
    with without_guards(database) as administrator:
        administrator.execute("DELETE FROM indelible.events WHERE sequence = 3 AND kind = 'door.opened'")
    result = await store.check_chain("acme", "gate")
    assert result.first_divergent_sequence == 3
    assert "missing" in result.divergence


async def test_a_chain_computed_anew_still_disagrees_with_its_checkpoints(
    store: LedgerStore, database: Database
) -> None:
    events = await chain(store)
    events[1] = replace(events[1], payload='{"door":"forged"}')
    with without_guards(database) as administrator:
        for event in relinked(events):
            write(administrator, event)
    result = await store.check_chain("acme", "gate")
    assert (result.first_divergent_sequence, "Merkle root" in result.divergence) == (4, True)


async def test_a_perfect_forgery_disagrees_with_what_was_to_be_anchored(store: LedgerStore, database: Database) -> None:
    events = await chain(store)
    events[1] = replace(events[1], payload='{"door":"forged"}')
    for number in (3, 6):
        before = relinked(events[:number])
        stated = json.loads(events[number].payload)["merkle_root"]
        root = merkle_root(event.hash for event in before).hex()
        events[number] = replace(events[number], payload=events[number].payload.replace(stated, root))
    with without_guards(database) as administrator:
        for event in relinked(events):
            write(administrator, event)
    result = await store.check_chain("acme", "gate")
    assert (result.ok, result.first_divergent_sequence) == (False, 4)
    assert "anchor" in result.divergence


async def test_an_event_after_the_closing_is_found(store: LedgerStore, database: Database) -> None:
    last = (await chain(store))[-1]
    extra = rehashed(replace(last, sequence=8, prev_hash=last.hash, kind="door.opened", payload="{}"))
    with without_guards(database) as administrator:
        administrator.execute(
            "INSERT INTO indelible.events (chain_key, organisation_id, sequence, prev_hash, hash, kind, payload,"
            " occurred_at) SELECT chain_key, 'acme', %s, %s, %s, %s, %s, %s"
            "   FROM indelible.chains WHERE chain_id = 'gate'",
            (extra.sequence, extra.prev_hash, extra.hash, extra.kind, extra.payload, extra.occurred_at_us),
        )
    result = await store.check_chain("acme", "gate")
    assert (result.ok, result.first_divergent_sequence) == (False, 8)
    assert "closed" in result.divergence
