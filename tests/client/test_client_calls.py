import asyncio
import os
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.chain.receipt import InvalidReceiptError, ReceiptSigner
from ledger.client import UNREACHABLE, ClientError, LedgerClient, NewEvent, PendingItem
from ledger.client.channel import DEFAULT_TIMEOUT_SECONDS
from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.processes import free_port
from tests.service.serving import FOREIGN_ORGANISATION, KEY_NAME, Service, running_service


def door(number: int) -> NewEvent:
    return NewEvent(kind="door.opened", payload={"number": number})


async def test_a_receipt_by_another_key_than_the_pinned_one_is_not_accepted(service: Service) -> None:
    stranger = ReceiptSigner(key=Ed25519PrivateKey.generate(), name=KEY_NAME).verifier_key
    async with service.client(receipt_key=stranger) as client:
        with pytest.raises(InvalidReceiptError):
            await client.open_chain("pinned")
        async with client.append_stream() as stream:
            with pytest.raises(InvalidReceiptError):
                await (await stream.send("pinned", [door(1)]))


async def test_a_refusal_carries_reason_metadata_and_request_id(client: LedgerClient) -> None:
    await client.open_chain("refusing")
    with pytest.raises(ClientError) as caught:
        await client.append_event("refusing", "door.opened", b'{"a":1,"a":2}')
    error = caught.value
    assert error.reason == "INVALID_PAYLOAD"
    assert error.metadata["field"].startswith("events[0].payload")
    assert error.request_id
    assert not error.retryable
    assert not error.unreachable
    assert str(error).endswith("[INVALID_PAYLOAD]")


async def test_nobody_there_is_told_within_the_deadline() -> None:
    address = f"127.0.0.1:{free_port()}"
    async with LedgerClient(address, token="t", timeout_seconds=1) as client:
        started = asyncio.get_running_loop().time()
        with pytest.raises(ClientError) as caught:
            await client.get_chain("any")
        assert asyncio.get_running_loop().time() - started < DEFAULT_TIMEOUT_SECONDS
    assert caught.value.reason == UNREACHABLE
    assert address in caught.value.message


async def test_a_server_that_speaks_something_else_is_told() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, LedgerClient(f"127.0.0.1:{port}", token="t", timeout_seconds=1) as client:
        with pytest.raises(ClientError):
            await client.get_chain("any")


async def test_a_token_may_be_given_anew_for_every_call(service: Service) -> None:
    asked: list[int] = []

    def give() -> str:
        asked.append(len(asked))
        return service.token()

    async with LedgerClient(service.address, token=give) as client:
        await client.open_chain("fresh")
        await client.get_chain("fresh")
    assert len(asked) == 2


async def test_lists_go_through_every_page(service: Service, client: LedgerClient) -> None:
    await client.open_chain("pages")
    for _ in range(3):
        await client.append_events("pages", [door(number) for number in range(1000)])
    assert [event.sequence async for event in client.list_events("pages")] == list(range(1, 3002))
    chains = [chain.chain_id async for chain in client.list_chains(state="open")]
    assert "pages" in chains
    assert "pages" not in [chain.chain_id async for chain in client.list_chains(state="closed")]


async def test_a_session_is_ended_and_its_chain_followed_until_it_closes_by_itself(client: LedgerClient) -> None:
    await client.open_chain("filmed")
    await client.append_event("filmed", "recording.started", {"recording_id": "r1"})
    ended, receipt = await client.end_session("filmed", {"by": "Ann"}, wait_seconds=60)
    assert (ended.state, ended.pending) == ("ended", (PendingItem(type="recording", item_id="r1", since_sequence=2),))
    assert ended.ended_at is not None
    assert ended.closes_by == ended.ended_at + timedelta(seconds=60)
    (listed,) = [chain async for chain in client.list_chains(state="ended")]
    assert (listed.chain_id, listed.pending) == ("filmed", ())
    with pytest.raises(ClientError, match="has ended") as refused:
        await client.append_event("filmed", "door.opened", {})
    assert (refused.value.reason, refused.value.retryable) == ("SESSION_ENDED", False)
    async with client.append_stream() as stream:
        refused_later = await stream.send("filmed", [door(1)])
        taken = await stream.send("filmed", [NewEvent(kind="recording.failed", payload={"recording_id": "r1"})])
        with pytest.raises(ClientError, match="has ended"):
            await refused_later
        await taken
    kinds = [event.kind async for event in client.stream_events("filmed", from_sequence=3, follow=True)]
    assert kinds == ["session.ended", "chain.checkpointed", "recording.failed", "chain.closed"]
    again, replayed = await client.end_session("filmed")
    assert (again.state, again.closes_by) == ("closed", ended.closes_by)
    assert (replayed.signed_note, replayed.replayed) == (receipt.signed_note, True)


