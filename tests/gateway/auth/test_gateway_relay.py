"""Decisions on their way to the operations chain: all of them, each once, whatever dies in between."""

import asyncio
import json
import secrets
import signal
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from gateway.auth.actions import Action
from gateway.auth.relay import LEASE, MAX_BATCH, RelayMetrics, count, relay_once, trim
from gateway.auth.values import Resource
from gateway.problems import Problem
from ledger.client import Event, LedgerClient
from ledger.database.connections import make_pool
from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.processes import Process, find_program
from tests.gateway.auth.bench import GATEWAY_ISSUER, Bench, caller_of, gateway_bench, roles_of, settings_of
from tests.service.serving import Service, running_service

CLIP = Resource.clip("acme", "01a203b6-bab2-7325-92e8-44db8ada30f3", camera="gate-1")
# What a killed worker had in hand is left alone for so long.
RELAY_SECONDS = LEASE.total_seconds() + 30


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("relay")


@pytest.fixture(scope="module")
def relaying(place: Path, module_database: Database, issuer: Issuer) -> Iterator[Bench]:
    with gateway_bench(place, module_database, issuer) as made:
        yield made


@pytest.fixture(scope="module")
def ledger(place: Path, relaying: Bench, module_database: Database, issuer: Issuer) -> Iterator[Service]:
    trust = {"INDELIBLE_GATEWAY_ISSUER": GATEWAY_ISSUER, "INDELIBLE_GATEWAY_JWKS": str(relaying.jwks)}
    directory = place / "ledger"
    directory.mkdir()
    with running_service(directory, module_database, issuer, trust) as running:
        yield running


def start_worker(bench: Bench, ledger: Service) -> Process:
    environment = {
        **settings_of(bench.database, bench.issuer, bench.keys),
        "INDELIBLE_GATEWAY_WORKER_DSN": bench.database.gateway_worker_dsn,
        "INDELIBLE_LEDGER": ledger.address,
    }
    arguments = (find_program("indelible"), "gateway", "worker")
    return Process("the worker", arguments, log=bench.keys.parent / "worker.log", env=environment, stop_seconds=20)


def relay(bench: Bench, ledger: Service) -> None:
    """Relay in this process until nothing is due."""

    async def run() -> None:
        pool = make_pool(bench.database.gateway_worker_dsn, "relay", size=2, check=False)
        await pool.open()
        clients: list[LedgerClient] = []

        def ledger_of(organisation_id: str, subject: str, scopes: Collection[str]) -> LedgerClient:
            token = bench.parts.passes.token(organisation_id, subject, scopes)
            clients.append(LedgerClient(ledger.address, token=token, timeout_seconds=10))
            return clients[-1]

        while await relay_once(pool, ledger_of):
            pass
        for client in clients:
            await client.close()
        await pool.close()

    asyncio.run(run())


def decide(bench: Bench, count: int, organisation_id: str = "acme") -> list[str]:
    """Make so many decisions; their request ids."""
    names = [f"{secrets.token_hex(4)}-{number}" for number in range(count)]
    resource = Resource.clip(organisation_id, CLIP.id, camera="gate-1")
    for name in names:
        caller = caller_of(organisation_id, roles=roles_of("investigator"), request_id=name)
        bench.parts.access.authorise(caller, Action.CLIP_VIEW, resource)
    return names


def told(ledger: Service, organisation_id: str = "acme") -> list[Event]:
    """The decisions on the operations chain."""
    with ledger.blocking_client(organisation_id) as client:
        return list(client.list_events("operations", kinds=["access.decided"]))


def leave_nothing_in_dead_hands(bench: Bench) -> None:
    """What a dead worker had in hand is left alone for a minute; as a rule nobody waits for that here."""
    with psycopg.connect(bench.database.admin_dsn) as connection:
        connection.execute("UPDATE gateway.decisions SET next_attempt_at = now() WHERE sent_at IS NULL")


