import time
from collections.abc import Iterator

import pytest

from gateway.ratelimit import RateLimiter
from sandbox.database import Database
from sandbox.issuer import Issuer
from tests.gateway.auth.bench import Bench, gateway_bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, module_database: Database, issuer: Issuer) -> Iterator[Bench]:
    with gateway_bench(tmp_path_factory.mktemp("gateway"), module_database, issuer) as made:
        yield made


@pytest.fixture
def no_time_for_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a test's requests take, nothing comes back for whoever has used up what is allowed."""
    now = time.monotonic()
    monkeypatch.setattr(RateLimiter, "_clock", property(lambda _: lambda: now), raising=False)