async def test_a_batcher_keeps_the_order_and_uses_few_appends(client: LedgerClient) -> None:
    await client.open_chain("batched")
    async with client.batcher("batched") as batch:
        promises = [await batch.submit("door.opened", {"number": number}) for number in range(2500)]
    appended = [await promise for promise in promises]
    assert [one.sequence for one in appended] == list(range(2, 2502))
    assert len({one.receipt.signed_note for one in appended}) < 50
    events = {event.sequence: event async for event in client.list_events("batched")}
    assert all(events[one.sequence].hash == one.hash for one in appended)
    assert [events[one.sequence].content["number"] for one in appended] == list(range(2500))


async def test_one_bad_event_fails_nobody_else_of_its_batch(client: LedgerClient) -> None:
    await client.open_chain("mixed")
    async with client.batcher("mixed") as batch:
        promises = [
            await batch.submit("door.opened" if number % 10 else "chain.closed", {"number": number})
            for number in range(50)
        ]
    outcomes = await asyncio.gather(*promises, return_exceptions=True)
    refused = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, ClientError)]
    assert refused == [0, 10, 20, 30, 40]
    numbers = [event.content["number"] async for event in client.list_events("mixed", kinds=["door.opened"])]
    assert numbers == [number for number in range(50) if number % 10]


async def test_a_batcher_refuses_what_is_not_json_before_it_is_queued(client: LedgerClient) -> None:
    async with client.batcher("nowhere") as batch:
        with pytest.raises(ValueError, match="not JSON"):
            await batch.append("door.opened", {"number": float("nan")})
        with pytest.raises(ClientError) as caught:
            await batch.append("door.opened", {"number": 1})
    assert caught.value.reason == "CHAIN_NOT_FOUND"


async def test_large_events_are_split_into_appends_the_service_accepts(client: LedgerClient) -> None:
    await client.open_chain("heavy")
    payload = b'{"text":"' + b"x" * 250_000 + b'"}'
    async with client.batcher("heavy", max_wait_seconds=0.2) as batch:
        promises = [await batch.submit("large.text", payload) for _ in range(80)]
    assert [(await promise).sequence for promise in promises] == list(range(2, 82))


async def test_a_bundle_appears_whole_or_not_at_all(client: LedgerClient, tmp_path: Path) -> None:
    await client.open_chain("exported")
    path = tmp_path / "bundle.zip"
    size = await client.export_bundle("exported", path)
    assert path.stat().st_size == size
    assert zipfile.ZipFile(path).testzip() is None
    before = path.read_bytes()
    with pytest.raises(ClientError):
        await client.export_bundle("absent", path)
    assert path.read_bytes() == before
    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == [path]
    with pytest.raises(FileNotFoundError):
        await client.export_bundle("exported", tmp_path / "nowhere" / "bundle.zip")


async def test_a_bundle_of_many_pieces_is_the_same_every_time(client: LedgerClient, tmp_path: Path) -> None:
    await client.open_chain("sizeable")
    for _ in range(8):
        await client.append_events(
            "sizeable", [NewEvent(kind="noise.heard", payload={"noise": os.urandom(500).hex()}) for _ in range(500)]
        )
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    await asyncio.gather(client.export_bundle("sizeable", first), client.export_bundle("sizeable", second))
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size > 1_000_000