def wait_for_all(bench: Bench) -> None:
    deadline = time.monotonic() + RELAY_SECONDS
    with psycopg.connect(bench.database.admin_dsn, autocommit=True) as connection:
        while connection.execute("SELECT count(*) FROM gateway.decisions WHERE sent_at IS NULL").fetchone() != (0,):
            assert time.monotonic() < deadline, connection.execute("SELECT * FROM gateway.decisions").fetchall()
            time.sleep(0.1)


def request_ids(events: list[Event]) -> list[str]:
    return [json.loads(event.payload)["request_id"] for event in events]


def test_a_decision_is_on_the_operations_chain_of_its_organisation(relaying: Bench, ledger: Service) -> None:
    caller = caller_of(roles=roles_of("observer"), request_id="r-told")
    with pytest.raises(Problem):
        relaying.parts.access.authorise(caller, Action.CLIP_DOWNLOAD, CLIP)
    (other,) = decide(relaying, 1, "other")
    relay(relaying, ledger)
    payload = next(
        payload for event in told(ledger) if (payload := json.loads(event.payload))["request_id"] == "r-told"
    )
    assert payload.pop("decision_id") > 0
    assert abs(payload.pop("decided_at") / 1e6 - time.time()) < 120
    assert payload == {
        "action": "clip.download",
        "outcome": "denied",
        "policies": [],
        "request_id": "r-told",
        "resource": {"kind": "Clip", "id": CLIP.id},
        "subject": "ann",
    }
    assert request_ids(told(ledger, "other")) == [other]
    assert other not in request_ids(told(ledger))


def test_many_decisions_go_in_one_append_and_in_order(relaying: Bench, ledger: Service) -> None:
    names = decide(relaying, 60)
    relay(relaying, ledger)
    assert [name for name in request_ids(told(ledger)) if name in set(names)] == names
    query = "SELECT count(DISTINCT batch_id) FROM gateway.decisions WHERE request_id = ANY(%s)"
    with psycopg.connect(relaying.database.admin_dsn) as connection:
        assert connection.execute(query, (names,)).fetchone() == (1,)
    assert len(names) < MAX_BATCH


def test_a_batch_whose_answer_was_lost_is_told_once(relaying: Bench, ledger: Service) -> None:
    """As after a death between the append and the mark; more decisions have come meanwhile."""
    names = decide(relaying, 5)
    relay(relaying, ledger)
    with psycopg.connect(relaying.database.admin_dsn) as connection:
        forgotten = connection.execute(
            "UPDATE gateway.decisions SET sent_at = NULL, next_attempt_at = now() WHERE request_id = ANY(%s)", (names,)
        )
        assert forgotten.rowcount == 5
    names += decide(relaying, 5)
    relay(relaying, ledger)
    assert [name for name in request_ids(told(ledger)) if name in set(names)] == names


def test_workers_that_are_killed_again_and_again_lose_nothing_and_tell_nothing_twice(
    relaying: Bench, ledger: Service
) -> None:
    names: list[str] = []
    process = start_worker(relaying, ledger)
    for _ in range(2):
        leave_nothing_in_dead_hands(relaying)
        wait_for_all(relaying)
        names += decide(relaying, 15)
        process.signal(signal.SIGKILL)
        process.wait(10)
        process = start_worker(relaying, ledger)
    names += decide(relaying, 15)
    leave_nothing_in_dead_hands(relaying)
    wait_for_all(relaying)
    process.stop()
    assert process.exit_code == 0, process.tail()
    assert sorted(name for name in request_ids(told(ledger)) if name in set(names)) == sorted(names)


def test_an_organisation_the_ledger_does_not_know_holds_up_no_other(relaying: Bench, ledger: Service) -> None:
    decide(relaying, 1, "unknown-to-the-ledger")
    (known,) = decide(relaying, 1)
    relay(relaying, ledger)
    assert known in request_ids(told(ledger))
    query = "SELECT attempts, sent_at FROM gateway.decisions WHERE organisation_id = 'unknown-to-the-ledger'"
    with psycopg.connect(relaying.database.admin_dsn) as connection:
        assert connection.execute(query).fetchall() == [(1, None)], "it is tried again later, and kept meanwhile"
        connection.execute("ALTER TABLE gateway.decisions DISABLE TRIGGER guard_decision")
        connection.execute("DELETE FROM gateway.decisions WHERE organisation_id = 'unknown-to-the-ledger'")
        connection.execute("ALTER TABLE gateway.decisions ENABLE ALWAYS TRIGGER guard_decision")


