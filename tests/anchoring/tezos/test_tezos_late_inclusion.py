"""With the main network's own time to live, 600 blocks: the last block that may include an operation, and the next."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.anchoring.port import Obtained
from ledger.anchoring.tezos import TezosBackend
from ledger.anchoring.tezos.configuration import OPERATION_TTL_BLOCKS
from ledger.anchoring.tezos.sending import BRANCH_DEPTH
from sandbox.database import Database
from sandbox.tezos import NodeFaults, TezosSandbox
from tests.anchoring.tezos.tezos_under_test import CONFIRMATIONS, Anchoring, running_network

BLOCKS_AT_ONCE = 100
# An operation is sent while the head lies BRANCH_DEPTH above its branch.
LAST_CHANCE = OPERATION_TTL_BLOCKS - BRANCH_DEPTH - 1


@pytest.fixture(scope="module")
def slow_network(sandbox_directory: Path) -> Iterator[TezosSandbox]:
    with running_network(sandbox_directory / "tezos-600", ttl=OPERATION_TTL_BLOCKS) as network:
        yield network


@pytest.fixture
def patient(slow_network: TezosSandbox, module_database: Database) -> Anchoring:
    slow_network.heal()
    return Anchoring(network=slow_network, contract=slow_network.contract, worker_dsn=module_database.worker_dsn)


async def follow(anchoring: Anchoring, backend: TezosBackend, head: bytes, *, blocks: int) -> Obtained | None:
    """Let the network make `blocks`, with a look now and then, and see whether the head is anchored in the end."""
    while blocks:
        step = min(BLOCKS_AT_ONCE, blocks)
        await asyncio.to_thread(anchoring.network.bake, step)
        outcome = await backend.anchor(head, None)
        blocks -= step
    return outcome if isinstance(outcome, Obtained) else None


async def test_an_operation_in_the_last_block_that_may_include_it_is_the_one(patient: Anchoring) -> None:
    head = secrets.token_bytes(32)
    patient.network.misbehave(NodeFaults(hold_blocks=LAST_CHANCE), nodes=range(3))
    async with patient.backend(operation_ttl_blocks=OPERATION_TTL_BLOCKS) as backend:
        await backend.anchor(head, None)
        assert await follow(patient, backend, head, blocks=LAST_CHANCE) is None
        assert patient.calls(head) == []
        obtained = await follow(patient, backend, head, blocks=1 + CONFIRMATIONS)
    assert obtained is not None
    receipt = patient.require_valid(obtained, head)
    [call] = patient.calls(head)
    assert call["level"] == receipt["level"]


async def test_an_operation_that_no_block_may_include_any_more_is_signed_anew_with_the_same_counter(
    patient: Anchoring,
) -> None:
    head = secrets.token_bytes(32)
    counter = patient.network.status()["accounts"][patient.network.address]["counter"]
    patient.network.misbehave(NodeFaults(hold_blocks=LAST_CHANCE + 1), nodes=range(3))
    async with patient.backend(operation_ttl_blocks=OPERATION_TTL_BLOCKS) as backend:
        await backend.anchor(head, None)
        assert await follow(patient, backend, head, blocks=LAST_CHANCE + CONFIRMATIONS) is None
        journal = backend._journal
        batch = await journal.enqueue(head)
        assert batch.batch_id is not None
        assert len(await journal.attempts(batch.batch_id)) == 1, "it was given up while it could still be included"
        patient.network.heal()
        obtained = await follow(patient, backend, head, blocks=2)
        assert [attempt.counter for attempt in await journal.attempts(batch.batch_id)] == [counter + 1] * 2
        obtained = await follow(patient, backend, head, blocks=1 + CONFIRMATIONS)
    assert obtained is not None
    patient.require_valid(obtained, head)
    assert len(patient.calls(head)) == 1
