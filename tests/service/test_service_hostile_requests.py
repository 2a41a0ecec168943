import base64
import json
import random
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from indelible.ledger.v1 import ledger_pb2

from ledger.client import NewEvent
from ledger.errors import Reason
from ledger.service.errors import CODES
from ledger.service.handlers import SERVICE
from ledger.serving.paging import read_page_token, write_page_token
from ledger.serving.server import MAX_MESSAGE_BYTES
from tests.service.calling import JOINT, METHODS, Refusal, call_on, refused, refused_append, request_of
from tests.service.serving import Service

MANY_EVENTS = 150
ABOUT_A_CHAIN = [method for method in METHODS if "chain_id" in str(request_of(method, chain_id="x"))]


@pytest.fixture(scope="module")
def channel(service: Service) -> Iterator[grpc.Channel]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(service.address, options=options) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def chains(service: Service) -> None:
    with service.blocking_client() as client:
        for number in range(5):
            client.open_chain(f"paged-{number}", {"number": number})
        client.append_events(
            "paged-0",
            [
                NewEvent(kind="door.opened" if number % 2 else "door.closed", payload={"n": number})
                for number in range(MANY_EVENTS)
            ],
        )
        client.open_chain("sealed-for-ever")
        client.close_chain("sealed-for-ever")


def append(**fields: Any) -> ledger_pb2.AppendEventsRequest:
    given = {
        "chain_id": "paged-1",
        "events": [{"kind": "door.opened", "payload": b'{"door":1}'}],
        "idempotency_key": random.randbytes(8).hex(),
        **fields,
    }
    return ledger_pb2.AppendEventsRequest(**given)


def one(payload: bytes = b"{}", kind: str = "door.opened", sealed: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    return [{"kind": kind, "payload": payload, "sealed_members": sealed}]


def test_every_reason_has_a_status_code() -> None:
    assert set(CODES) == set(Reason)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff", b"\x00" * 100, random.Random(7).randbytes(500)], ids=repr)
def test_bytes_that_are_no_message_are_refused_in_plain_words(
    service: Service, channel: grpc.Channel, method: str, data: bytes
) -> None:
    answer = refused(call_on(channel, method, data, service.headers()))
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_request_gets_an_answer_or_a_refusal_but_never_an_internal_error(
    service: Service, channel: grpc.Channel, method: str
) -> None:
    answer = call_on(channel, method, b"", service.headers())
    if isinstance(answer, Refusal):
        assert answer.code not in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}
        assert answer.reason


