"""A network of nodes that share blocks: baking, forks, reorganisations, and each node's own troubles.

Blocks are real as far as hashes go: raw headers with every member of the protocol, list trees over the operations of
four passes. Bakers and consensus are not: whoever calls `bake` is the baker.
"""

import hashlib
import secrets
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.tezos.block import PASSES, MadeBlock
from sandbox.tezos.faults import NodeFaults
from sandbox.tezos.history import History
from sandbox.tezos.operations import SignedOperation, read_operation
from sandbox.tezos.state import (
    RefusedOperationError,
    State,
    apply_operation,
    check_signature,
    genesis_state,
)
from verifier.tezos import base58
from verifier.tezos.block import HASH_BYTES, blake2b, list_root

PROTOCOL = "PtTALLiNtPec7mE7yY4m3k26J8Qukef3E3ehzhfXgFZKGtDdAXu"
DEFAULT_TTL = 600  # blocks after its branch within which an operation may be included
FIRST_BLOCKS = 4  # made at once, so that there is a branch to build on
_CONSENSUS_OPERATIONS = 3
_STRANGERS_OPERATIONS = 3  # of others, before and after ours
_FUNDS_TEZ = 1_000


@dataclass
class NodeState:
    """One node: the head of the chain it follows, the operations it holds, and what it does wrong."""

    head: str
    mempool: dict[str, tuple[SignedOperation, int]] = field(default_factory=dict)  # with the level of earliest use
    faults: NodeFaults = field(default_factory=NodeFaults)
    requests: int = 0


