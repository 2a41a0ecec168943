"""Takes requests out of their queue one by one.

The client library's own `fetch` takes every message with a header "Status" for a remark of the server's, and drops it
or raises. The headers of a request are its sender's, who could so have requests delivered for ever and never answered.
Here a request is known by its reply subject, which JetStream sets on whatever it delivers and on nothing else.
"""

import asyncio
import json
from typing import Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import TimeoutError as NatsTimeoutError

from ledger.messaging.streams import Queue

ASK_SECONDS = 1.0  # how long a stop may take to be noticed by an idle lane
# After this the server has lost the question, which itself ends with ASK_SECONDS.
ANSWER_SECONDS = 5.0

_QUESTION = json.dumps({"batch": 1, "expires": int(ASK_SECONDS * 1e9)}).encode()
_ACKNOWLEDGE = "$JS.ACK."
_NOTHING_THERE = frozenset({"404", "408"})
_CONFLICT = "409"


class PullRefusedError(RuntimeError):
    """JetStream does not hand out requests; the text has its status."""


class Puller:
    """Asks for one request at a time; each lane has its own."""

    def __init__(self, client: Client, answers: Subscription, inbox: str, subject: str) -> None:
        """Use `open`."""
        self._subject = subject
        self._client = client
        self._answers = answers
        self._inbox = inbox

    @classmethod
    async def open(cls, client: Client, queue: Queue) -> Self:
        """Begin to listen for answers; the connection's end ends that."""
        inbox = client.new_inbox()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{queue.stream}.{queue.consumer}"
        return cls(client, await client.subscribe(inbox), inbox, subject)

    async def next_request(self) -> Msg | None:
        """The next request, or None when there was none within ASK_SECONDS. Raises PullRefusedError, nats errors."""
        await self._client.publish(self._subject, _QUESTION, reply=self._inbox)
        try:
            message = await self._answers.next_msg(timeout=ASK_SECONDS + ANSWER_SECONDS)
        except NatsTimeoutError:
            return None
        if message.reply.startswith(_ACKNOWLEDGE):
            return message
        status = (message.headers or {}).get("Status", "")
        if status == _CONFLICT:
            await asyncio.sleep(ASK_SECONDS)  # too many ask, or the server is about to move
        elif status not in _NOTHING_THERE:
            raise PullRefusedError(f"JetStream answered with status {status!r}")
        return None
