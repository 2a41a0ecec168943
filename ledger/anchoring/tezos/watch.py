"""Judging what became of the operations signed for one batch, from what the nodes show. Pure: no node is asked here.

Rules:

1. An operation is final when the same block holds it, with `confirmations` blocks on top, in the chains of two nodes at
   least, and of more nodes than have another block there at such depth.
2. It is lost when two nodes at least show their whole chain, none shows it, and it can never be included any more:
   the chain went past its time to live, or its branch is not in the chain, or its counter was used by something else;
   each of these as deep in the chain as finality asks.
3. Anything else is waiting. Waiting is always safe: the same bytes are sent again, and they can be included only once.

A lost operation is signed anew with the account's next counter, which is its own again unless that was used. So even a
wrong judgement by rule 2 costs nothing: of two operations with one counter the protocol includes one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.anchoring.tezos.chain import View
from ledger.anchoring.tezos.configuration import TezosConfiguration
from ledger.anchoring.tezos.journal import Attempt
from ledger.anchoring.tezos.node import Block
from ledger.anchoring.tezos.sending import AGREEING_NODES
from verifier.tezos import base58
from verifier.tezos.block import HASH_BYTES
from verifier.tezos.operation import Operation, parse_operation


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A stored attempt with what its bytes say."""

    attempt: Attempt
    operation: Operation
    hash: str
    branch: str

    @classmethod
    def read(cls, attempt: Attempt) -> "Sent":
        """Parse the stored bytes."""
        operation = parse_operation(attempt.operation)
        return cls(
            attempt=attempt,
            operation=operation,
            hash=base58.encode(base58.OPERATION_HASH, operation.hash),
            branch=base58.encode(base58.BLOCK_HASH, attempt.operation[:HASH_BYTES]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """An attempt in a block: seen by `views`, `depth` blocks deep in the shallowest of them."""

    sent: Sent
    block: Block
    views: tuple[View, ...]
    depth: int


def find_best(attempts: Sequence[Sent], views: Sequence[View]) -> Sighting | None:
    """The attempt and block that most nodes show; None when no node shows any."""
    seen: dict[tuple[str, str], tuple[Sent, Block, list[View]]] = {}
    for sent in attempts:
        for view in views:
            block = view.find(sent.hash)
            if block is not None:
                seen.setdefault((sent.hash, block.hash), (sent, block, []))[2].append(view)
    if not seen:
        return None
    sent, block, holders = max(
        seen.values(), key=lambda found: (len(found[2]), min(v.depth(found[1]) for v in found[2]))
    )
    return Sighting(sent=sent, block=block, views=tuple(holders), depth=min(view.depth(block) for view in holders))


def final_views(sighting: Sighting, views: Sequence[View], confirmations: int) -> tuple[View, ...]:
    """The views that make the sighting final by rule 1; none when it is not."""
    block = sighting.block
    agree = tuple(view for view in sighting.views if view.depth(block) >= confirmations)
    differ = [
        view
        for view in views
        if view.head.level - block.level >= confirmations
        and block.level in view.blocks
        and view.blocks[block.level].hash != block.hash
    ]
    return agree if len(agree) >= AGREEING_NODES and len(agree) > len(differ) else ()


def whole_views(views: Sequence[View]) -> tuple[View, ...]:
    """The views that show all that was asked for."""
    return tuple(view for view in views if not view.problem)


def is_lost(sent: Sent, views: Sequence[View], configuration: TezosConfiguration, *, counters: Sequence[int]) -> bool:
    """Rule 2 for the newest attempt, given whole `views` of which none shows any attempt.

    `counters` are the account's as two nodes at least have them, `confirmations` below their heads.
    """
    if len(views) < AGREEING_NODES:
        return False
    level, deep = sent.attempt.branch_level, configuration.confirmations
    past = [view for view in views if view.head.level > level + configuration.operation_ttl_blocks + deep]
    if len(past) == len(views):
        return True
    elsewhere = [
        view
        for view in views
        if view.head.level >= level + deep and level in view.blocks and view.blocks[level].hash != sent.branch
    ]
    if len(elsewhere) == len(views):
        return True
    return len(counters) >= AGREEING_NODES and min(counters) >= sent.attempt.counter
