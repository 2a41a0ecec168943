from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.database import Database, Databases
from sandbox.issuer import Issuer
from sandbox.objects import Objects
from tests.folders import shared_in_folder
from tests.gateway.rest.world import World, running_world


@pytest.fixture(scope="module")
def world(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    databases: Databases,
    migrated_template: Database,
    issuer: Issuer,
    objects: Objects,
) -> World:
    """One gateway for all tests: each has sessions and incidents of its own."""

    @contextmanager
    def start() -> Iterator[World]:
        directory = tmp_path_factory.mktemp("gateway")
        with (
            databases.copy(migrated_template) as database,
            running_world(directory, database, issuer, objects) as running,
        ):
            yield running

    return shared_in_folder(request, Path(__file__).parent, start)
