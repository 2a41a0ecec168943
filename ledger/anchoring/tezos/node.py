"""One Tezos node, asked over its RPC: bounded, strictly parsed, and believed only where nothing else is possible.

A block's content proves itself: the raw header hashes to the block's hash and commits to the operations. So what is
fetched by hash cannot be forged, whoever served it. What a node says about the present (its head, a counter, a key)
is only its word, and counts when two nodes say the same.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ledger.anchoring.port import AnchoringFailedError
from ledger.anchoring.rfc3161.transport import fetch
from verifier.tezos import base58
from verifier.tezos.block import HASH_BYTES, VALIDATION_PASSES, MalformedHeaderError, blake2b, list_root, parse_header

NODE_SECONDS = 5.0  # for one answer; nodes give most within a tenth of it
MAX_HEADER_CHARACTERS = 16 * 1024  # a raw header has 300 bytes, with a BLS signature 330
MAX_OPERATIONS_BYTES = 4 * 1024 * 1024  # the hashes of one block; a full one has about 200 KB
MAX_ANSWER_BYTES = 256 * 1024  # anything else
MANAGER_PASS = 3
LONGEST_REST_SECONDS = 60.0  # of a node that asks for a pause

_PREDECESSOR = slice(5, 5 + HASH_BYTES)  # after level (4) and protocol (1)
_JSON = {"Content-Type": "application/json", "Accept": "application/json"}
_BLOCKS = "/chains/main/blocks"


class NodeError(Exception):
    """The node gave no usable answer. The text is for the operator and holds nothing that the node wrote."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A block's header, which hashes to `hash`."""

    hash: str
    header: bytes
    level: int
    predecessor: str
    operations_hash: bytes


@dataclass
class BlockCache:
    """What was fetched by hash and proved itself, from whichever node. Losing it costs requests, nothing else."""

    blocks: dict[str, Block] = field(default_factory=dict)
    operations: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)

    def forget_below(self, level: int) -> None:
        """Drop what no open operation can be in any more."""
        for block_hash in [block.hash for block in self.blocks.values() if block.level < level]:
            del self.blocks[block_hash]
            self.operations.pop(block_hash, None)


