"""Stores on a fresh database with two registered organisations, and the means to write around them."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.chain.receipt import ReceiptSigner
from ledger.store import LedgerStore
from ledger.store.admin import add_organisation
from ledger.store.store import clock_us
from ledger.store.values import AnchorTarget
from sandbox.database import Database

TARGETS = (
    AnchorTarget(backend="rfc3161", authority="one"),
    AnchorTarget(backend="rfc3161", authority="two"),
)
SIGNER = ReceiptSigner(key=Ed25519PrivateKey.from_private_bytes(bytes(32)), name="ledger.test")


async def open_store(database: Database, clock: Callable[[], int] = clock_us) -> LedgerStore:
    return await LedgerStore.open(
        runtime_dsn=database.runtime_dsn,
        append_dsn=database.append_dsn,
        worker_dsn=database.worker_dsn,
        signer=SIGNER,
        anchor_targets=TARGETS,
        clock=clock,
    )


def register(database: Database) -> None:
    add_organisation(database.admin_dsn, "acme", "Acme Security")
    add_organisation(database.admin_dsn, "zenith", "Zenith")


@pytest.fixture
async def store(database: Database) -> AsyncIterator[LedgerStore]:
    await asyncio.to_thread(register, database)
    store = await open_store(database)
    yield store
    await store.close()


@pytest.fixture
async def other_store(database: Database, store: LedgerStore) -> AsyncIterator[LedgerStore]:
    """What a second process would have: it shares nothing with `store` but the tables."""
    other = await open_store(database)
    yield other
    await other.close()


@pytest.fixture
async def store_with_clock(database: Database) -> AsyncIterator[tuple[LedgerStore, "Clock"]]:
    await asyncio.to_thread(register, database)
    clock = Clock()
    store = await open_store(database, clock)
    yield store, clock
    await store.close()


class Clock:
    """A clock that the test sets, in microseconds."""

    def __init__(self) -> None:
        self.now = clock_us()

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def signer() -> ReceiptSigner:
    return SIGNER
