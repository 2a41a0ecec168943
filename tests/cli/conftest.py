from collections.abc import Iterator

import pytest

from sandbox.database import Database
from sandbox.issuer import Issuer
from tests.service.serving import Service, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, module_database: Database, issuer: Issuer) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), module_database, issuer) as running:
        yield running


@pytest.fixture(scope="module")
def caller(service: Service) -> dict[str, str]:
    """The environment of somebody who calls the service."""
    return {"INDELIBLE_LEDGER": service.address, "INDELIBLE_TOKEN": service.token()}
