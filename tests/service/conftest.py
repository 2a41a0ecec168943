from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ledger.client import LedgerClient
from sandbox.database import Database
from sandbox.issuer import Issuer
from tests.service.serving import Service, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, module_database: Database, issuer: Issuer) -> Iterator[Service]:
    """A running ledger service that the tests of one module share: each uses chains of its own."""
    with running_service(tmp_path_factory.mktemp("service"), module_database, issuer) as running:
        yield running


@pytest.fixture
async def client(service: Service) -> AsyncIterator[LedgerClient]:
    async with service.client() as opened:
        yield opened


@pytest.fixture
def own_service(tmp_path: Path, database: Database, issuer: Issuer) -> Iterator[Service]:
    """A service of one test, which may stop it."""
    with running_service(tmp_path, database, issuer) as running:
        yield running
