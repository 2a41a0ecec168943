"""What each node holds to be the chain, from its head down to the block that our oldest operation builds on."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.anchoring.tezos.node import MANAGER_PASS, Block, Node, NodeError

# Blocks fetched from one node in one look. After an outage the cache lets the next look continue where this one ended.
BLOCKS_PER_LOOK = 200
# For one node's part of a look. A node that trickles must not hold up what the others show.
LOOK_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """One node's chain: its head, and its blocks by level with the manager operations of those looked into.

    `problem` says why the view ends before the level that was asked for; empty when it is complete.
    """

    node: Node
    head: Block
    blocks: Mapping[int, Block] = field(default_factory=dict)
    operations: Mapping[int, Sequence[str]] = field(default_factory=dict)
    problem: str = ""

    def find(self, operation_hash: str) -> Block | None:
        """The block of this chain that holds the operation."""
        for level, hashes in self.operations.items():
            if operation_hash in hashes:
                return self.blocks[level]
        return None

    def depth(self, block: Block) -> int:
        """How many blocks lie on top of `block` here; -1 when this chain has another one at its level, or none."""
        held = self.blocks.get(block.level)
        return self.head.level - block.level if held is not None and held.hash == block.hash else -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One look at all nodes. `troubles` names each that could not be used at all, and why."""

    views: tuple[View, ...]
    troubles: tuple[str, ...]


async def look_at_heads(nodes: Sequence[Node]) -> Look:
    """Every node's head."""
    return await _gather(nodes, [_head_view(node) for node in nodes])


async def look_at_chains(nodes: Sequence[Node], *, floor: int, ceiling: int) -> Look:
    """Every node's chain: the blocks from `floor` to `ceiling`, with the operations of those above `floor`."""
    return await _gather(nodes, [_chain_view(node, floor, ceiling) for node in nodes])


async def _gather(nodes: Sequence[Node], looks: Sequence[Coroutine[Any, Any, View]]) -> Look:
    found = await asyncio.gather(*(asyncio.wait_for(look, LOOK_SECONDS) for look in looks), return_exceptions=True)
    views: list[View] = []
    troubles: list[str] = []
    for node, result in zip(nodes, found, strict=True):
        if isinstance(result, View):
            views.append(result)
            if result.problem:
                troubles.append(f"{node.name}: {result.problem}")
        elif isinstance(result, TimeoutError):
            troubles.append(f"{node.name}: it is too slow")
        elif isinstance(result, NodeError):
            troubles.append(f"{node.name}: {result}")
        else:
            raise result
    return Look(views=tuple(views), troubles=tuple(troubles))


async def _head_view(node: Node) -> View:
    return View(node=node, head=await node.head())


async def _chain_view(node: Node, floor: int, ceiling: int) -> View:
    head = await node.head()
    blocks: dict[int, Block] = {}
    operations: dict[int, Sequence[str]] = {}
    problem = ""
    try:
        # Far above the ceiling the way down is long and of no interest: the node names the block to begin with.
        block = head if head.level <= ceiling else await node.block(str(ceiling))
        fetches = 0
        while block.level >= floor and not problem:
            if block.level > floor:
                operations[block.level] = (await node.operations(block))[MANAGER_PASS]
            blocks[block.level] = block
            if block.level in {0, floor}:
                break
            fetches += not node.knows(block.predecessor)
            if fetches > BLOCKS_PER_LOOK:
                problem = "its chain is not read to the end yet"
            else:
                block = await _below(node, block)
    except NodeError as error:
        problem = str(error)
    return View(node=node, head=head, blocks=blocks, operations=operations, problem=problem)


async def _below(node: Node, block: Block) -> Block:
    below = await node.block(block.predecessor)
    if below.level != block.level - 1:
        raise NodeError("its chain skips a level")
    return below
