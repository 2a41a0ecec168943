"""A store on a fresh database, with two organisations and two authorities that nobody asks."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.chain.receipt import ReceiptSigner
from ledger.store import LedgerStore
from ledger.store.admin import add_organisation
from ledger.store.values import AnchorTarget
from sandbox.database import Database

TARGETS = (
    AnchorTarget(backend="rfc3161", authority="one"),
    AnchorTarget(backend="rfc3161", authority="two"),
)


async def open_store(database: Database) -> LedgerStore:
    return await LedgerStore.open(
        runtime_dsn=database.runtime_dsn,
        append_dsn=database.append_dsn,
        worker_dsn=database.worker_dsn,
        signer=ReceiptSigner(key=Ed25519PrivateKey.generate(), name="ledger.test"),
        anchor_targets=TARGETS,
    )


@pytest.fixture
async def store(database: Database) -> AsyncIterator[LedgerStore]:
    await asyncio.to_thread(add_organisation, database.admin_dsn, "acme", "Acme Security")
    await asyncio.to_thread(add_organisation, database.admin_dsn, "zenith", "Zenith")
    store = await open_store(database)
    yield store
    await store.close()


@pytest.fixture
async def other_store(database: Database, store: LedgerStore) -> AsyncIterator[LedgerStore]:
    """A second process' view of the same database: it shares nothing with `store` but the tables."""
    other = await open_store(database)
    yield other
    await other.close()