@pytest.mark.parametrize(
    "chain_id",
    ["", "A", "a_b", "-a", "a-", "a" * 65, "a\x00b", "../a", "é", "a b", "a\n", "x'; DROP TABLE events", "\U0001f600"],
)
@pytest.mark.parametrize("method", ABOUT_A_CHAIN)
def test_a_chain_id_of_the_wrong_form_is_refused(
    service: Service, channel: grpc.Channel, method: str, chain_id: str
) -> None:
    request = request_of(method, chain_id=chain_id, idempotency_key="k", events=one())
    answer = call_on(channel, method, request, service.headers())
    reason = refused_append(answer).reason if method in JOINT else refused(answer).reason
    assert reason in {"INVALID_ARGUMENT", "CHAIN_NOT_FOUND"}


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (append(events=[]), "INVALID_ARGUMENT", "events"),
        (append(events=one() * 1001), "INVALID_ARGUMENT", "events"),
        (append(idempotency_key=""), "INVALID_ARGUMENT", "idempotency_key"),
        (append(idempotency_key="k" * 129), "INVALID_ARGUMENT", "idempotency_key"),
        (append(idempotency_key="a\nb"), "INVALID_ARGUMENT", "idempotency_key"),
        (append(idempotency_key="schlüssel"), "INVALID_ARGUMENT", "idempotency_key"),
        (append(expected_sequence=0), "INVALID_ARGUMENT", "expected_sequence"),
        (append(events=one(kind="")), "INVALID_ARGUMENT", "events[0].kind"),
        (append(events=one(kind="door")), "INVALID_ARGUMENT", "events[0].kind"),
        (append(events=one(kind="Door.opened")), "INVALID_ARGUMENT", "events[0].kind"),
        (append(events=one(kind="door.opened\n")), "INVALID_ARGUMENT", "events[0].kind"),
        (append(events=one(kind="d." + "x" * 63)), "INVALID_ARGUMENT", "events[0].kind"),
        (append(events=one(kind="chain.closed")), "RESERVED_KIND", "events[0].kind"),
        (append(events=[*one(), *one(kind="ledger.anchor_obtained")]), "RESERVED_KIND", "events[1].kind"),
        (append(events=one(b"")), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b"[]")), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b"null")), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b'{"a":1')), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b"\xff")), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b'{"a":{"b":1,"b":2}}')), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b'{"a":[0,9007199254740993]}')), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b'{"a":NaN}')), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b'{"a":1e999}')), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b'{"a":"\\ud800"}')), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b'{"a":"\\u0000"}')), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b'{"a":' * 40 + b"1" + b"}" * 40)), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b"[" * 100_000)), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b'{"a":"' + b"x" * 262_144 + b'"}')), "INVALID_PAYLOAD", "events[0].payload"),
        (append(events=one(b'{"a":1}', sealed=("b",))), "INVALID_PAYLOAD", "events[0]"),
        (append(events=one(b'{"a":1}', sealed=("a", "a"))), "INVALID_PAYLOAD", "events[0]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_append_is_refused_with_the_path_of_what_is_wrong(
    service: Service, channel: grpc.Channel, request_: Any, reason: str, field: str
) -> None:
    with service.blocking_client() as client:
        before = client.get_chain("paged-1").event_count
        answer = refused(call_on(channel, "AppendEvents", request_, service.headers()))
        assert answer.code is grpc.StatusCode.INVALID_ARGUMENT
        assert answer.reason == reason
        assert answer.metadata["field"].startswith(field)
        assert answer.fields == [answer.metadata["field"]]
        assert client.get_chain("paged-1").event_count == before


def test_a_message_beyond_the_limit_is_refused_and_the_connection_goes_on(
    service: Service, channel: grpc.Channel
) -> None:
    answer = refused(call_on(channel, "AppendEvents", b"\x00" * (MAX_MESSAGE_BYTES + 1), service.headers()))
    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert isinstance(call_on(channel, "GetChain", request_of("GetChain", chain_id="paged-1"), service.headers()), list)