class Node:
    """One node of the operator's choice at `url`, expected to follow the network `chain_id`."""

    def __init__(self, client: httpx.AsyncClient, name: str, url: str, chain_id: str, cache: BlockCache) -> None:
        self.name = name
        self._client = client
        self._url = url.rstrip("/")
        self._chain_id = chain_id
        self._cache = cache
        self._rests_until = 0.0

    async def head(self) -> Block:
        """The newest block, after making sure that the node follows the right network. Raises NodeError."""
        if await self._get("/chains/main/chain_id") != self._chain_id:
            raise NodeError("it follows another network")
        return await self.block("head")

    async def block(self, which: str) -> Block:
        """The block with a hash, at a level, or `head`. Raises NodeError."""
        known = self._cache.blocks.get(which)
        if known is not None:
            return known
        text = await self._get(f"{_BLOCKS}/{which}/header/raw", max_bytes=MAX_HEADER_CHARACTERS)
        try:
            header = bytes.fromhex(text)
            parsed = parse_header(header)
        except (TypeError, ValueError, MalformedHeaderError):
            raise NodeError("its answer is no block header") from None
        block = Block(
            hash=base58.encode(base58.BLOCK_HASH, blake2b(header)),
            header=header,
            level=parsed.level,
            predecessor=base58.encode(base58.BLOCK_HASH, header[_PREDECESSOR]),
            operations_hash=parsed.operations_hash,
        )
        if which.isdigit() and block.level != int(which):
            raise NodeError("it answers with a block of another level")
        if which.startswith("B") and block.hash != which:
            raise NodeError("it answers with another block")
        self._cache.blocks[block.hash] = block
        return block

    def knows(self, block_hash: str) -> bool:
        """Whether the block need not be fetched."""
        return block_hash in self._cache.blocks

    async def operations(self, block: Block) -> tuple[tuple[str, ...], ...]:
        """The hashes of all operations in `block`, by validation pass, as its header commits to. Raises NodeError."""
        known = self._cache.operations.get(block.hash)
        if known is not None:
            return known
        answer = await self._get(f"{_BLOCKS}/{block.hash}/operation_hashes", max_bytes=MAX_OPERATIONS_BYTES)
        passes = _strict_passes(answer)
        roots = [list_root([_operation_hash(text) for text in hashes]) for hashes in passes]
        if list_root(roots) != block.operations_hash:
            raise NodeError("its operations are not those of the block")
        self._cache.operations[block.hash] = passes
        return passes

    async def counter(self, block_hash: str, address: str) -> int:
        """The account's counter after a block. Raises NodeError."""
        answer = await self._get(f"{_BLOCKS}/{block_hash}/context/contracts/{address}/counter")
        if not isinstance(answer, str) or not answer.isascii() or not answer.isdigit() or len(answer) > 20:  # noqa: PLR2004  # digits of 64 bits
            raise NodeError("its answer is no counter")
        return int(answer)

    async def manager_key(self, block_hash: str, address: str) -> str | None:
        """The account's key if it was revealed. Raises NodeError."""
        answer = await self._get(f"{_BLOCKS}/{block_hash}/context/contracts/{address}/manager_key")
        if answer is not None and not isinstance(answer, str):
            raise NodeError("its answer is no key")
        return answer

    async def try_out(self, operation: Mapping[str, object]) -> dict[str, Any]:
        """What an operation would do on top of the head, without a signature. Raises NodeError."""
        body = {"operation": operation, "chain_id": self._chain_id}
        answer = await self._request("POST", f"{_BLOCKS}/head/helpers/scripts/run_operation", body, MAX_ANSWER_BYTES)
        if not isinstance(answer, dict):
            raise NodeError("its answer is no result of an operation")
        return answer

    async def inject(self, operation: bytes) -> str:
        """Hand a signed operation over for the network. Doing it again does nothing new. Raises NodeError."""
        answer = await self._request("POST", "/injection/operation?chain=main", operation.hex(), MAX_ANSWER_BYTES)
        if not isinstance(answer, str):
            raise NodeError("its answer is no operation hash")
        return answer

    async def _get(self, path: str, *, max_bytes: int = MAX_ANSWER_BYTES) -> Any:
        return await self._request("GET", path, None, max_bytes)

    async def _request(self, method: str, path: str, body: object, max_bytes: int) -> Any:
        clock = asyncio.get_running_loop()
        if clock.time() < self._rests_until:
            raise NodeError("it asked for a pause")
        try:
            answer = await fetch(
                self._client,
                method,
                self._url + path,
                content=None if body is None else json.dumps(body).encode(),
                headers=_JSON,
                answer_types=frozenset(),
                max_bytes=max_bytes,
                timeout_seconds=NODE_SECONDS,
            )
            return json.loads(answer)
        except AnchoringFailedError as error:
            if error.retry_after_seconds:
                self._rests_until = clock.time() + min(error.retry_after_seconds, LONGEST_REST_SECONDS)
            raise NodeError(str(error)) from None
        except (ValueError, RecursionError):
            raise NodeError("its answer is not JSON") from None


def _strict_passes(answer: Any) -> tuple[tuple[str, ...], ...]:
    if not (
        isinstance(answer, list)
        and len(answer) == VALIDATION_PASSES
        and all(isinstance(hashes, list) and all(isinstance(text, str) for text in hashes) for hashes in answer)
    ):
        raise NodeError("its answer is no list of operations")
    return tuple(tuple(hashes) for hashes in answer)


def _operation_hash(text: str) -> bytes:
    raw = base58.decode(text, base58.OPERATION_HASH, HASH_BYTES)
    if raw is None:
        raise NodeError("its answer holds something that is no operation hash")
    return raw
