import asyncio
import signal
from collections.abc import AsyncIterator

from ledger.client import ClientError, Event, LedgerClient, NewEvent
from tests.service.serving import Service


def one_event(number: int) -> list[NewEvent]:
    return [NewEvent(kind="door.opened", payload={"number": number})]


async def test_stopping_under_load_loses_no_acknowledged_append(own_service: Service) -> None:
    acknowledged: dict[str, bytes] = {}
    stopped = asyncio.Event()
    async with own_service.client() as client:
        for number in range(8):
            await client.open_chain(f"busy-{number}")
    async with own_service.client(timeout_seconds=1) as client:

        async def append(worker: int) -> None:
            number = 1
            while True:
                key = f"{worker}-{number}"
                try:
                    receipt = await client.append_events(f"busy-{worker}", one_event(number), idempotency_key=key)
                except ClientError:
                    if stopped.is_set():
                        return
                    # A slow machine may take longer than a second for an append.
                    continue
                number += 1
                acknowledged[f"busy-{worker}/{receipt.first_sequence}"] = receipt.event_hashes[0]

        workers = [asyncio.create_task(append(worker)) for worker in range(8)]
        async with asyncio.timeout(120):
            while len(acknowledged) <= 40:  # noqa: ASYNC110 - each append is an event of its own
                await asyncio.sleep(0.05)
        await asyncio.to_thread(own_service.stop)
        stopped.set()
        await asyncio.gather(*workers)
    assert own_service.process is not None
    assert own_service.process.exit_code == 0
    await asyncio.to_thread(own_service.start)
    async with own_service.client() as client:
        stored = {
            f"busy-{worker}/{event.sequence}": event.hash
            for worker in range(8)
            async for event in client.list_events(f"busy-{worker}")
        }
        assert acknowledged.items() <= stored.items()
        for worker in range(8):
            assert (await client.check_chain(f"busy-{worker}")).ok


async def test_stopping_answers_what_a_stream_has_sent_and_ends_followers_in_a_way_they_can_resume(
    own_service: Service,
) -> None:
    async with own_service.client() as client:
        await client.open_chain("streamed")
        follower = asyncio.create_task(_follow(client, "streamed", 41))
        async with client.append_stream() as stream:
            promises = [await stream.send("streamed", one_event(number)) for number in range(20)]
            await asyncio.wait(promises, return_when=asyncio.FIRST_COMPLETED)
            stopping = asyncio.create_task(asyncio.to_thread(own_service.stop))
            promises += [await stream.send("streamed", one_event(number)) for number in range(20, 40)]
            await stopping
            assert own_service.process is not None
            assert own_service.process.exit_code == 0
            await asyncio.to_thread(own_service.start)
            receipts = await asyncio.wait_for(asyncio.gather(*promises), 120)
        # What was unanswered was sent again under the same keys: everything is there once, in order.
        assert [receipt.first_sequence for receipt in receipts] == list(range(2, 42))
        assert await asyncio.wait_for(follower, 120) == list(range(1, 42))


async def _drain(events: AsyncIterator[Event]) -> None:
    async for event in events:
        assert event.sequence < 3


async def _follow(client: LedgerClient, chain_id: str, last: int) -> list[int]:
    seen = []
    async for event in client.stream_events(chain_id, follow=True):
        seen.append(event.sequence)
        if event.sequence == last:
            break
    return seen


def test_a_second_signal_is_not_needed_and_ctrl_c_stops_as_well(own_service: Service) -> None:
    assert own_service.process is not None
    own_service.process.signal(signal.SIGINT)
    assert own_service.process.wait(60) == 0
    assert own_service.log_lines()[-1]["event"] == "stopped"
