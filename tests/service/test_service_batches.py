import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from indelible.ledger.v1 import ledger_pb2

from gateway.calls.line import CALL_SECONDS
from ledger.chain.receipt import ReceiptVerifier
from ledger.identity import Caller
from ledger.service import appends
from ledger.service.appends import MAX_BATCH_APPENDS, MAX_BATCH_SECONDS, Appends
from ledger.serving.calls import MAX_UNARY_SECONDS
from ledger.telemetry import Metrics
from sandbox.database import Database
from tests.service.calling import Refusal, call_on, refused
from tests.service.serving import ORGANISATION, Service
from tests.store.conftest import open_store, register


@pytest.fixture(scope="module")
def channel(service: Service) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(service.address) as opened:
        yield opened


@pytest.fixture
def chains(service: Service) -> list[str]:
    """Three chains of one test, with nothing on them yet but their opening."""
    names = [f"{secrets.token_hex(8)}-{number}" for number in range(3)]
    with service.blocking_client() as client:
        for name in names:
            client.open_chain(name)
    return names


def append(chain_id: str, number: int = 0, **fields: Any) -> ledger_pb2.AppendEventsRequest:
    given = {
        "events": [{"kind": "door.opened", "payload": b'{"number":%d}' % number}],
        "idempotency_key": secrets.token_hex(8),
        **fields,
    }
    return ledger_pb2.AppendEventsRequest(chain_id=chain_id, **given)


def outcomes_of(
    service: Service, channel: grpc.Channel, *requests: ledger_pb2.AppendEventsRequest
) -> list[ledger_pb2.AppendOutcome]:
    batch = ledger_pb2.BatchAppendEventsRequest(requests=requests)
    answer = call_on(channel, "BatchAppendEvents", batch, service.headers())
    assert not isinstance(answer, Refusal), answer
    assert len(answer[0].outcomes) == len(requests)
    return list(answer[0].outcomes)


def test_each_append_of_a_batch_gets_its_own_receipt_in_the_order_of_the_requests(
    service: Service, channel: grpc.Channel, chains: list[str]
) -> None:
    outcomes = outcomes_of(service, channel, *(append(chain, number) for number, chain in enumerate(chains)))
    assert [outcome.receipt.chain_id for outcome in outcomes] == chains
    verifier = ReceiptVerifier(service.receipt_key)
    for chain, outcome in zip(chains, outcomes, strict=True):
        stated = verifier.verify(outcome.receipt.signed_note)
        assert (stated.chain_id, stated.sequence, stated.hash) == (chain, 2, outcome.receipt.event_hashes[0])


def test_appends_of_a_batch_to_one_chain_are_applied_in_their_order(
    service: Service, channel: grpc.Channel, chains: list[str]
) -> None:
    requests = [append(chains[0], number, expected_sequence=number + 2) for number in range(MAX_BATCH_APPENDS)]
    # One that takes the service longer to read than those behind it.
    requests[0].events[0].payload = b'{"number":0, "filler":"' + b"x" * 200_000 + b'"}'
    outcomes = outcomes_of(service, channel, *requests)
    assert [outcome.receipt.first_sequence for outcome in outcomes] == list(range(2, MAX_BATCH_APPENDS + 2))


def test_a_refused_append_takes_nothing_from_those_beside_it(
    service: Service, channel: grpc.Channel, chains: list[str]
) -> None:
    with service.blocking_client() as client:
        client.close_chain(chains[2])
    outcomes = outcomes_of(
        service,
        channel,
        append(chains[0]),
        append(chains[0], events=[]),
        append("not-there"),
        append(chains[1], expected_sequence=9),
        append(chains[1], events=[{"kind": "door.opened", "payload": b"{"}]),
        append(chains[2]),
        append(chains[1]),
    )
    reasons = [outcome.error.reason if outcome.HasField("error") else "" for outcome in outcomes]
    assert reasons == [
        *("", "INVALID_ARGUMENT", "CHAIN_NOT_FOUND", "SEQUENCE_MISMATCH"),
        *("INVALID_PAYLOAD", "CHAIN_CLOSED", ""),
    ]
    assert outcomes[2].error.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert outcomes[3].error.metadata["actual_sequence"] == "2"
    with service.blocking_client() as client:
        assert [client.get_chain(chain).event_count for chain in chains] == [2, 2, 2]