def test_headers_beyond_the_limit_are_refused(service: Service, channel: grpc.Channel) -> None:
    headers = (*service.headers(), ("x-padding", "x" * 20_000))
    answer = refused(call_on(channel, "GetChain", request_of("GetChain", chain_id="paged-1"), headers))
    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_method_that_does_not_exist_is_unimplemented(service: Service, channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/{SERVICE}/DeleteEvents", bytes, bytes)(b"", timeout=60, metadata=service.headers())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("method", "fields", "reason"),
    [
        ("OpenChain", {"chain_id": "new-one", "subject": b"[]"}, "INVALID_PAYLOAD"),
        ("OpenChain", {"chain_id": "new-one", "subject": b'{"a":1,"a":2}'}, "INVALID_PAYLOAD"),
        ("OpenChain", {"chain_id": "paged-1", "subject": b'{"other":1}'}, "CHAIN_EXISTS"),
        ("OpenChain", {"chain_id": "operations"}, "INVALID_ARGUMENT"),
        ("CloseChain", {"chain_id": "operations"}, "INVALID_ARGUMENT"),
        ("CloseChain", {"chain_id": "paged-1", "closing": b"null"}, "INVALID_PAYLOAD"),
        ("CloseChain", {"chain_id": "absent"}, "CHAIN_NOT_FOUND"),
        ("CheckpointChain", {"chain_id": "absent"}, "CHAIN_NOT_FOUND"),
        ("AppendEvents", {"chain_id": "sealed-for-ever", "idempotency_key": "k", "events": one()}, "CHAIN_CLOSED"),
        ("ListEvents", {"chain_id": "paged-0", "page_size": -1}, "INVALID_ARGUMENT"),
        ("ListEvents", {"chain_id": "paged-0", "kinds": ["a.b"] * 17}, "INVALID_ARGUMENT"),
        ("ListEvents", {"chain_id": "paged-0", "kinds": ["a.\x00"]}, "INVALID_ARGUMENT"),
        ("ListEvents", {"chain_id": "paged-0", "kinds": [""]}, "INVALID_ARGUMENT"),
        ("ListChains", {"page_size": -1}, "INVALID_ARGUMENT"),
        ("ListChains", {"state": 99}, "INVALID_ARGUMENT"),
        ("ListAnchors", {"chain_id": "paged-0", "page_size": -7}, "INVALID_ARGUMENT"),
        ("CreateVerifyLink", {"chain_id": "paged-0", "valid_days": -1}, "INVALID_ARGUMENT"),
        ("CreateVerifyLink", {"chain_id": "paged-0", "valid_days": 367}, "INVALID_ARGUMENT"),
        ("RevokeVerifyLink", {"link_id": "not-a-uuid"}, "LINK_UNKNOWN"),
        ("RevokeVerifyLink", {"link_id": "00000000-0000-4000-8000-000000000000"}, "LINK_UNKNOWN"),
        ("ExportLinkedBundle", {"token": ""}, "LINK_UNKNOWN"),
        ("ExportLinkedBundle", {"token": "x" * 100_000}, "LINK_UNKNOWN"),
        ("ExportLinkedBundle", {"token": "test.e30.AAAA"}, "LINK_UNKNOWN"),
    ],
    ids=str,
)
def test_a_wrong_request_is_refused_with_its_reason(
    service: Service, channel: grpc.Channel, method: str, fields: dict[str, Any], reason: str
) -> None:
    answer = refused(call_on(channel, method, request_of(method, **fields), service.headers()))
    assert answer.reason == reason
    assert answer.request_id


@pytest.mark.parametrize("sequence", [2**48, 2**63, 2**64 - 1])
def test_a_sequence_beyond_every_chain_is_an_empty_stream_or_a_refusal(
    service: Service, channel: grpc.Channel, sequence: int
) -> None:
    request = request_of("StreamEvents", chain_id="paged-0", from_sequence=sequence)
    answer = call_on(channel, "StreamEvents", request, service.headers())
    assert answer == [] or refused(answer).reason == "INVALID_ARGUMENT"
    answer = refused(call_on(channel, "AppendEvents", append(expected_sequence=sequence), service.headers()))
    assert answer.reason in {"SEQUENCE_MISMATCH", "INVALID_ARGUMENT"}


def pages(service: Service, channel: grpc.Channel, method: str, items: str, **fields: Any) -> list[list[Any]]:
    found, token = [], ""
    while True:
        request = request_of(method, page_token=token, **fields)
        answer = call_on(channel, method, request, service.headers())
        assert isinstance(answer, list), answer
        found.append(list(getattr(answer[0], items)))
        token = answer[0].next_page_token
        if not token:
            return found


@pytest.mark.parametrize("size", [1, 7, 50, 151, 1000, 100_000])
def test_pages_hold_every_event_once_and_in_order(service: Service, channel: grpc.Channel, size: int) -> None:
    found = pages(service, channel, "ListEvents", "events", chain_id="paged-0", page_size=size)
    assert all(len(page) <= size for page in found)
    assert [event.sequence for page in found for event in page] == list(range(1, MANY_EVENTS + 2))


def test_pages_of_one_kind_hold_that_kind_only(service: Service, channel: grpc.Channel) -> None:
    found = pages(service, channel, "ListEvents", "events", chain_id="paged-0", page_size=10, kinds=["door.closed"])
    events = [event for page in found for event in page]
    assert len(events) == MANY_EVENTS // 2
    assert {event.kind for event in events} == {"door.closed"}


def test_pages_hold_every_chain_once_and_in_order(service: Service, channel: grpc.Channel) -> None:
    found = [chain.chain_id for page in pages(service, channel, "ListChains", "chains", page_size=2) for chain in page]
    assert found == sorted(set(found))
    assert {"operations", "paged-0", "paged-4", "sealed-for-ever"} <= set(found)


