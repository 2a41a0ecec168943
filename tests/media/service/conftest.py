from collections.abc import Iterator

import pytest

from sandbox.database import Database, Databases
from sandbox.issuer import Issuer
from sandbox.objects import Objects
from tests.media.service.evidence import Evidence, running_evidence
from tests.service.serving import Service, running_service


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, module_database: Database, issuer: Issuer) -> Iterator[Service]:
    """A ledger for tests that run evidence services of their own."""
    with running_service(tmp_path_factory.mktemp("ledger"), module_database, issuer) as running:
        yield running


@pytest.fixture(scope="session")
def evidence(
    tmp_path_factory: pytest.TempPathFactory,
    databases: Databases,
    migrated_template: Database,
    issuer: Issuer,
    objects: Objects,
) -> Iterator[Evidence]:
    """A running evidence service with one worker, which tests share: each has incidents of its own."""
    with (
        databases.copy(migrated_template) as database,
        running_service(tmp_path_factory.mktemp("ledger"), database, issuer) as ledger,
        running_evidence(tmp_path_factory.mktemp("evidence"), ledger, objects) as running,
    ):
        running.work()
        yield running
