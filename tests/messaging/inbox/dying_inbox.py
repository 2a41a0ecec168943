"""Runs the inbox on a store that ends the process right after a commit, before anything can be acknowledged."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from ledger.chain.receipt import ReceiptSigner
from ledger.identity import Authenticator, KeyFile
from ledger.messaging.inbox import run_inbox
from ledger.messaging.metrics import InboxMetrics
from ledger.settings_reader import TokenSettings
from ledger.store import LedgerStore
from ledger.store.values import NewEvent, Receipt

DIED_AS_TOLD = 99


class DyingStore(LedgerStore):
    async def append_events(
        self,
        organisation_id: str,
        chain_id: str,
        events: Sequence[NewEvent],
        idempotency_key: str,
        expected_sequence: int | None = None,
    ) -> Receipt:
        await super().append_events(organisation_id, chain_id, events, idempotency_key, expected_sequence)
        os._exit(DIED_AS_TOLD)


async def main() -> None:
    runtime_dsn, append_dsn, worker_dsn, nats_url, issuer, audience, jwks_file = sys.argv[1:]
    store = await DyingStore.open(
        runtime_dsn=runtime_dsn,
        append_dsn=append_dsn,
        worker_dsn=worker_dsn,
        signer=ReceiptSigner(key=Ed25519PrivateKey.generate(), name="ledger.test"),
        anchor_targets=[],
    )
    settings = TokenSettings(issuer=issuer, audience=audience, keys=Path(jwks_file))
    authenticator = Authenticator(settings, KeyFile(Path(jwks_file)))
    await run_inbox(store, authenticator, nats_url, asyncio.Event(), InboxMetrics(CollectorRegistry()))


if __name__ == "__main__":
    asyncio.run(main())
