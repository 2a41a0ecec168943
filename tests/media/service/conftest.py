from collections.abc import Iterator

import pytest

from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.objects import Objects
from tests.media.service.evidence import Evidence, running_evidence
from tests.service.serving import Service, running_service


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, module_database: Database, issuer: Issuer) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("ledger"), module_database, issuer) as running:
        yield running


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory, ledger: Service, objects: Objects) -> Iterator[Evidence]:
    """A running evidence service with one worker, which the tests of a module share: each has incidents of its own."""
    with running_evidence(tmp_path_factory.mktemp("evidence"), ledger, objects) as running:
        running.work()
        yield running
