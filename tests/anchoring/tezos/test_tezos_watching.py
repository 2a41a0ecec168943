"""What nodes can do to mislead the watcher, and long outages."""

import asyncio
import hashlib
import importlib
import secrets
from datetime import timedelta

import httpx
import pytest

from ledger.anchoring.tezos import LocalKey
from ledger.anchoring.tezos import backend as tezos_backend
from ledger.anchoring.tezos import chain as tezos_chain
from ledger.anchoring.tezos.chain import look_at_chains
from ledger.anchoring.tezos.journal import Journal
from ledger.anchoring.tezos.keys import LocalSigner
from ledger.anchoring.tezos.node import BlockCache, Node, NodeError
from ledger.anchoring.tezos.originate import originate
from sandbox.tezos import NodeFaults, TezosSandbox
from tests.anchoring.tezos.tezos_under_test import CONFIRMATIONS, TTL_BLOCKS, Anchoring
from verifier.tezos import base58
from verifier.tezos.nodes import parse_node


async def test_one_node_alone_never_makes_an_operation_final(anchoring: Anchoring, network: TezosSandbox) -> None:
    head = secrets.token_bytes(32)
    async with anchoring.backend() as backend:
        await backend.anchor(head, None)
        network.misbehave(NodeFaults(down_every=1), nodes=[1, 2])
        with pytest.raises(AssertionError, match="no receipt"):
            await anchoring.drive(backend, head, most_blocks=CONFIRMATIONS + 5)
        network.heal()
        await anchoring.drive(backend, head)
    assert len(anchoring.calls(head)) == 1


async def test_an_operation_included_at_the_last_moment_is_still_the_one(
    anchoring: Anchoring, network: TezosSandbox
) -> None:
    head = secrets.token_bytes(32)
    network.misbehave(NodeFaults(hold_blocks=TTL_BLOCKS - 4), nodes=[0, 1, 2])
    async with anchoring.backend() as backend:
        await anchoring.drive(backend, head)
    assert len(anchoring.calls(head)) == 1


async def test_an_operation_included_during_a_long_outage_of_ours_is_found_afterwards(
    anchoring: Anchoring, network: TezosSandbox
) -> None:
    head = secrets.token_bytes(32)
    async with anchoring.backend() as backend:
        await backend.anchor(head, None)
    network.bake(5 * TTL_BLOCKS)
    async with anchoring.backend() as backend:
        obtained = await anchoring.drive(backend, head, most_blocks=3)
    anchoring.require_valid(obtained, head)
    assert len(anchoring.calls(head)) == 1


async def test_a_counter_used_by_somebody_else_leads_to_a_new_operation(
    anchoring: Anchoring, network: TezosSandbox
) -> None:
    head, others = secrets.token_bytes(32), secrets.token_bytes(32)
    async with anchoring.backend() as backend:
        network.misbehave(NodeFaults(drop_injected=True), nodes=[0, 1, 2])
        await backend.anchor(head, None)
        network.heal()
        # Another authority with the same account takes the counter, while ours is forgotten by every node.
        rival = Anchoring(network=network, contract=anchoring.contract, worker_dsn=anchoring.worker_dsn)
        async with rival.backend() as other:
            await other.anchor(others, None)
            network.bake(CONFIRMATIONS + 2)
            await rival.drive(other, others)
        obtained = await anchoring.drive(backend, head)
    anchoring.require_valid(obtained, head)
    assert len(anchoring.calls(head)) == 1
    assert len(anchoring.calls(others)) == 1


async def test_what_a_node_says_of_a_block_must_hash_to_that_block(network: TezosSandbox) -> None:
    async with httpx.AsyncClient() as client:
        node = Node(client, "one", network.nodes[0], network.chain_id, BlockCache())
        head = await node.head()
        assert len(await node.operations(head)) == 4
        network.misbehave(NodeFaults(garbage_every=1), nodes=[0])
        with pytest.raises(NodeError):
            await node.block(head.predecessor)
        fresh = Node(client, "one", network.nodes[0], network.chain_id, BlockCache())
        with pytest.raises(NodeError):
            await fresh.operations(head)


