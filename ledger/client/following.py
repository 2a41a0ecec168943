"""Reading a chain as it grows, across broken connections."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc
from indelible.ledger.v1 import ledger_pb2

from ledger.client import convert
from ledger.client.channel import DEFAULT_TIMEOUT_SECONDS, Connection, pause_seconds
from ledger.client.errors import from_rpc_error
from ledger.client.values import Event

# Failures in a row, without an event between them, after which a reader is told instead of kept waiting: half a minute.
MAX_FAILURES = 20


async def stream_events(
    connection: Connection, method: Callable[..., Any], chain_id: str, *, from_sequence: int, follow: bool
) -> AsyncGenerator[Event, None]:
    """Events from `from_sequence` on. Raises ClientError when the ledger refuses or stays away."""
    position = max(from_sequence, 1)
    failures = 0
    while True:
        request = ledger_pb2.StreamEventsRequest(chain_id=chain_id, from_sequence=position, follow=follow)
        # A following stream lasts as long as the chain, so only a finished reading has a deadline.
        timeout = None if follow else DEFAULT_TIMEOUT_SECONDS * 60
        call = method(request, timeout=timeout, metadata=connection.metadata())
        try:
            async for message in call:
                failures = 0
                for event in convert.events(message.events):
                    position = event.sequence + 1
                    yield event
        except grpc.aio.AioRpcError as rpc_error:
            error = from_rpc_error(rpc_error, connection.name)
            failures += 1
            if not error.retryable or failures >= MAX_FAILURES:
                raise error from None
            await asyncio.sleep(pause_seconds(failures))
        else:
            return
        finally:
            call.cancel()
