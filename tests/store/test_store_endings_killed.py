"""A service that is killed at each step of ending a session: whoever comes next ends it the same."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

from ledger.roles import APPEND_ROLE
from ledger.store import LedgerStore, append
from sandbox.database import Database
from tests.store.conftest import TARGETS, open_store
from tests.store.test_store_endings import CLIP_DONE, anchored, event, events_of, notes

# Nothing of the test's own threads goes into the child, which starts in milliseconds.
_PROCESSES = multiprocessing.get_context("forkserver")


class _Executioner:
    """Kills its process before the n-th of the things that matter: rows are sent, a transaction ends."""

    def __init__(self, at: int) -> None:
        self._left = at

    def step(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def stepped(first: Any, *others: Any, **options: Any) -> Any:
            connection = getattr(first, "connection", first)
            if connection.info.user == APPEND_ROLE:  # others only read
                self.step()
            return await work(first, *others, **options)

        return stepped


def run_and_die(database: Database, chain_id: str, at: int) -> None:
    """End the session and tell of its last clip, in a process that does not live through it."""
    executioner = _Executioner(at)

    async def run() -> None:
        store = await open_store(database)
        for owner, name in (
            (psycopg.AsyncTransaction, "__aexit__"),
            (psycopg.AsyncCopy, "write"),
            (append, "run_with_copy"),
        ):
            setattr(owner, name, executioner.around(getattr(owner, name)))
        await end(store, chain_id)
        await store.close()

    asyncio.run(run())


async def end(store: LedgerStore, chain_id: str) -> None:
    await store.end_session("acme", chain_id)
    await store.append_events("acme", chain_id, [CLIP_DONE], "done")


async def test_whenever_the_service_is_killed_the_session_ends_and_its_chain_closes_once(
    store: LedgerStore, database: Database
) -> None:
    _PROCESSES.set_forkserver_preload([__name__])
    at = deaths = 0
    while at == deaths:
        at += 1
        chain_id = f"visit-{at}"
        await store.open_chain("acme", chain_id, b"{}")
        await store.append_events("acme", chain_id, [event("clip.requested", clip_id="c1")], "begin")
        child = _PROCESSES.Process(target=run_and_die, args=(database, chain_id, at))
        child.start()
        await asyncio.to_thread(child.join)
        deaths += child.exitcode == -signal.SIGKILL
        # What callers do who got no answer, and what every service's schedule does.
        await end(store, chain_id)
        for organisation_id, due in await store.due_closings():
            await store.close_chain(organisation_id, due)
        told = await events_of(store, chain_id)
        assert [one.kind for one in told] == [
            "chain.opened",
            "clip.requested",
            "session.ended",
            "chain.checkpointed",
            "clip.preserved",
            "chain.closed",
        ]
        assert await anchored(store, chain_id) == [4, 6]
        assert len(await store.list_anchors("acme", chain_id, limit=100)) == 2 * len(TARGETS)
        assert [kind for kind, _ in await notes(store, chain_id)] == ["ledger.session_ended", "ledger.chain_closed"]
    assert child.exitcode == 0
    assert deaths == 8  # rows: 3 of the end, 1 group with the result, 2 of the closing; the ends of two transactions
