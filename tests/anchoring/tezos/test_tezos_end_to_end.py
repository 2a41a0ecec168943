"""Closed chains of a real ledger, anchored by the real worker, while the network makes blocks."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Sequence

from ledger.anchoring.port import AnchorBackend
from ledger.bundle import write_bundle
from sandbox.database import Database
from tests.anchoring.ledger_under_test import open_ledger, working
from tests.anchoring.tezos.tezos_under_test import Anchoring
from verifier.policy import TrustPolicy
from verifier.tezos import TezosTrust
from verifier.verify import verify_bundle


class OneAuthority:
    """Where the worker gets its backends from."""

    def __init__(self, anchoring: Anchoring, *, heads: int) -> None:
        self._anchoring = anchoring
        self._heads = heads

    @contextlib.asynccontextmanager
    async def open_backends(self) -> AsyncIterator[Sequence[AnchorBackend]]:
        async with self._anchoring.backend(
            maximum_wait_seconds=3600.0, maximum_heads=self._heads, poll_seconds=0.2
        ) as backend:
            yield [backend]


async def test_chains_closed_together_are_anchored_by_one_operation_and_show_how_far_they_are(
    anchoring: Anchoring, module_database: Database
) -> None:
    chains = [f"session-{number}" for number in range(5)]
    name = anchoring.configuration.name
    async with open_ledger(module_database, [anchoring.configuration.target]) as ledger:
        for chain in chains:
            await ledger.closed_session(chain)
        async with working(ledger.store, OneAuthority(anchoring, heads=len(chains))):
            status = await ledger.wait_for_failure(chains[0], name)
            assert status.state == "pending"
            assert "wait" in status.last_error or "operation" in status.last_error
            baking = asyncio.create_task(bake_for_ever(anchoring))
            for chain in chains:
                await ledger.wait_for(chain, name, state="obtained")
            baking.cancel()
        bundle = io.BytesIO()
        await write_bundle(ledger.store, ledger.organisation, chains[0], include_disclosures=False, target=bundle)
        stored = [(await ledger.store.stored_anchors(ledger.organisation, chain))[0] for chain in chains]
    receipts = [json.loads(anchor.response) for anchor in stored]
    assert len({receipt["operation_hash"] for receipt in receipts}) == 1
    assert {receipt["aggregation"]["tree_size"] for receipt in receipts} == {len(chains)}
    assert len(anchoring.calls(bytes.fromhex(receipts[0]["value"]))) == 1
    trust = TezosTrust(chain_id=receipts[0]["chain_id"], block_hashes=frozenset({receipts[0]["block_hash"]}))
    assert verify_bundle(bundle, policy=TrustPolicy(tezos={name: trust})).verdict == "VERIFIED"
    unknown = TezosTrust(chain_id=receipts[0]["chain_id"])
    report = verify_bundle(bundle, policy=TrustPolicy(tezos={name: unknown}))
    assert (report.verdict, report.tokens[0].status) == ("INDETERMINATE", "unconfirmed")


async def bake_for_ever(anchoring: Anchoring) -> None:
    while True:
        await asyncio.to_thread(anchoring.network.bake)
        await asyncio.sleep(0.2)