def test_hostile_names_reach_the_chain_and_block_nothing(relaying: Bench, ledger: Service) -> None:
    hostile = ("\x00\x01\x1f", "\ud800x", "\uffff\ufffe", "\N{PILE OF POO}" * 256, '"\\', " ", "")
    asked = []
    for name in hostile:
        asked.append(f"hostile-{secrets.token_hex(6)}")
        with pytest.raises(Problem):
            relaying.parts.access.authorise(
                caller_of(request_id=asked[-1]), Action.SESSION_VIEW, Resource.session("acme", name)
            )
    relay(relaying, ledger)
    assert set(asked) <= set(request_ids(told(ledger)))


def test_what_the_ledger_has_is_removed_after_a_week_and_nothing_else(
    relaying: Bench, ledger: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However much that is: a busy gateway decides more in five minutes than is removed at once.
    monkeypatch.setattr("gateway.auth.relay.MAX_TRIMMED", 1)
    decide(relaying, 3)
    relay(relaying, ledger)
    (waiting,) = decide(relaying, 1)
    with psycopg.connect(relaying.database.admin_dsn, autocommit=True) as connection:
        connection.execute("UPDATE gateway.decisions SET sent_at = sent_at - interval '8 days'")
        (recent,) = decide(relaying, 1)
        relay(relaying, ledger)

        registry = CollectorRegistry()

        async def run() -> None:
            pool = make_pool(relaying.database.gateway_worker_dsn, "trim", size=1, check=False)
            await pool.open()
            await trim(pool)
            decide(relaying, 1)
            await count(pool, RelayMetrics(registry))
            await pool.close()

        asyncio.run(run())
        assert registry.get_sample_value("indelible_decisions_waiting") == 1
        assert 0 <= (registry.get_sample_value("indelible_decisions_oldest_waiting_seconds") or 0) < 60
        kept = connection.execute("SELECT request_id FROM gateway.decisions ORDER BY decision_id").fetchall()
    assert kept[:2] == [(waiting,), (recent,)]
    assert len(kept) == 3


def test_nobody_else_can_write_what_was_decided(ledger: Service, relaying: Bench) -> None:
    from ledger.client import BlockingLedgerClient, ClientError

    own = relaying.parts.passes.token("acme", "ann", ["ledger:append"])
    for token in (relaying.issuer.mint("acme"), own):
        with (
            BlockingLedgerClient(ledger.address, token=token) as client,
            pytest.raises(ClientError, match="ledger:decisions"),
        ):
            client.append_event("operations", "access.decided", {"outcome": "allowed"})


def test_the_ledger_takes_the_gateways_tokens_for_their_scopes_and_never_a_machines(
    ledger: Service, relaying: Bench
) -> None:
    from gateway.auth.credentials import create_credential
    from ledger.client import BlockingLedgerClient, ClientError

    narrow = relaying.parts.passes.token("acme", "ann", ["ledger:read"])
    with BlockingLedgerClient(ledger.address, token=narrow) as client:
        assert client.get_chain("operations").organisation_id == "acme"
        with pytest.raises(ClientError, match="ledger:append"):
            client.append_event("operations", "a.b", {})
    evidence = relaying.parts.passes.token("acme", "ann", ["ledger:append", "ledger:evidence"])
    with (
        BlockingLedgerClient(ledger.address, token=evidence) as client,
        pytest.raises(ClientError, match="ledger:evidence"),
    ):
        client.append_event("operations", "clip.preserved", {})
    made = create_credential(
        relaying.parts,
        caller_of(roles=roles_of("org_admin")),
        name="machine",
        roles=["org_admin"],
        scopes=["ledger:read"],
    )
    answer = relaying.ask_token(made.client_id, made.client_secret).json
    assert answer is not None
    with (
        BlockingLedgerClient(ledger.address, token=answer["access_token"]) as client,
        pytest.raises(ClientError, match="UNAUTHENTICATED"),
    ):
        client.get_chain("operations")
