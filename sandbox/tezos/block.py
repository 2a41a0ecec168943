"""A block as the network keeps it."""

from dataclasses import dataclass
from typing import Any

from sandbox.tezos.state import State

PASSES = 4


@dataclass(frozen=True, kw_only=True)
class MadeBlock:
    """A block with the state after it. `operations` are by pass: hash, bytes, document."""

    hash: str
    header: bytes
    level: int
    predecessor: str
    time: int
    operations: tuple[tuple[tuple[str, bytes, dict[str, Any]], ...], ...]
    operations_hash: str
    state: State
