import asyncio
import hashlib
import secrets

from ledger.anchoring.port import InProgress, Obtained
from sandbox.tezos import TezosSandbox
from tests.anchoring.tezos.tezos_under_test import CONFIRMATIONS, Anchoring


async def test_a_head_alone_is_anchored_as_it_is_and_its_receipt_verifies(anchoring: Anchoring) -> None:
    head = secrets.token_bytes(32)
    async with anchoring.backend() as backend:
        obtained = await anchoring.drive(backend, head)
    receipt = anchoring.require_valid(obtained, head)
    assert receipt["value"] == head.hex()
    assert receipt["aggregation"] is None
    assert bytes.fromhex(receipt["operation"]) == obtained.request
    assert len(receipt["observations"]) >= 2
    assert all(seen["confirmations"] >= CONFIRMATIONS for seen in receipt["observations"])
    assert len(anchoring.calls(head)) == 1


async def test_heads_that_wait_share_one_operation_and_each_gets_its_own_receipt(anchoring: Anchoring) -> None:
    heads = [hashlib.sha256(bytes([number])).digest() for number in range(7)]
    async with anchoring.backend(maximum_wait_seconds=3600.0, maximum_heads=len(heads)) as backend:
        for head in heads:
            assert isinstance(await backend.anchor(head, None), InProgress)
        obtained = [await anchoring.drive(backend, head) for head in heads]
    receipts = [anchoring.require_valid(found, head) for found, head in zip(obtained, heads, strict=True)]
    assert len({receipt["operation_hash"] for receipt in receipts}) == 1
    assert sorted(receipt["aggregation"]["leaf_index"] for receipt in receipts) == list(range(7))
    assert len(anchoring.calls(bytes.fromhex(receipts[0]["value"]))) == 1


async def test_heads_wait_for_company_no_longer_than_configured(anchoring: Anchoring, network: TezosSandbox) -> None:
    head = secrets.token_bytes(32)
    async with anchoring.backend(maximum_wait_seconds=3600.0) as backend:
        await backend.anchor(head, None)
        await backend.anchor(head, None)
        assert network.status()["pools"][0] == []
    await asyncio.sleep(0.1)
    async with anchoring.backend(maximum_wait_seconds=0.1) as backend:
        await backend.anchor(head, None)
        assert len(network.status()["pools"][0]) == 1
        await anchoring.drive(backend, head)


async def test_asking_again_for_an_anchored_head_gives_the_same_receipt_and_costs_nothing(anchoring: Anchoring) -> None:
    head = secrets.token_bytes(32)
    async with anchoring.backend() as backend:
        first = await anchoring.drive(backend, head)
    async with anchoring.backend() as backend:
        again = await backend.anchor(head, None)
    assert isinstance(again, Obtained)
    assert again.response == first.response
    assert len(anchoring.calls(head)) == 1
