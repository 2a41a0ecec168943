import secrets
from collections.abc import Iterator

import grpc
import pytest

from ledger.client import ClientError, LedgerClient, NewEvent
from ledger.service.permissions import METHOD_SCOPES, PUBLIC_METHODS
from sandbox.issuer import EVERY_SCOPE
from tests.service.calling import JOINT, METHODS, Refusal, call, call_on, refused, refused_append, request_of
from tests.service.serving import FOREIGN_ORGANISATION, Service

# Not OpenChain: the same chain_id is free for every organisation.
ABOUT_A_CHAIN = {method for method in METHODS if "chain_id" in str(request_of(method, chain_id="x"))} - {"OpenChain"}
NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def channel(service: Service) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(service.address) as opened:
        yield opened


@pytest.fixture(scope="module")
def chain_id(service: Service) -> str:
    with service.blocking_client() as client:
        client.open_chain("guarded")
    return "guarded"


def ask(channel: grpc.Channel, method: str, chain_id: str, headers: object) -> list[object] | Refusal:
    request = request_of(
        method,
        chain_id=chain_id,
        link_id=NOWHERE,
        token="forged",
        idempotency_key=secrets.token_hex(8),
        sequence=1,
        reason="asked for",
        events=[{"kind": "door.opened", "payload": b"{}"}],
    )
    return call_on(channel, method, request, headers)


def test_every_method_of_the_contract_has_a_scope_or_is_public() -> None:
    assert set(METHODS) == METHOD_SCOPES.keys() | PUBLIC_METHODS
    assert not METHOD_SCOPES.keys() & PUBLIC_METHODS
    assert set(METHOD_SCOPES.values()) < set(EVERY_SCOPE)


@pytest.mark.parametrize("method", sorted(METHOD_SCOPES))
def test_a_method_needs_exactly_its_scope(service: Service, channel: grpc.Channel, method: str) -> None:
    for scope in EVERY_SCOPE:
        answer = ask(channel, method, "nowhere", service.headers(service.token(scopes=[scope])))
        denied = isinstance(answer, Refusal) and answer.reason == "PERMISSION_DENIED"
        assert denied is (scope != METHOD_SCOPES[method]), scope
    every_other = [scope for scope in EVERY_SCOPE if scope != METHOD_SCOPES[method]]
    answer = refused(ask(channel, method, "nowhere", service.headers(service.token(scopes=every_other))))
    assert answer.code is grpc.StatusCode.PERMISSION_DENIED
    assert answer.metadata == {"scope": METHOD_SCOPES[method]}


@pytest.mark.parametrize("method", sorted(METHOD_SCOPES))
@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("authorization", ""),),
        (("authorization", "Bearer"),),
        (("authorization", "Bearer "),),
        (("authorization", "Basic YTpi"),),
        (("authorization", "Bearer forged"),),
        (("x-organisation", "acme"),),
    ],
    ids=str,
)
def test_a_method_without_a_valid_token_is_refused(channel: grpc.Channel, method: str, headers: object) -> None:
    answer = refused(ask(channel, method, "guarded", headers))
    assert (answer.code, answer.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


def test_two_authorization_headers_are_refused(service: Service, channel: grpc.Channel) -> None:
    headers = service.headers() * 2
    assert refused(ask(channel, "GetChain", "guarded", headers)).reason == "UNAUTHENTICATED"


def test_an_expired_token_is_refused(service: Service, channel: grpc.Channel) -> None:
    token = service.issuer.mint("acme", seconds=-60)
    assert refused(ask(channel, "GetChain", "guarded", service.headers(token))).reason == "UNAUTHENTICATED"


@pytest.mark.parametrize("method", sorted(ABOUT_A_CHAIN))
def test_a_foreign_organisation_sees_what_it_would_see_if_the_chain_were_not_there(
    service: Service, channel: grpc.Channel, chain_id: str, method: str
) -> None:
    headers = service.headers(service.token(FOREIGN_ORGANISATION))
    there = ask(channel, method, chain_id, headers)
    absent = ask(channel, method, "absent", headers)
    if method in JOINT:
        assert str(refused_append(there)).replace(chain_id, "absent") == str(refused_append(absent))
        assert refused_append(there).reason == "CHAIN_NOT_FOUND"
        return
    there, absent = refused(there), refused(absent)
    assert there.reason == "CHAIN_NOT_FOUND"
    assert there.code is grpc.StatusCode.NOT_FOUND
    assert there.message.replace(chain_id, "absent") == absent.message


def test_a_foreign_organisation_lists_nothing_of_ours(service: Service, chain_id: str) -> None:
    with service.blocking_client(FOREIGN_ORGANISATION) as client:
        assert chain_id not in [chain.chain_id for chain in client.list_chains()]


def test_a_foreign_organisation_cannot_revoke_our_link(service: Service, channel: grpc.Channel, chain_id: str) -> None:
    with service.blocking_client() as client:
        link = client.create_verify_link(chain_id)
    request = request_of("RevokeVerifyLink", link_id=link.link_id)
    headers = service.headers(service.token(FOREIGN_ORGANISATION))
    assert refused(call_on(channel, "RevokeVerifyLink", request, headers)).reason == "LINK_UNKNOWN"


def test_an_organisation_that_is_not_registered_is_refused(service: Service, channel: grpc.Channel) -> None:
    headers = service.headers(service.token("stranger"))
    answer = refused(ask(channel, "OpenChain", "first", headers))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ORGANISATION_UNKNOWN")


def test_disclosures_need_a_scope_of_their_own(service: Service, channel: grpc.Channel, chain_id: str) -> None:
    request = request_of("ExportBundle", chain_id=chain_id, include_disclosures=True)
    headers = service.headers(service.token(scopes=["ledger:export"]))
    assert refused(call_on(channel, "ExportBundle", request, headers)).metadata == {"scope": "ledger:disclose"}
    headers = service.headers(service.token(scopes=["ledger:export", "ledger:disclose"]))
    assert isinstance(call_on(channel, "ExportBundle", request, headers), list)


@pytest.mark.parametrize(
    "kind", ["clip.preserved", "consent.given", "hold.lifted", "recording.started", "retention.changed"]
)
async def test_only_who_may_speak_for_evidence_appends_its_kinds(service: Service, kind: str) -> None:
    token = service.issuer.mint("acme", scopes=["ledger:append"])
    async with LedgerClient(service.address, token=token) as client:
        with pytest.raises(ClientError, match="ledger:evidence"):
            await client.append_event("operations", kind, {})
        async with client.append_stream() as stream:
            appended = await stream.send("operations", [NewEvent(kind=kind, payload={})])
            with pytest.raises(ClientError, match="ledger:evidence"):
                await appended
        request = request_of("BatchAppendEvents", chain_id="operations", events=[{"kind": kind, "payload": b"{}"}])
        answer = call(service.address, "BatchAppendEvents", request, service.headers(token))
        assert refused_append(answer).metadata == {"scope": "ledger:evidence"}
        assert await client.append_event("operations", "clips.counted", {})
    token = service.issuer.mint("acme", scopes=["ledger:append", "ledger:evidence"])
    async with LedgerClient(service.address, token=token) as client:
        assert await client.append_event("operations", kind, {})
