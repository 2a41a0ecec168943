"""Requests that can never succeed, and those that only seem so."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import nats
import pytest
from indelible.ledger.v1 import ledger_pb2
from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy

from ledger.identity import Authenticator
from ledger.messaging import work_queue
from ledger.messaging.streams import (
    APPEND_QUEUE,
    APPEND_SUBJECT,
    DEAD_STREAM,
)
from ledger.messaging.work_queue import read_content
from ledger.store import LedgerStore
from sandbox.issuer import Issuer
from sandbox.nats import Nats
from tests.messaging.inbox.requests import (
    FaultyStore,
    dead_letter,
    event_count,
    headers,
    processed,
    queued,
    request,
    running_inbox,
)

HOSTILE: dict[str, tuple[str, Callable[[Issuer], tuple[bytes, dict[str, str]]]]] = {
    "no token": ("UNAUTHENTICATED", lambda _: (request().SerializeToString(), {})),
    "another scheme": ("UNAUTHENTICATED", lambda _: (request().SerializeToString(), {"Authorization": "Basic eA=="})),
    "an expired token": (
        "UNAUTHENTICATED",
        lambda issuer: (request().SerializeToString(), headers(issuer, seconds=-3600)),
    ),
    "a token without the scope": (
        "PERMISSION_DENIED",
        lambda issuer: (request().SerializeToString(), headers(issuer, scopes=["ledger:read"])),
    ),
    "another organisation's chain": (
        "CHAIN_NOT_FOUND",
        lambda issuer: (request().SerializeToString(), headers(issuer, "other")),
    ),
    "a chain that does not exist": (
        "CHAIN_NOT_FOUND",
        lambda issuer: (request(chain_id="nowhere").SerializeToString(), headers(issuer)),
    ),
    "a reserved kind": (
        "RESERVED_KIND",
        lambda issuer: (request(kinds=("chain.closed",)).SerializeToString(), headers(issuer)),
    ),
    "the end of a session": (
        "RESERVED_KIND",
        lambda issuer: (request(kinds=("session.ended",)).SerializeToString(), headers(issuer)),
    ),
    "somebody else's word about a recording": (
        "PERMISSION_DENIED",
        lambda issuer: (
            request(kinds=("recording.completed",)).SerializeToString(),
            headers(issuer, scopes=["ledger:append"]),
        ),
    ),
    "no idempotency key": (
        "INVALID_ARGUMENT",
        lambda issuer: (request(key="").SerializeToString(), headers(issuer)),
    ),
    "no events": ("INVALID_ARGUMENT", lambda issuer: (request(kinds=()).SerializeToString(), headers(issuer))),
    "bytes that are no message": ("INVALID_ARGUMENT", lambda issuer: (b"\xff\xff\xff", headers(issuer))),
    "a body of a strange type": (
        "INVALID_ARGUMENT",
        lambda issuer: (b"<a/>", headers(issuer) | {"Content-Type": "text/xml"}),
    ),
    "JSON with an unknown member": (
        "INVALID_ARGUMENT",
        lambda issuer: (b'{"chainId":"visit","sudo":true}', headers(issuer) | {"Content-Type": "application/json"}),
    ),
}


async def test_what_can_never_be_appended_goes_to_the_dead_stream_with_the_reason_and_without_the_token(
    store: LedgerStore, authenticator: Authenticator, issuer: Issuer, stream: JetStreamContext, nats_server: Nats
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    sent = {}
    for case, (reason, make) in HOSTILE.items():
        body, its_headers = make(issuer)
        answer = await stream.publish(APPEND_SUBJECT, body, headers=its_headers)
        sent[str(answer.seq)] = (case, reason, body)
    async with running_inbox(store, authenticator, nats_server.url):
        await processed(stream)
    found = {}
    for sequence in range(1, len(HOSTILE) + 1):
        letter = await stream.get_msg(DEAD_STREAM, sequence)
        assert letter.headers is not None
        assert letter.headers["Indelible-Subject"] == APPEND_SUBJECT
        assert "Authorization" not in letter.headers
        assert "eyJ" not in str(letter.headers)
        its_sequence = letter.headers["Indelible-Stream-Sequence"]
        found[its_sequence] = (sent[its_sequence][0], letter.headers["Indelible-Reason"], letter.data or b"")
    assert found == sent
    assert await event_count(store) == 1


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"chainId":' * 5_000, b'{"chainId":"a","chainId":"b"}', b"\xff", b'{"events":{}}', b"nul", b""],
)
def test_hostile_json_is_refused_and_nothing_else(body: bytes) -> None:
    with pytest.raises(Exception, match="is not an AppendEventsRequest"):
        read_content(ledger_pb2.AppendEventsRequest, body, "application/json")


async def test_one_poisonous_request_does_not_stop_those_behind_it(
    store: LedgerStore, authenticator: Authenticator, issuer: Issuer, stream: JetStreamContext, nats_server: Nats
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    for number in range(40):
        await stream.publish(APPEND_SUBJECT, b"\xff", headers=headers(issuer))
        body = request(key=f"key-{number}").SerializeToString()
        await stream.publish(APPEND_SUBJECT, body, headers=headers(issuer))
    async with running_inbox(store, authenticator, nats_server.url):
        await processed(stream)
    assert await event_count(store) == 41
    assert (await stream.stream_info(DEAD_STREAM)).state.messages == 40


@pytest.mark.parametrize("status", ["100", "404", "408", "409", "503", "x"])
async def test_a_request_that_poses_as_a_remark_of_the_servers_is_answered_like_any_other(
    store: LedgerStore,
    authenticator: Authenticator,
    issuer: Issuer,
    stream: JetStreamContext,
    nats_server: Nats,
    status: str,
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    await stream.publish(APPEND_SUBJECT, b"\xff", headers={"Status": status})
    sent = headers(issuer) | {"Status": status, "Description": "Idle Heartbeat"}
    await stream.publish(APPEND_SUBJECT, request().SerializeToString(), headers=sent)
    async with running_inbox(store, authenticator, nats_server.url):
        await processed(stream)
    assert await event_count(store) == 2
    assert (await stream.stream_info(DEAD_STREAM)).state.messages == 1


async def test_a_body_that_leaves_no_room_for_the_reason_is_buried_by_its_digest(
    store: LedgerStore, authenticator: Authenticator, issuer: Issuer, nats_server: Nats
) -> None:
    connection = await nats.connect(nats_server.url)
    stream = connection.jetstream(timeout=60)
    await stream.add_stream(name=APPEND_QUEUE.stream, subjects=[APPEND_SUBJECT], retention=RetentionPolicy.WORK_QUEUE)
    await stream.publish(APPEND_SUBJECT, b"\xff" * (8 * 1024 * 1024 - 100))
    async with running_inbox(store, authenticator, nats_server.url):
        letter = await dead_letter(stream)
    await connection.close()
    assert letter.headers is not None
    assert letter.headers["Indelible-Body-Omitted"]
    assert len(letter.headers["Indelible-Body-SHA256"]) == 64
    assert not letter.data


async def test_a_token_whose_key_is_not_published_yet_waits_for_the_key(
    store: LedgerStore,
    authenticator: Authenticator,
    issuer: Issuer,
    stream: JetStreamContext,
    nats_server: Nats,
    tmp_path: Path,
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    successor = Issuer(tmp_path)
    await stream.publish(APPEND_SUBJECT, request().SerializeToString(), headers=headers(successor))
    published = issuer.jwks_file.read_text()
    try:
        async with running_inbox(store, authenticator, nats_server.url):
            await asyncio.sleep(1)
            assert await queued(stream) == 1
            issuer.jwks_file.write_text(successor.jwks_file.read_text())
            await processed(stream)
    finally:
        issuer.jwks_file.write_text(published)
    assert await event_count(store) == 2


async def test_an_unforeseen_error_is_tried_again_and_then_buried_without_its_text(
    store: LedgerStore,
    authenticator: Authenticator,
    issuer: Issuer,
    stream: JetStreamContext,
    nats_server: Nats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail() -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(work_queue, "MAX_UNFORESEEN_DELIVERIES", 2)
    await store.open_chain("acme", "visit", b"{}")
    await stream.publish(APPEND_SUBJECT, request().SerializeToString(), headers=headers(issuer))
    faulty = FaultyStore(store, fail)
    async with running_inbox(faulty, authenticator, nats_server.url):
        letter = await dead_letter(stream)
    assert faulty.asked == 2
    assert letter.headers is not None
    assert letter.headers["Indelible-Reason"] == "INTERNAL"
    assert "secret" not in str(letter.headers)
