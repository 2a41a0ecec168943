"""A network on this machine with the contract on it, and authorities that anchor there."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger.anchoring.tezos.originate import originate
from sandbox.database import Database
from sandbox.tezos import TezosSandbox, start_tezos
from tests.anchoring.tezos.tezos_under_test import TTL_BLOCKS, Anchoring, require_pytezos
from tests.folders import shared_in_folder


@pytest.fixture(scope="module")
def running_tezos(request: pytest.FixtureRequest, sandbox_directory: Path) -> tuple[TezosSandbox, str]:
    require_pytezos()

    @contextmanager
    def start() -> Iterator[tuple[TezosSandbox, str]]:
        with start_tezos(sandbox_directory / "tezos", ttl=TTL_BLOCKS) as network:
            yield network, _originate(network)

    return shared_in_folder(request, Path(__file__).parent, start)


def _originate(network: TezosSandbox) -> str:
    async def baking() -> str:
        task = asyncio.create_task(
            asyncio.to_thread(originate, network.nodes[0], network.secret, confirmations=1, poll_seconds=0.05)
        )
        while not task.done():
            await asyncio.to_thread(network.bake)
            await asyncio.sleep(0.1)
        return await task

    return asyncio.run(baking())


@pytest.fixture
def network(running_tezos: tuple[TezosSandbox, str]) -> Iterator[TezosSandbox]:
    """The network, without faults and forks at the beginning of each test."""
    running, _ = running_tezos
    running.heal()
    yield running
    running.heal()


@pytest.fixture
def contract(running_tezos: tuple[TezosSandbox, str]) -> str:
    return running_tezos[1]


@pytest.fixture
def anchoring(network: TezosSandbox, contract: str, module_database: Database) -> Anchoring:
    """A new authority on the network."""
    return Anchoring(network=network, contract=contract, worker_dsn=module_database.worker_dsn)
