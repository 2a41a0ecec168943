from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from ledger.messaging.streams import (
    APPEND_QUEUE,
    declare_queue,
)
from sandbox.nats import Nats


@pytest.fixture
async def client(nats_server: Nats) -> AsyncIterator[Client]:
    connection = await nats.connect(nats_server.url)
    await declare_queue(connection.jetstream(timeout=60), APPEND_QUEUE)
    yield connection
    await connection.close()


@pytest.fixture
async def stream(client: Client) -> JetStreamContext:
    return client.jetstream(timeout=60)
