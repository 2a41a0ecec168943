"""A list of events that begins in the middle of its chain."""

from collections.abc import Iterator

import grpc
import pytest
from indelible.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from ledger.client import NewEvent
from ledger.service.chains import MAX_SEQUENCE
from tests.service.serving import Service

CHAIN = "read-from"


@pytest.fixture(scope="module")
def stub(service: Service) -> Iterator[ledger_pb2_grpc.LedgerServiceStub]:
    with service.blocking_client() as client:
        client.open_chain(CHAIN)
        client.append_events(CHAIN, [NewEvent(kind=f"thing.k{n % 2}", payload={"n": n}) for n in range(9)])
    with service.stub() as stub:
        yield stub


def listed(stub: ledger_pb2_grpc.LedgerServiceStub, service: Service, **asked: object) -> list[int]:
    request = ledger_pb2.ListEventsRequest(chain_id=CHAIN, **asked)  # type: ignore[arg-type]  # hostile values too
    return [event.sequence for event in stub.ListEvents(request, metadata=service.headers()).events]


def test_a_page_begins_with_the_event_that_was_asked_for(
    stub: ledger_pb2_grpc.LedgerServiceStub, service: Service
) -> None:
    assert listed(stub, service, from_sequence=5, page_size=1) == [5]
    assert listed(stub, service, from_sequence=5, page_size=2, kinds=["thing.k0"]) == [6, 8]
    assert listed(stub, service, from_sequence=0, page_size=1) == [1]
    assert listed(stub, service, from_sequence=11) == []
    assert listed(stub, service, from_sequence=MAX_SEQUENCE) == []


def test_the_second_page_goes_on_where_the_first_ended(
    stub: ledger_pb2_grpc.LedgerServiceStub, service: Service
) -> None:
    request = ledger_pb2.ListEventsRequest(chain_id=CHAIN, from_sequence=4, page_size=3)
    request.page_token = stub.ListEvents(request, metadata=service.headers()).next_page_token
    assert [event.sequence for event in stub.ListEvents(request, metadata=service.headers()).events] == [7, 8, 9]


@pytest.mark.parametrize("sequence", [MAX_SEQUENCE + 1, 2**63, 2**64 - 1])
def test_a_sequence_that_no_chain_can_have_is_refused(
    stub: ledger_pb2_grpc.LedgerServiceStub, service: Service, sequence: int
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        listed(stub, service, from_sequence=sequence)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
