from collections.abc import Iterator

import pytest

from sandbox.database import Database, Databases
from sandbox.issuer import Issuer
from sandbox.objects import Objects
from tests.gateway.rest.world import World, running_world


@pytest.fixture(scope="session")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    databases: Databases,
    migrated_template: Database,
    issuer: Issuer,
    objects: Objects,
) -> Iterator[World]:
    """One gateway for all tests: each has sessions and incidents of its own."""
    with (
        databases.copy(migrated_template) as database,
        running_world(tmp_path_factory.mktemp("gateway"), database, issuer, objects) as running,
    ):
        yield running
