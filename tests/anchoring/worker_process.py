"""The anchoring worker as a process to kill: AUTHORITIES-FILE RUNTIME-DSN APPEND-DSN WORKER-DSN [before-storing].

With "before-storing" it prints the authority's name once it holds a verified answer, and never stores it.
"""

import asyncio
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from ledger.anchoring.authorities import load_authorities
from ledger.anchoring.metrics import AnchoringMetrics
from ledger.anchoring.worker import AnchoringWorker
from ledger.chain.receipt import ReceiptSigner
from ledger.store import LedgerStore
from ledger.store.values import AnchorJob


class HoldsAnswers(LedgerStore):
    """A store that stops at the durability boundary."""

    async def complete_anchor_job(self, job: AnchorJob, **_answer: object) -> bool:
        print(job.authority, flush=True)  # noqa: T201  # the parent waits for this line
        await asyncio.Event().wait()
        return False


async def main(path: str, runtime_dsn: str, append_dsn: str, worker_dsn: str, *stop: str) -> None:
    authorities = load_authorities(Path(path))
    kind = HoldsAnswers if stop == ("before-storing",) else LedgerStore
    store = await kind.open(
        runtime_dsn=runtime_dsn,
        append_dsn=append_dsn,
        worker_dsn=worker_dsn,
        signer=ReceiptSigner(key=Ed25519PrivateKey.generate(), name="ledger.test"),
        anchor_targets=authorities.targets,
    )
    await AnchoringWorker(store, authorities, metrics=AnchoringMetrics(CollectorRegistry())).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
