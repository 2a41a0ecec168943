"""A process that anchors one head at one authority and kills itself (SIGKILL) at one durable boundary.

Arguments: what it dies at ("before sign", "after inject", ...), and JSON with the authority, the database and the head.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable
from typing import Any

import httpx

from ledger.anchoring.port import Obtained
from ledger.anchoring.tezos import LocalKey, TezosBackend, TezosConfiguration
from ledger.anchoring.tezos.backend import make_signer
from ledger.anchoring.tezos.journal import Attempt, Journal, Place
from ledger.anchoring.tezos.node import Node
from ledger.database.connections import Pool, make_pool


class Boundary:
    """Where this process ends."""

    def __init__(self, dies: str) -> None:
        self._dies = dies

    async def cross(self, name: str, writing: Awaitable[Any]) -> Any:
        self._die_at(f"before {name}")
        result = await writing
        self._die_at(f"after {name}")
        return result

    def _die_at(self, place: str) -> None:
        if self._dies == place:
            os.kill(os.getpid(), signal.SIGKILL)


class DyingJournal(Journal):
    """The journal, with a boundary around each of its writes."""

    def __init__(self, pool: Pool, authority: str, boundary: Boundary) -> None:
        super().__init__(pool, authority)
        self._boundary = boundary

    async def enqueue(self, digest: bytes) -> Place:
        place: Place = await self._boundary.cross("enqueue", super().enqueue(digest))
        return place

    async def _form_batch(self, *arguments: Any) -> Any:
        return await self._boundary.cross("form", super()._form_batch(*arguments))

    async def add_attempt(self, batch_id: int, attempt: Attempt) -> None:
        await self._boundary.cross("sign", super().add_attempt(batch_id, attempt))

    async def finish(self, batch_id: int, receipt: str, anchored_at: Any) -> None:
        await self._boundary.cross("finish", super().finish(batch_id, receipt, anchored_at))


def let_injecting_die(boundary: Boundary) -> None:
    inject = Node.inject

    async def dying_inject(node: Node, operation: bytes) -> str:
        answer: str = await boundary.cross("inject", inject(node, operation))
        return answer

    Node.inject = dying_inject  # type: ignore[method-assign,assignment]  # this process only


async def main(dies: str, told: dict[str, Any]) -> None:
    boundary = Boundary(dies)
    let_injecting_die(boundary)
    key, nodes = LocalKey(secret=told["secret"]), tuple(told["nodes"])
    configuration = TezosConfiguration(**told["configuration"], key=key, nodes=nodes, poll_seconds=0.0)
    pool = make_pool(told["dsn"], "dying", size=2, check=True)
    await pool.open()
    async with httpx.AsyncClient() as client:
        backend = TezosBackend(
            configuration,
            journal=DyingJournal(pool, configuration.name, boundary),
            signer=make_signer(configuration, client),
            client=client,
        )
        head = bytes.fromhex(told["head"])
        while not isinstance(await backend.anchor(head, None), Obtained):  # noqa: ASYNC110 - blocks announce nothing
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
