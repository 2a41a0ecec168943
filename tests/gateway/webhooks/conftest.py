"""A real ledger, the gateway's records in a real database, and what a worker works with."""

import ipaddress
from collections.abc import AsyncIterator, Iterator

import pytest
from cryptography.fernet import Fernet

from gateway.records.records import Records
from gateway.webhooks.sealing import Sealer
from gateway.webhooks.sending import Sender
from ledger.database.connections import Pool, make_pool
from sandbox.database import Database
from sandbox.issuer import Issuer
from tests.gateway.webhooks.world import World
from tests.service.serving import Service, running_service


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, module_database: Database, issuer: Issuer) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("ledger"), module_database, issuer) as running:
        yield running


@pytest.fixture(scope="module")
def records(module_database: Database) -> Iterator[Records]:
    opened = Records.open(module_database.gateway_dsn, size=2)
    yield opened
    opened.close()


@pytest.fixture
async def pool(module_database: Database) -> AsyncIterator[Pool]:
    opened = make_pool(module_database.gateway_worker_dsn, "gateway-worker", size=4, check=True)
    async with opened:
        yield opened


@pytest.fixture
def world(ledger: Service, records: Records, pool: Pool) -> World:
    """Everything, with the network of this machine allowed."""
    keys = (Fernet.generate_key(),)
    return World(
        ledger=ledger,
        records=records,
        pool=pool,
        keys=keys,
        sealer=Sealer(keys),
        sender=Sender([ipaddress.ip_network("127.0.0.0/8")]),
    )
