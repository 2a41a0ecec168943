import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from media.recordings import livekit as port
from media.recordings.livekit_values import EgressStorage
from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.livekit import Filming, LiveKitDouble
from sandbox.objects import Objects
from tests.media.recordings.control.studio import Studio, livekit_settings, make_tokens, open_control
from tests.media.storage.conftest import make_store
from tests.service.serving import Service, running_service


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "PAUSE_SECONDS", 0.01)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, module_database: Database, issuer: Issuer) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("ledger"), module_database, issuer) as running:
        yield running


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory, ledger: Service) -> Path:
    return make_tokens(tmp_path_factory.mktemp("tokens"), ledger)


@pytest.fixture(scope="session")
def storage(objects: Objects) -> EgressStorage:
    """Where LiveKit uploads to."""
    bucket = f"raw-{secrets.token_hex(6)}"
    make_store(objects, objects.url, bucket).bucket.writer.create_bucket(Bucket=bucket)
    return EgressStorage(
        bucket=bucket,
        region="us-east-1",
        endpoint_url=objects.url,
        access_key=objects.access_key,
        secret_key=objects.secret_key,
    )


@pytest.fixture
def double() -> Iterator[LiveKitDouble]:
    # What is filmed is nobody's concern here.
    with LiveKitDouble(
        filming=Filming(width=160, height=96, composite_width=160, composite_height=96, rate=5)
    ) as running:
        yield running


@pytest.fixture
async def studio(
    module_database: Database, ledger: Service, tokens: Path, double: LiveKitDouble, storage: EgressStorage
) -> AsyncIterator[Studio]:
    settings = livekit_settings(double, storage)
    async with open_control(module_database, ledger, tokens, settings) as control:
        yield Studio(control, settings, double, ledger)
