"""Extraction requests over NATS: the same rules as over gRPC, and nothing is ever lost or done twice."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import nats
import pytest
from indelible.evidence.v1 import evidence_pb2
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from ledger.messaging.streams import DEAD_STREAM
from media.service.inbox import EXTRACT_QUEUE
from sandbox.nats import Nats
from sandbox.objects import Objects
from tests.media.service.evidence import PATIENCE_SECONDS, TEST_SECONDS, Evidence, extraction, running_evidence
from tests.service.serving import FOREIGN_ORGANISATION, Service

pytestmark = pytest.mark.timeout(TEST_SECONDS)


@pytest.fixture(scope="module")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Nats(tmp_path_factory.mktemp("nats"))
    try:
        yield server.start().url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def listening(
    tmp_path_factory: pytest.TempPathFactory, ledger: Service, objects: Objects, nats_url: str
) -> Iterator[Evidence]:
    """A service that takes requests from NATS, without a worker."""
    directory = tmp_path_factory.mktemp("listening")
    with running_evidence(directory, ledger, objects, extra={"INDELIBLE_NATS_URL": nats_url}) as running:
        yield running


@pytest.fixture
async def connection(listening: Evidence, nats_url: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url)
    stream = client.jetstream()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await stream.stream_info(EXTRACT_QUEUE.stream)
                break
            except NotFoundError:
                await asyncio.sleep(0.1)
    yield client
    await client.close()


async def send(evidence: Evidence, client: Client, body: bytes, **headers: str) -> None:
    token = dict(evidence.headers())["authorization"]
    await client.jetstream(timeout=60).publish(EXTRACT_QUEUE.subject, body, headers={"Authorization": token} | headers)


async def emptied(client: Client) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await client.jetstream().stream_info(EXTRACT_QUEUE.stream)).state.messages:  # noqa: ASYNC110 - of a server
            await asyncio.sleep(0.1)


async def dead(client: Client) -> list[Any]:
    state = (await client.jetstream().stream_info(DEAD_STREAM)).state
    return [await client.jetstream().get_msg(DEAD_STREAM, n) for n in range(state.first_seq, state.last_seq + 1)]


def clips(evidence: Evidence, organisation_id: str = "acme") -> list[str]:
    listed = evidence.call("ListClips", evidence_pb2.ListClipsRequest(), organisation_id=organisation_id).clips
    return sorted(clip.incident for clip in listed)


async def test_requests_in_both_spellings_become_clips_once_and_bad_ones_are_kept_with_their_reason(
    listening: Evidence, connection: Client
) -> None:
    before = set(clips(listening))
    binary = extraction("by-nats").extraction.SerializeToString()
    for _ in range(3):
        await send(listening, connection, binary)
    text = b'{"source": "gate-1", "incident": "by-nats-json", "eventAt": "2026-03-01T12:00:05Z", "after": "3s"}'
    await send(listening, connection, text, **{"Content-Type": "application/json"})
    await send(listening, connection, b"\xff\xff\xff\xff")
    await send(listening, connection, extraction("not-mine", source="yard-1").extraction.SerializeToString())
    await send(listening, connection, binary, Authorization="Bearer nonsense")
    await emptied(connection)
    assert set(clips(listening)) - before == {"by-nats", "by-nats-json"}
    reasons = sorted(message.headers["Indelible-Reason"] for message in await dead(connection))
    assert reasons == ["INVALID_ARGUMENT", "SOURCE_NOT_FOUND", "UNAUTHENTICATED"]
    assert all("Authorization" not in message.headers for message in await dead(connection))


async def test_the_organisation_of_a_message_is_that_of_its_token(listening: Evidence, connection: Client) -> None:
    token = dict(listening.headers(FOREIGN_ORGANISATION))["authorization"]
    body = extraction("theirs-by-nats", source="yard-1").extraction.SerializeToString()
    await send(listening, connection, body, Authorization=token)
    await emptied(connection)
    assert "theirs-by-nats" in clips(listening, FOREIGN_ORGANISATION)
    assert "theirs-by-nats" not in clips(listening)


async def test_a_replayed_message_with_other_content_changes_nothing(listening: Evidence, connection: Client) -> None:
    first = extraction("replayed", at=5).extraction
    await send(listening, connection, first.SerializeToString())
    await emptied(connection)
    before = listening.request("replayed").clip
    other = extraction("replayed", at=15, seconds=4, session="another-session").extraction
    await send(listening, connection, other.SerializeToString())
    await emptied(connection)
    after = listening.request("replayed", at=12)
    assert (after.clip, after.created) == (before, False)
    assert after.clip.event_at == first.event_at
