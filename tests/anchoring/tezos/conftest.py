"""A network on this machine with the contract on it, and authorities that anchor there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.database import Database
from sandbox.tezos import TezosSandbox
from tests.anchoring.tezos.tezos_under_test import TTL_BLOCKS, Anchoring, running_network


@pytest.fixture(scope="session")
def running_tezos(sandbox_directory: Path) -> Iterator[TezosSandbox]:
    with running_network(sandbox_directory / "tezos", ttl=TTL_BLOCKS) as network:
        yield network


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
