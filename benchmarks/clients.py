"""The load: what callers of the ledger do, in a process of its own: `python -m benchmarks.clients NAME SETTINGS`.

The bare generated stub is used, so that the service is measured and not a client's conveniences. The echo has the same
loop, the same number of callers and the same connections.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import uvloop
from indelible.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from benchmarks.figures import percentiles
from benchmarks.payloads import KIND, payload

_OPTIONS = (("grpc.max_receive_message_length", 64 * 1024 * 1024),)
_DURING_WARM_UP = 0.25


async def echo(settings: dict[str, Any]) -> dict[str, float]:
    """Empty calls by many callers."""
    async with grpc.aio.insecure_channel(settings["address"], options=_OPTIONS) as channel:
        call: Any = channel.unary_unary("/bench.Echo/Call")

        async def once(_caller: int, _number: int) -> None:
            await call(b"")

        return await drive(once, settings)


async def append_unary(settings: dict[str, Any]) -> dict[str, float]:
    """One event for each call, by many callers on one chain or on a chain each."""
    async with grpc.aio.insecure_channel(settings["address"], options=_OPTIONS) as channel:
        stub: Any = ledger_pb2_grpc.LedgerServiceStub(channel)
        metadata = (("authorization", f"Bearer {settings['token']}"),)
        name = settings["prefix"]
        chains = [f"{name}-{n}" for n in range(settings["chains"])]
        for chain in chains:
            await stub.OpenChain(ledger_pb2.OpenChainRequest(chain_id=chain), metadata=metadata)

        async def once(caller: int, number: int) -> None:
            request = ledger_pb2.AppendEventsRequest(
                chain_id=chains[caller % len(chains)],
                events=[ledger_pb2.NewEvent(kind=KIND, payload=payload(caller * 100_000 + number))],
                idempotency_key=f"{caller}-{number}",
            )
            await stub.AppendEvents(request, metadata=metadata)

        return await drive(once, settings)


async def append_batches(settings: dict[str, Any]) -> dict[str, float]:
    """Appends of a thousand events through one AppendEventStream, several of them under way at a time."""
    batches, warm_up = settings["batches"], settings["warm_up"]
    requests = [_batch(settings, number) for number in range(batches)]
    slots = asyncio.Semaphore(settings["in_flight"])
    sent: list[float] = []

    async def send() -> AsyncIterator[ledger_pb2.AppendEventStreamRequest]:
        for request in requests:
            await slots.acquire()
            sent.append(time.perf_counter())
            yield request

    async with grpc.aio.insecure_channel(settings["address"], options=_OPTIONS) as channel:
        stub: Any = ledger_pb2_grpc.LedgerServiceStub(channel)
        metadata = (("authorization", f"Bearer {settings['token']}"),)
        await stub.OpenChain(ledger_pb2.OpenChainRequest(chain_id=settings["prefix"]), metadata=metadata)
        answered = []
        async for response in stub.AppendEventStream(send(), metadata=metadata):
            if response.WhichOneof("outcome") != "receipt":
                raise RuntimeError(response.error.message)
            slots.release()
            answered.append(time.perf_counter())
    seconds = answered[-1] - answered[warm_up - 1]
    latencies = [answer - start for start, answer in zip(sent, answered, strict=True)]
    return {"per_second": settings["batch"] * (batches - warm_up) / seconds, **percentiles(latencies[warm_up:])}


def _batch(settings: dict[str, Any], number: int) -> ledger_pb2.AppendEventStreamRequest:
    first = number * settings["batch"]
    events = [
        ledger_pb2.NewEvent(kind=KIND, payload=payload(place)) for place in range(first, first + settings["batch"])
    ]
    append = ledger_pb2.AppendEventsRequest(
        chain_id=settings["prefix"], events=events, idempotency_key=f"batch-{number}"
    )
    return ledger_pb2.AppendEventStreamRequest(append=append)


async def drive(once: Callable[[int, int], Awaitable[None]], settings: dict[str, Any]) -> dict[str, float]:
    """Every caller calls again as soon as it has its answer, until the time is over."""
    started = time.perf_counter()
    begin = started + settings["seconds"] * _DURING_WARM_UP
    end = begin + settings["seconds"]
    latencies: list[float] = []

    async def caller(index: int) -> None:
        number = 0
        while (called := time.perf_counter()) < end:
            await once(index, number)
            answered = time.perf_counter()
            if begin <= answered <= end:
                latencies.append(answered - called)
            number += 1

    await asyncio.gather(*(caller(index) for index in range(settings["callers"])))
    return {"per_second": len(latencies) / settings["seconds"], **percentiles(latencies)}


LOADS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "echo": echo,
    "append_unary": append_unary,
    "append_batches": append_batches,
}

if __name__ == "__main__":
    print(json.dumps(uvloop.run(LOADS[sys.argv[1]](json.loads(sys.argv[2])))))
