"""Staying connected to NATS: work while it is there, wait patiently while it is not."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NoReturn

import nats
import structlog
from nats.aio.client import Client
from nats.errors import ConnectionClosedError

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0  # also how long after the return of NATS work may resume at the latest
CONNECT_SECONDS = 5
# A connection that died without a word is noticed after two unanswered pings.
PING_SECONDS = 10

_log = structlog.get_logger()


async def keep_working(name: str, work: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Run `work` until `stop` is set; whenever it fails, pause and run it again.

    `work` returns early only when `stop` is set. The pause doubles from one failure to the next, up to
    LONGEST_PAUSE_SECONDS, and starts small again after `work` has run for that long.
    """
    pause = FIRST_PAUSE_SECONDS
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        started = loop.time()
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - a worker that gives up on an unforeseen error would lose messages
            if loop.time() - started > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            _log.warning("messaging_interrupted", worker=name, error=describe(error), retry_in_seconds=round(pause, 1))
            await wait_for_stop(stop, pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries, hides nothing
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def wait_for_stop(stop: asyncio.Event, seconds: float) -> None:
    """Return after `seconds`, or at once when `stop` is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


@contextlib.asynccontextmanager
async def connected(url: str, name: str) -> AsyncIterator[Client]:
    """A connection that ends for good when it is lost, so that its user starts over from a known state.

    The block is cancelled when that happens, and a group with ConnectionClosedError is raised in its place.
    """

    async def note_error(error: Exception) -> None:
        _log.debug("nats_error", worker=name, error=describe(error))

    closed = asyncio.Event()

    async def note_closed() -> None:
        closed.set()

    client = await nats.connect(
        url,
        name=f"indelible-{name}",
        allow_reconnect=False,
        max_reconnect_attempts=1,
        connect_timeout=CONNECT_SECONDS,
        ping_interval=PING_SECONDS,
        error_cb=note_error,
        closed_cb=note_closed,
    )
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_raise_when(closed))
            yield client
            watch.cancel()
            await client.flush(CONNECT_SECONDS)  # acknowledgements may still be in a buffer
    finally:
        with contextlib.suppress(Exception):  # it may be half dead, and there is nothing to lose on it
            await client.close()


async def _raise_when(closed: asyncio.Event) -> NoReturn:
    """Whoever waits for an answer on a connection that is gone would wait until it times out."""
    await closed.wait()
    raise ConnectionClosedError


def describe(error: BaseException) -> str:
    """The innermost errors of a group, each with its type: many of NATS's have no text."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(describe(inner) for inner in error.exceptions))
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