async def test_a_verify_link_opens_its_bundle_without_a_token_until_it_is_revoked(
    service: Service, client: LedgerClient
) -> None:
    await client.open_chain("linked")
    link = await client.create_verify_link("linked", valid_days=1)
    assert link.url == f"https://verify.example.org/v/{link.token}"
    async with LedgerClient(service.address, token=None) as public:
        data = b"".join([piece async for piece in public.stream_linked_bundle(link.token)])
        assert data.startswith(b"PK")
        with pytest.raises(ClientError) as forged:
            await anext(public.stream_linked_bundle(link.token[:-2] + "AA"))
        assert forged.value.reason == "LINK_UNKNOWN"
        first = await client.revoke_verify_link(link.link_id)
        assert await client.revoke_verify_link(link.link_id) == first
        with pytest.raises(ClientError) as revoked:
            await anext(public.stream_linked_bundle(link.token))
        assert revoked.value.reason == "LINK_REVOKED"
        with pytest.raises(ClientError) as anonymous:
            await public.get_chain("linked")
        assert anonymous.value.reason == "UNAUTHENTICATED"


def test_the_blocking_client_does_the_same_from_any_thread(service: Service, tmp_path: Path) -> None:
    with service.blocking_client() as client:
        client.open_chain("blocking", {"a": 1})
        receipts = [client.append_event("blocking", "door.opened", {"number": number}) for number in range(5)]
        assert [receipt.last_sequence for receipt in receipts] == [2, 3, 4, 5, 6]
        assert [event.sequence for event in client.stream_events("blocking")] == [1, 2, 3, 4, 5, 6]
        following = client.stream_events("blocking", follow=True)
        assert next(following).sequence == 1
        following.close()  # type: ignore[attr-defined]  # it is a generator
        assert client.export_bundle("blocking", tmp_path / "b.zip") > 0
        assert client.check_chain("blocking").ok
        closed, _ = client.close_chain("blocking")
        assert closed.state == "closed"
        assert list(client.list_anchors("blocking")) == []
        with pytest.raises(ClientError):
            client.append_event("blocking", "door.opened", {})
    client.close()


async def test_organisations_may_use_the_same_chain_id(service: Service, client: LedgerClient) -> None:
    await client.open_chain("same-name", {"of": "acme"})
    async with service.client(FOREIGN_ORGANISATION) as other:
        chain, _ = await other.open_chain("same-name", {"of": "other"})
    assert chain.organisation_id == FOREIGN_ORGANISATION
    assert (await client.get_chain("same-name")).subject == b'{"of":"acme"}'


async def test_clients_ride_out_a_service_that_is_killed_and_started_again(
    tmp_path: Path, database: Database, issuer: Issuer
) -> None:
    with running_service(tmp_path, database, issuer) as service:
        async with service.client(timeout_seconds=180) as client:
            await client.open_chain("killed")
            await client.open_chain("killed-stream")
            stop = asyncio.Event()
            receipts = []

            async def append(worker: int) -> None:
                number = 0
                while not stop.is_set():
                    number += 1
                    receipts.append(await client.append_events("killed", [door(worker * 10_000 + number)]))

            async def follow() -> list[int]:
                return [event.sequence async for event in client.stream_events("killed", follow=True)]

            workers = [asyncio.create_task(append(worker)) for worker in range(6)]
            follower = asyncio.create_task(follow())
            async with client.append_stream() as stream:
                promises = []
                for round_ in range(2):
                    promises += [
                        await stream.send("killed-stream", [door(round_ * 40 + number)]) for number in range(40)
                    ]
                    await asyncio.to_thread(service.kill)
                    await asyncio.to_thread(service.start)
                streamed = await asyncio.gather(*promises)
            stop.set()
            await asyncio.gather(*workers)
            closed, _ = await client.close_chain("killed")
            # Nothing acknowledged is missing, nothing is there twice, and the order of the stream was kept.
            sequences = sorted(receipt.first_sequence for receipt in receipts)
            assert sequences == list(range(2, closed.event_count))
            assert await follower == list(range(1, closed.event_count + 1))
            assert [receipt.first_sequence for receipt in streamed] == list(range(2, 82))
            numbers = [
                event.content["number"] async for event in client.list_events("killed-stream", kinds=["door.opened"])
            ]
            assert numbers == list(range(80))
            for chain_id in ("killed", "killed-stream"):
                assert (await client.check_chain(chain_id)).ok
