"""A network on this machine with the contract on it, and authorities that anchor there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.database import Database
from sandbox.tezos import TezosSandbox
from tests.anchoring.tezos.tezos_under_test import TTL_BLOCKS, Anchoring, running_network
from tests.folders import shared_in_folder


@pytest.fixture(scope="module")
def running_tezos(request: pytest.FixtureRequest, sandbox_directory: Path) -> TezosSandbox:
    directory = sandbox_directory / "tezos"
    return shared_in_folder(request, Path(__file__).parent, lambda: running_network(directory, ttl=TTL_BLOCKS))


@pytest.fixture
def network(running_tezos: TezosSandbox) -> Iterator[TezosSandbox]:
    """The network, without faults and forks at the beginning of each test."""
    running_tezos.heal()
    yield running_tezos
    running_tezos.heal()


@pytest.fixture
def contract(network: TezosSandbox) -> str:
    return network.contract


@pytest.fixture
def anchoring(network: TezosSandbox, contract: str, module_database: Database) -> Anchoring:
    """A new authority on the network."""
    return Anchoring(network=network, contract=contract, worker_dsn=module_database.worker_dsn)
