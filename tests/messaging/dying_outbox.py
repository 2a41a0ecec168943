"""Runs the relay on a store that ends the process when published entries are about to be forgotten."""

import asyncio
import os
import sys
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from ledger.chain.receipt import ReceiptSigner
from ledger.messaging.metrics import OutboxMetrics
from ledger.messaging.outbox import run_outbox
from ledger.store import LedgerStore

DIED_AS_TOLD = 99


class DyingStore(LedgerStore):
    async def delete_outbox(self, ids: Sequence[int]) -> None:
        assert ids
        os._exit(DIED_AS_TOLD)


async def main() -> None:
    runtime_dsn, append_dsn, worker_dsn, nats_url = sys.argv[1:]
    store = await DyingStore.open(
        runtime_dsn=runtime_dsn,
        append_dsn=append_dsn,
        worker_dsn=worker_dsn,
        signer=ReceiptSigner(key=Ed25519PrivateKey.generate(), name="ledger.test"),
        anchor_targets=[],
    )
    await run_outbox(store, worker_dsn, nats_url, asyncio.Event(), OutboxMetrics(CollectorRegistry()))


if __name__ == "__main__":
    asyncio.run(main())