def test_a_key_that_comes_twice_in_a_batch_means_one_append_and_other_content_is_refused(
    service: Service, channel: grpc.Channel, chains: list[str]
) -> None:
    once = append(chains[0], 1, idempotency_key="once")
    first, again, other = outcomes_of(service, channel, once, once, append(chains[0], 2, idempotency_key="once"))
    assert (first.receipt.replayed, again.receipt.replayed) == (False, True)
    assert again.receipt.signed_note == first.receipt.signed_note
    assert other.error.reason == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize("count", [0, MAX_BATCH_APPENDS + 1, 1_000])
def test_a_batch_of_none_or_too_many_is_refused_as_a_whole(
    service: Service, channel: grpc.Channel, chains: list[str], count: int
) -> None:
    batch = ledger_pb2.BatchAppendEventsRequest(requests=[append(chains[0], number) for number in range(count)])
    refusal = refused(call_on(channel, "BatchAppendEvents", batch, service.headers()))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert refusal.metadata == {"field": "requests"}
    assert f"1 to {MAX_BATCH_APPENDS} appends, not {count}" in refusal.message
    with service.blocking_client() as client:
        assert client.get_chain(chains[0]).event_count == 1


async def test_an_append_that_takes_too_long_does_not_hold_up_the_answers_to_those_beside_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appends, "MAX_BATCH_SECONDS", 0.75)
    await asyncio.to_thread(register, database)
    store = await open_store(database)
    caller = Caller(organisation_id="acme", subject="ann", scopes=frozenset(), expires_at=0)
    batch = ledger_pb2.BatchAppendEventsRequest(requests=[append("held"), append("free")])
    try:
        for chain_id in ("held", "free"):
            await store.open_chain("acme", chain_id, b"{}")
        serving = Appends(store, Metrics(), asyncio.Event())
        async with store._turns.of("acme", "held"), asyncio.timeout(MAX_UNARY_SECONDS / 2):
            held, free = (await serving.batch_append_events(batch, caller)).outcomes
        assert (held.error.code, held.error.reason) == (grpc.StatusCode.UNAVAILABLE.value[0], "DATABASE_UNAVAILABLE")
        assert free.receipt.first_sequence == 2
        # Whoever repeats it with its key gets it appended, once.
        batch = ledger_pb2.BatchAppendEventsRequest(requests=[batch.requests[0]] * 2)
        again, twice = (await serving.batch_append_events(batch, caller)).outcomes
        assert [(one.receipt.first_sequence, one.receipt.replayed) for one in (again, twice)] == [(2, False), (2, True)]
    finally:
        await store.close()


def test_a_batch_is_answered_before_the_gateway_gives_it_up() -> None:
    assert MAX_BATCH_SECONDS + 1 < CALL_SECONDS


def test_appends_of_a_batch_that_are_refused_are_logged_and_counted(
    service: Service, channel: grpc.Channel, chains: list[str]
) -> None:
    somebody = secrets.token_hex(8)
    token = service.issuer.mint(ORGANISATION, scopes=["ledger:append"], subject=somebody)
    events = [{"kind": "clip.preserved", "payload": b"{}"}]
    batch = ledger_pb2.BatchAppendEventsRequest(requests=[append(chains[0]), append(chains[0], events=events)])
    call_on(channel, "BatchAppendEvents", batch, service.headers(token))
    (line,) = [line for line in service.log_lines() if line.get("subject") == somebody]
    assert (line["event"], line["organisation_id"]) == ("append_refused", ORGANISATION)
    assert line["reason"] == "PERMISSION_DENIED"
    assert 'indelible_joint_appends_total{reason="PERMISSION_DENIED"} 1.0' in service.metrics()
