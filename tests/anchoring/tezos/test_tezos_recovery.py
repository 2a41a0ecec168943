"""Killed at each durable boundary: whoever comes next goes on from what is stored, and never pays twice."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
import pytest

from ledger.anchoring.port import Obtained, RefusedError
from ledger.anchoring.tezos import LocalKey, TezosBackend
from ledger.anchoring.tezos.backend import make_signer
from ledger.anchoring.tezos.journal import Attempt, Journal
from ledger.anchoring.tezos.node import Node
from ledger.database.connections import make_pool
from tests.anchoring.tezos.tezos_under_test import Anchoring
from verifier.tezos import base58


class Killed(BaseException):
    """What a killed process does: nothing more, not even handling errors."""


class DyingJournal(Journal):
    """The journal of a process that is killed before or after one of its writes."""

    def __init__(self, pool: Any, authority: str, *, dies: str) -> None:
        super().__init__(pool, authority)
        self._dies = dies

    async def enqueue(self, digest: bytes) -> Any:
        return await self._write("enqueue", super().enqueue(digest))

    async def _form_batch(self, *arguments: Any) -> Any:
        return await self._write("form", super()._form_batch(*arguments))

    async def add_attempt(self, batch_id: int, attempt: Attempt) -> None:
        await self._write("sign", super().add_attempt(batch_id, attempt))

    async def finish(self, batch_id: int, receipt: str, anchored_at: datetime) -> None:
        await self._write("finish", super().finish(batch_id, receipt, anchored_at))

    async def _write(self, name: str, writing: Any) -> Any:
        if self._dies == f"before {name}":
            writing.close()
            raise Killed
        result = await writing
        if self._dies == f"after {name}":
            raise Killed
        return result


@asynccontextmanager
async def dying_backend(anchoring: Anchoring, dies: str) -> AsyncIterator[TezosBackend]:
    pool = make_pool(anchoring.worker_dsn, "dying", size=2, check=True)
    await pool.open()
    async with httpx.AsyncClient() as client:
        journal = DyingJournal(pool, anchoring.configuration.name, dies=dies)
        signer = make_signer(anchoring.configuration, client)
        yield TezosBackend(anchoring.configuration, journal=journal, signer=signer, client=client)
    await pool.close()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", ["enqueue", "form", "sign", "finish"])
async def test_a_process_killed_at_a_write_is_followed_by_one_that_pays_nothing_twice(
    anchoring: Anchoring, when: str, write: str
) -> None:
    head = secrets.token_bytes(32)
    async with dying_backend(anchoring, f"{when} {write}") as dying:
        with pytest.raises(Killed):
            await anchoring.drive(dying, head)
    async with anchoring.backend() as backend:
        obtained = await anchoring.drive(backend, head)
    anchoring.require_valid(obtained, head)
    assert len(anchoring.calls(head)) == 1


async def test_a_process_killed_between_injecting_and_the_answer_is_followed_by_one_that_pays_nothing_twice(
    anchoring: Anchoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = secrets.token_bytes(32)
    injecting = Node.inject

    async def inject_and_die(node: Node, operation: bytes) -> str:
        await injecting(node, operation)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Node, "inject", inject_and_die)
        async with anchoring.backend() as dying:
            with pytest.raises(Killed):
                await anchoring.drive(dying, head)
    async with anchoring.backend() as backend:
        obtained = await anchoring.drive(backend, head)
    anchoring.require_valid(obtained, head)
    assert len(anchoring.calls(head)) == 1


async def test_two_processes_at_once_make_one_operation(anchoring: Anchoring) -> None:
    head = secrets.token_bytes(32)
    async with anchoring.backend() as one, anchoring.backend() as two:
        for _ in range(20):
            outcomes = await asyncio.gather(one.anchor(head, None), two.anchor(head, None))
            if all(isinstance(outcome, Obtained) for outcome in outcomes):
                break
            await asyncio.to_thread(anchoring.network.bake)
    assert isinstance(outcomes[0], Obtained)
    assert isinstance(outcomes[1], Obtained)
    assert outcomes[0].response == outcomes[1].response
    assert len(anchoring.calls(head)) == 1


async def test_another_account_is_refused_while_an_operation_is_under_way(anchoring: Anchoring) -> None:
    head = secrets.token_bytes(32)
    async with anchoring.backend() as backend:
        await backend.anchor(head, None)
    other = base58.encode(bytes([13, 15, 58, 7]), secrets.token_bytes(32))
    anchoring.configuration = replace(anchoring.configuration, key=LocalKey(secret=other))
    async with anchoring.backend() as backend:
        with pytest.raises(RefusedError, match="another account"):
            await backend.anchor(head, None)


async def test_an_operation_that_would_fail_is_not_sent_and_costs_nothing(anchoring: Anchoring) -> None:
    missing = base58.encode(base58.CONTRACT, secrets.token_bytes(20))
    before = anchoring.network.status()["accounts"][anchoring.network.address]["balance"]
    async with anchoring.backend(contract=missing) as backend:
        with pytest.raises(RefusedError, match=r"would fail: .*non_existing_contract"):
            await backend.anchor(secrets.token_bytes(32), None)
    assert anchoring.network.status()["accounts"][anchoring.network.address]["balance"] == before


async def test_no_operation_costs_more_than_allowed_whatever_a_node_says(anchoring: Anchoring) -> None:
    async with anchoring.backend(maximum_fee=100) as backend:
        with pytest.raises(RefusedError, match="at most 100"):
            await backend.anchor(secrets.token_bytes(32), None)