def test_a_page_of_large_payloads_stays_within_the_limit_of_a_plain_client(service: Service) -> None:
    with service.blocking_client() as client:
        client.open_chain("large")
        payload = b'{"text":"' + b"x" * 200_000 + b'"}'
        for _ in range(3):
            client.append_events("large", [NewEvent(kind="large.text", payload=payload)] * 10)
    with grpc.insecure_channel(service.address) as plain:
        found = pages(service, plain, "ListEvents", "events", chain_id="large", page_size=1000)
        assert [event.sequence for page in found for event in page] == list(range(1, 32))
        assert len(found) > 1
        answer = call_on(plain, "StreamEvents", request_of("StreamEvents", chain_id="large"), service.headers())
        assert isinstance(answer, list)
        assert [event.sequence for part in answer for event in part.events] == list(range(1, 32))


def forged_tokens() -> list[str]:
    good = write_page_token(("ListEvents", "acme", "paged-0"), [5])
    inner = json.loads(base64.urlsafe_b64decode(good + "=="))
    changed = [
        [],
        {},
        None,
        inner[:1],
        [inner[0], "5"],
        [inner[0], -1],
        [inner[0], 2**70],
        [inner[0], 1.5],
        [inner[0], True],
        [inner[0], [5]],
        [*inner, 1],
        ["0" * 16, 5],
    ]
    encoded = [base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in changed]
    return [*encoded, "x", "=", "é", "A" * 2_000, "bnVsbA", base64.urlsafe_b64encode(b"[" * 700).decode().rstrip("=")]


@pytest.mark.parametrize("token", forged_tokens())
def test_a_page_token_that_was_not_given_out_is_refused(service: Service, channel: grpc.Channel, token: str) -> None:
    for method in ("ListEvents", "ListChains", "ListAnchors"):
        request = request_of(method, chain_id="paged-0", page_token=token)
        assert refused(call_on(channel, method, request, service.headers())).fields == ["page_token"]


def test_a_page_token_continues_no_other_question(service: Service, channel: grpc.Channel) -> None:
    first = call_on(channel, "ListEvents", request_of("ListEvents", chain_id="paged-0", page_size=5), service.headers())
    assert isinstance(first, list)
    token = first[0].next_page_token
    for fields in ({"chain_id": "paged-1"}, {"chain_id": "paged-0", "kinds": ["door.opened"]}):
        request = request_of("ListEvents", page_token=token, **fields)
        assert refused(call_on(channel, "ListEvents", request, service.headers())).fields == ["page_token"]
    request = request_of("ListAnchors", chain_id="paged-0", page_token=token)
    assert refused(call_on(channel, "ListAnchors", request, service.headers())).fields == ["page_token"]


def test_a_page_token_reads_back_what_was_written() -> None:
    question = ("ListAnchors", "acme", "chain")
    position: list[str | int] = [7, "rfc3161", "freetsa"]
    assert read_page_token(write_page_token(question, position), question, (int, str, str)) == position


def test_the_callers_own_request_id_comes_back_when_it_is_harmless(service: Service, channel: grpc.Channel) -> None:
    for given, kept in (("trace-1.a_B", True), ("x" * 65, False), ("a b", False)):
        headers = (*service.headers(), ("x-request-id", given))
        answer = refused(call_on(channel, "GetChain", request_of("GetChain", chain_id="absent"), headers))
        assert (answer.request_id == given) is kept


@pytest.mark.parametrize("letter", ["a", "\u00e4", "\U0001f600"])
def test_the_place_of_a_fault_fits_a_refusal_however_long_the_names_on_the_way_are(
    service: Service, channel: grpc.Channel, letter: str
) -> None:
    payload: Any = 2**60
    for _ in range(30):
        payload = {letter * 70: payload}
    request = append(events=one(json.dumps(payload).encode()))
    answer = refused(call_on(channel, "AppendEvents", request, service.headers()))
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAYLOAD")
    assert answer.metadata["field"].startswith(f"events[0].payload/{letter * 64}/")
    assert answer.message.endswith("the integer is beyond +-(2^53-1)")
