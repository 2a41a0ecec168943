"""A database with chains on it, and everyone who might attack it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ledger.store import LedgerStore
from ledger.store.values import Evidence, NewEvent
from sandbox.database import Database
from tests.store.conftest import TARGETS, open_store, register

# Of the ended chain: clip "c1" and recording "r1" are pending, clip "c2" is done.
PROCESSING = [
    NewEvent(kind="clip.requested", payload=b'{"clip_id":"c1"}'),
    NewEvent(kind="recording.started", payload=b'{"recording_id":"r1"}'),
    NewEvent(kind="clip.requested", payload=b'{"clip_id":"c2"}'),
    NewEvent(kind="clip.preserved", payload=b'{"clip_id":"c2"}'),
]


@pytest.fixture(scope="module")
def attacked(module_database: Database) -> Database:
    """A database with an open, an ended and a closed chain of acme's, and a row of zenith's in every table."""

    async def fill() -> None:
        store = await open_store(module_database)
        for organisation, chain in (("acme", "visit"), ("acme", "closed"), ("zenith", "visit")):
            await store.open_chain(organisation, chain, b"{}")
            await store.append_events(organisation, chain, [NewEvent(kind="door.opened", payload=b"{}")] * 3, "one")
        await fill_every_table(store, "zenith")
        for organisation in ("acme", "zenith"):
            await store.open_chain(organisation, "ended", b"{}")
            await store.append_events(organisation, "ended", PROCESSING, "one")
            await store.end_session(organisation, "ended", wait_seconds=60)
        await store.close_chain("acme", "closed")
        await store.close()

    register(module_database)
    asyncio.run(fill())
    return module_database


async def fill_every_table(store: LedgerStore, organisation: str) -> None:
    """Disclosures, anchors with evidence, jobs that wait, and a link that was revoked."""
    sealed = NewEvent(kind="person.seen", payload=b'{"name":"Ann"}', sealed_members=("name",))
    await store.append_events(organisation, "visit", [sealed], "sealed")
    await store.checkpoint_chain(organisation, "visit")
    [job] = await store.lease_anchor_jobs(owner="test", lease=timedelta(minutes=1), limit=1, authorities=TARGETS[:1])
    evidence = [Evidence(kind="crl", der=b"crl")]
    now = datetime.now(UTC)
    await store.complete_anchor_job(job, request=b"asked", response=b"answer", anchored_at=now, evidence=evidence)
    link = await store.create_verify_link(organisation, "visit", now + timedelta(days=1), "ann")
    await store.revoke_verify_link(organisation, link.link_id, "bob")


# How each attacker connects, and what it sets. Ordinary triggers do not fire for a superuser who plays a replica.
ATTACKERS = {
    "runtime_role": ("runtime_dsn", ""),
    "append_role": ("append_dsn", ""),
    "worker_role": ("worker_dsn", ""),
    "owner": ("admin_dsn", "SET ROLE indelible_owner"),
    "superuser": ("admin_dsn", "SET session_replication_role = replica"),
}


@pytest.fixture(scope="module")
def sessions(attacked: Database) -> Iterator[dict[str, psycopg.Connection]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(psycopg.connect(getattr(attacked, dsn))) for name, (dsn, _) in ATTACKERS.items()
        }


@pytest.fixture
def attack(sessions: dict[str, psycopg.Connection]) -> Iterator[Callable[[str], psycopg.Connection]]:
    """The connection of an attacker, in a transaction that is rolled back after the test."""
    with ExitStack() as stack:

        def begin(attacker: str) -> psycopg.Connection:
            connection = sessions[attacker]
            stack.callback(connection.rollback)
            connection.execute(b"SET LOCAL indelible.organisation = 'acme';" + prelude(attacker))
            return connection

        yield begin


def prelude(attacker: str) -> bytes:
    return ATTACKERS[attacker][1].replace("SET ", "SET LOCAL ").encode()


@pytest.fixture
def append_role(attack: Callable[[str], psycopg.Connection]) -> psycopg.Connection:
    return attack("append_role")


@pytest.fixture
def owner(attack: Callable[[str], psycopg.Connection]) -> psycopg.Connection:
    return attack("owner")


@pytest.fixture
def superuser(attack: Callable[[str], psycopg.Connection]) -> psycopg.Connection:
    return attack("superuser")


@pytest.fixture(params=["append_role", "owner", "superuser"])
def writer(request: pytest.FixtureRequest, attack: Callable[[str], psycopg.Connection]) -> psycopg.Connection:
    """Whoever may INSERT at all."""
    return attack(request.param)
