from collections.abc import Iterator

import pytest

from sandbox.database import Database
from sandbox.issuer import Issuer
from tests.gateway.auth.bench import Bench, gateway_bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, module_database: Database, issuer: Issuer) -> Iterator[Bench]:
    with gateway_bench(tmp_path_factory.mktemp("gateway"), module_database, issuer) as made:
        yield made
