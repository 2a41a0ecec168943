"""How the demonstration speaks to NATS: one message, from whoever holds the token."""

import asyncio

import nats
from google.protobuf.message import Message


def publish(nats_url: str, token: str, subject: str, message: Message) -> None:
    """Publish `message` and wait until JetStream has it. Raises nats.errors.Error."""
    asyncio.run(_publish(nats_url, token, subject, message))


async def _publish(nats_url: str, token: str, subject: str, message: Message) -> None:
    client = await nats.connect(nats_url)
    try:
        headers = {"Authorization": f"Bearer {token}"}
        await client.jetstream().publish(subject, message.SerializeToString(), headers=headers)
    finally:
        await client.close()
