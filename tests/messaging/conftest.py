import contextlib
from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.chain.receipt import ReceiptSigner
from ledger.identity import Authenticator, KeyFile
from ledger.settings_reader import TokenSettings
from ledger.store import LedgerStore
from ledger.store.admin import add_organisation
from ledger.store.values import AnchorTarget
from sandbox.database import Database
from sandbox.issuer import Issuer

# Longer than any pause of the product, on a machine that is busy with other things.
PATIENCE_SECONDS = 120.0


@contextlib.asynccontextmanager
async def open_store(database: Database) -> AsyncIterator[LedgerStore]:
    store = await LedgerStore.open(
        runtime_dsn=database.runtime_dsn,
        append_dsn=database.append_dsn,
        worker_dsn=database.worker_dsn,
        signer=ReceiptSigner(key=Ed25519PrivateKey.generate(), name="ledger.test"),
        anchor_targets=[AnchorTarget(backend="rfc3161", authority="one")],
    )
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(database: Database) -> AsyncIterator[LedgerStore]:
    add_organisation(database.admin_dsn, "acme", "Acme Ltd")
    add_organisation(database.admin_dsn, "other", "Other Ltd")
    async with open_store(database) as opened:
        yield opened


@pytest.fixture
def authenticator(issuer: Issuer) -> Authenticator:
    settings = TokenSettings(issuer=issuer.issuer, audience=issuer.audience, keys=issuer.jwks_file)
    return Authenticator(settings, KeyFile(issuer.jwks_file))
