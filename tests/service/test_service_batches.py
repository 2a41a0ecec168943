import secrets
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from indelible.ledger.v1 import ledger_pb2

from ledger.chain.receipt import ReceiptVerifier
from ledger.service.appends import MAX_BATCH_APPENDS
from tests.service.calling import Refusal, call_on, refused
from tests.service.serving import Service


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
