"""What the user trusts about Tezos, and what nodes were seen to say."""

from collections.abc import Callable
from dataclasses import dataclass

from verifier.findings import Finding

DEFAULT_CONFIRMATIONS = 10
"""Blocks on top. Tenderbake makes a block final after two; the rest is room for nodes that lag or are cut off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TezosTrust:
    """What the user trusts.

    A receipt counts only when its block is one of `block_hashes`, or two of `nodes` (addresses) say that it lies
    `minimum_confirmations` deep. `chain_id`, `contracts`, `entrypoint` and `signers` restrict when they are given.
    """

    chain_id: str | None = None
    contracts: frozenset[str] = frozenset()
    entrypoint: str | None = None
    signers: frozenset[str] = frozenset()
    block_hashes: frozenset[str] = frozenset()
    minimum_confirmations: int = DEFAULT_CONFIRMATIONS
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """Whether nodes were seen to agree that a block is part of the network; None when they do not settle it."""

    seen: bool | None
    findings: tuple[Finding, ...]


Observer = Callable[[TezosTrust, int, str], Sighting]
"""Asks the nodes of a trust about the block at a level, given its hash in base58check."""
