"""A real store on a real database, with one organisation."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.chain.receipt import ReceiptSigner
from ledger.store import LedgerStore
from ledger.store.admin import add_organisation
from ledger.store.values import AnchorTarget
from sandbox.database import Database

ORGANISATION = "acme"


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """A store and the database under it."""

    store: LedgerStore
    database: Database


@contextlib.asynccontextmanager
async def open_ledger(database: Database, targets: Sequence[AnchorTarget]) -> AsyncIterator[Ledger]:
    """A ledger that anchors at `targets`, with the organisation "Acme Security"."""
    await asyncio.to_thread(add_organisation, database.admin_dsn, ORGANISATION, "Acme Security")
    store = await LedgerStore.open(
        runtime_dsn=database.runtime_dsn,
        append_dsn=database.append_dsn,
        worker_dsn=database.worker_dsn,
        signer=ReceiptSigner(key=Ed25519PrivateKey.generate(), name="ledger.test"),
        anchor_targets=targets,
    )
    try:
        yield Ledger(store=store, database=database)
    finally:
        await store.close()