class Network:
    """All nodes, and every block that was ever made. Its methods may be called from any thread."""

    def __init__(self, *, nodes: int, funded: str, ttl: int = DEFAULT_TTL, history: History | None = None) -> None:
        """A new network, or the one that `history` holds: then every node is at its last block."""
        self.lock = threading.RLock()
        self.ttl = ttl
        self._history = history
        self.blocks: dict[str, MadeBlock] = {block.hash: block for block in (history.load() if history else ())}
        if not self.blocks:
            self._make(None, [], genesis_state(funded, _FUNDS_TEZ))
        self.genesis, last = next(iter(self.blocks)), next(reversed(self.blocks))
        # As the protocol names networks.
        digest = base58.decode(self.genesis, base58.BLOCK_HASH, HASH_BYTES) or b""
        self.chain_id = base58.encode(base58.CHAIN_ID, blake2b(digest)[: base58.CHAIN_ID_BYTES])
        self.nodes = [NodeState(head=last) for _ in range(nodes)]
        if last == self.genesis:
            self.bake(FIRST_BLOCKS)

    def head(self, node: int) -> MadeBlock:
        """The node's newest block."""
        return self.blocks[self.nodes[node].head]

    def ancestor(self, block: MadeBlock, level: int) -> MadeBlock | None:
        """The block at `level` on the chain that ends in `block`."""
        if not 0 <= level <= block.level:
            return None
        while block.level > level:
            block = self.blocks[block.predecessor]
        return block

    def is_quiet(self, blocks: int) -> bool:
        """Whether no operation waits, and none of ours is in the newest `blocks` blocks of the first node."""
        with self.lock:
            if any(node.mempool for node in self.nodes):
                return False
            block = self.head(0)
            for _ in range(blocks):
                if any(document["contents"] for _, _, document in block.operations[PASSES - 1]):
                    return False
                if block.hash == self.genesis:
                    break
                block = self.blocks[block.predecessor]
            return True

    def inject(self, node: int, raw: bytes) -> str:
        """Take an operation into the node's pool. Raises RefusedOperationError, MalformedOperationError."""
        with self.lock:
            operation = read_operation(raw)
            head, faults = self.head(node), self.nodes[node].faults
            check_signature(head.state, operation)
            self._require_live_branch(head, operation)
            apply_operation(head.state, operation)
            if not faults.drop_injected:
                self.nodes[node].mempool.setdefault(operation.hash, (operation, head.level + 1 + faults.hold_blocks))
            return operation.hash

    def bake(self, count: int = 1, *, nodes: Sequence[int] | None = None, empty: bool = False) -> None:
        """Add `count` blocks for `nodes` (None: all that are not stalled); nodes on different heads stay apart."""
        with self.lock:
            for _ in range(count):
                chosen = [
                    place
                    for place in (range(len(self.nodes)) if nodes is None else nodes)
                    if nodes is not None or not self.nodes[place].faults.stalled
                ]
                for head in dict.fromkeys(self.nodes[place].head for place in chosen):
                    self._bake_on(head, [place for place in chosen if self.nodes[place].head == head], empty=empty)

    def reorganise(self, depth: int, *, lose_operations: bool) -> None:
        """Replace the newest `depth` blocks of every node by `depth` + 1 others without our operations in them."""
        with self.lock:
            for head in dict.fromkeys(node.head for node in self.nodes):
                members = [place for place, node in enumerate(self.nodes) if node.head == head]
                block = self.blocks[head]
                fork = self.ancestor(block, max(1, block.level - depth))
                if fork is None:
                    continue
                returned = {} if lose_operations else self._operations_above(block, fork)
                for place in members:
                    node = self.nodes[place]
                    node.head = fork.hash
                    node.mempool = {} if lose_operations else {**returned, **node.mempool}
                for _ in range(depth + 1):
                    new_head = self.nodes[members[0]].head
                    self._bake_on(new_head, members, empty=True)

    def heal(self) -> None:
        """All nodes behave and follow the longest chain; what other chains held goes back to the pools."""
        with self.lock:
            best = max((self.blocks[node.head] for node in self.nodes), key=lambda block: block.level)
            for node in self.nodes:
                node.faults = NodeFaults()
                own = self.blocks[node.head]
                if own.hash != best.hash:
                    fork = self._common(own, best)
                    node.mempool = {**self._operations_above(own, fork), **node.mempool}
                    node.head = best.hash

    def _bake_on(self, head: str, members: Sequence[int], *, empty: bool) -> None:
        parent = self.blocks[head]
        pool = {hash_: entry for place in members for hash_, entry in self.nodes[place].mempool.items()}
        state, included, gone = parent.state, [], []
        sources: set[str] = set()
        for hash_, (operation, from_level) in pool.items():
            source = operation.contents[0]["source"]
            if empty or from_level > parent.level + 1 or source in sources:
                continue
            try:
                self._require_live_branch(parent, operation)
                state, document = apply_operation(state, operation)
            except RefusedOperationError as error:
                if error.for_good:
                    gone.append(hash_)
                continue
            sources.add(source)
            included.append((hash_, operation.raw, document))
        block = self._make(parent, included, state)
        for place in members:
            node = self.nodes[place]
            node.head = block.hash
            for hash_ in (*gone, *(entry[0] for entry in included)):
                node.mempool.pop(hash_, None)

    def _require_live_branch(self, head: MadeBlock, operation: SignedOperation) -> None:
        branch = self.blocks.get(operation.branch)
        if branch is None or self.ancestor(head, branch.level) is not branch:
            raise RefusedOperationError("validate.branch_not_in_chain", for_good=False)
        if head.level + 1 > branch.level + self.ttl:
            raise RefusedOperationError("validate.outdated_branch", for_good=True)

    def _operations_above(self, block: MadeBlock, fork: MadeBlock) -> dict[str, tuple[SignedOperation, int]]:
        found: dict[str, tuple[SignedOperation, int]] = {}
        while block.level > fork.level:
            for hash_, raw, document in block.operations[PASSES - 1]:
                if document["contents"]:
                    found[hash_] = (read_operation(raw), 0)
            block = self.blocks[block.predecessor]
        return found

    def _common(self, one: MadeBlock, other: MadeBlock) -> MadeBlock:
        while one.hash != other.hash:
            if one.level >= other.level:
                one = self.blocks[one.predecessor]
            else:
                other = self.blocks[other.predecessor]
        return one

    def _make(
        self, parent: MadeBlock | None, ours: Sequence[tuple[str, bytes, dict[str, Any]]], state: State
    ) -> MadeBlock:
        level = 0 if parent is None else parent.level + 1
        now = int(time.time())
        # Blocks of less than a second share one: times of blocks that ran ahead of the clock would confuse readers.
        stamp = now if parent is None else max(now, parent.time)
        strangers = [_stranger() for _ in range(_STRANGERS_OPERATIONS)] if parent else []
        passes = (
            tuple(_stranger() for _ in range(_CONSENSUS_OPERATIONS if parent else 0)),
            (),
            (),
            (*strangers[:1], *ours, *strangers[1:]),
        )
        roots = [list_root([blake2b(raw) for _, raw, _ in pass_]) for pass_ in passes]
        operations_hash = list_root(roots)
        header = _header(level, parent, stamp, operations_hash)
        block = MadeBlock(
            hash=base58.encode(base58.BLOCK_HASH, blake2b(header)),
            header=header,
            level=level,
            predecessor=parent.hash if parent else base58.encode(base58.BLOCK_HASH, bytes(32)),
            time=stamp,
            operations=passes,
            operations_hash=base58.encode(bytes([29, 159, 109]), operations_hash),
            state=state,
        )
        # Kept before anyone can see it: who anchored in it may come back after a restart.
        if self._history is not None:
            self._history.add(block)
        self.blocks[block.hash] = block
        return block


def _stranger() -> tuple[str, bytes, dict[str, Any]]:
    """An operation of somebody else, of which nothing but its hash matters."""
    raw = secrets.token_bytes(140)
    hash_ = base58.encode(base58.OPERATION_HASH, blake2b(raw))
    return hash_, raw, {"hash": hash_, "contents": []}


def _header(level: int, parent: MadeBlock | None, stamp: int, operations_hash: bytes) -> bytes:
    fitness = b"".join(
        struct.pack(">I", len(item)) + item
        for item in (b"\x02", level.to_bytes(4), b"", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00")
    )
    predecessor = bytes(32) if parent is None else blake2b(parent.header)
    fixed = struct.pack(">iB32sqB32sI", level, 24, predecessor, stamp, PASSES, operations_hash, len(fitness))
    context = hashlib.sha256(predecessor + operations_hash).digest()
    # Payload hash 32 and round 4, proof of work 8, no seed nonce, votes 1, signature 64. Random: forks must differ.
    protocol_data = secrets.token_bytes(32) + bytes(4) + bytes(8) + b"\x00" + b"\x0a" + secrets.token_bytes(64)
    return fixed + fitness + context + protocol_data