async def test_nodes_on_different_chains_are_both_seen_as_they_are(network: TezosSandbox) -> None:
    before = network.status()["heads"][0]["level"]
    network.bake(2, nodes=[2])
    network.bake(1)
    async with httpx.AsyncClient() as client:
        cache = BlockCache()
        nodes = [Node(client, parse_node(url).name, url, network.chain_id, cache) for url in network.nodes]
        look = await look_at_chains(nodes, floor=before, ceiling=10**6)
    assert not look.troubles
    one, two, three = look.views
    assert one.head.hash == two.head.hash != three.head.hash
    assert one.blocks[before].hash == three.blocks[before].hash


async def test_a_step_that_takes_too_long_is_given_up_and_taken_again(
    anchoring: Anchoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = secrets.token_bytes(32)
    async with anchoring.backend() as backend:
        with monkeypatch.context() as patched:
            patched.setattr(tezos_backend, "STEP_SECONDS", 0.001)
            await backend.anchor(head, None)
        await anchoring.drive(backend, head)
    assert len(anchoring.calls(head)) == 1


async def test_a_contract_can_be_originated_with_unmodified_pytezos_and_anchored_at(
    anchoring: Anchoring, network: TezosSandbox
) -> None:
    task = asyncio.create_task(
        asyncio.to_thread(originate, network.nodes[1], network.secret, confirmations=1, poll_seconds=0.05)
    )
    while not task.done():
        await asyncio.to_thread(network.bake)
        await asyncio.sleep(0.05)
    second = Anchoring(network=network, contract=await task, worker_dsn=anchoring.worker_dsn)
    head = secrets.token_bytes(32)
    async with second.backend() as backend:
        second.require_valid(await second.drive(backend, head), head)


async def test_a_hundred_thousand_heads_come_into_one_batch(anchoring: Anchoring) -> None:
    count = 100_000
    async with anchoring.backend() as backend:
        journal: Journal = backend._journal
        async with journal._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO indelible.tezos_heads (authority, digest)"
                " SELECT %s, sha256(convert_to(n::text, 'UTF8')) FROM generate_series(1, %s) AS n",
                (anchoring.configuration.name, count),
            )
        batch = await journal.open_batch(maximum_wait=timedelta(0), maximum_heads=count)
        assert batch is not None
        assert batch.tree_size == count
        assert len(await journal.heads(batch.batch_id)) == count


@pytest.mark.parametrize(
    "prefix", [[13, 15, 58, 7], [17, 162, 224, 201], [16, 81, 238, 189]], ids=["tz1", "tz2", "tz3"]
)
async def test_a_new_account_of_any_kind_reveals_its_key_in_its_first_operation(
    anchoring: Anchoring, network: TezosSandbox, prefix: list[int]
) -> None:
    secret, head = base58.encode(bytes(prefix), secrets.token_bytes(32)), secrets.token_bytes(32)
    address = (await LocalSigner(secret).public_key()).address
    rich = importlib.import_module("pytezos").pytezos.using(shell=network.nodes[0], key=network.secret)
    await asyncio.to_thread(lambda: rich.transaction(destination=address, amount=1_000_000).autofill().sign().inject())
    network.bake(4)
    async with anchoring.backend(key=LocalKey(secret=secret)) as backend:
        first = await anchoring.drive(backend, head)
        second = await anchoring.drive(backend, hashlib.sha256(head).digest())
    receipt = anchoring.require_valid(first, head, signer=address)
    assert receipt["content_index"] == 1
    assert anchoring.require_valid(second, hashlib.sha256(head).digest(), signer=address)["content_index"] == 0
    assert len(anchoring.calls(head)) == 1


async def test_a_node_that_trickles_does_not_hold_up_the_others(
    anchoring: Anchoring, network: TezosSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = secrets.token_bytes(32)
    network.misbehave(NodeFaults(slow_seconds=2.5), nodes=[2])
    monkeypatch.setattr(tezos_chain, "LOOK_SECONDS", 1.5)
    async with anchoring.backend() as backend:
        await anchoring.drive(backend, head, most_blocks=30)
    assert len(anchoring.calls(head)) == 1
