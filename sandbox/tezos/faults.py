"""What a node of the sandbox can do wrong on command. All last until others are set or the network is healed."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFaults:
    """`*_every` = n spoils each n-th request; 0 none, 1 all."""

    down_every: int = 0  # the connection is closed without an answer
    status: int = 503  # the status of `status_every`; 429 comes with Retry-After
    status_every: int = 0
    truncated_every: int = 0  # the connection ends in the middle of the answer
    garbage_every: int = 0  # an answer that is not what was asked for
    wrong_chain: bool = False  # it says that it follows another network
    stalled: bool = False  # its head stays where it is while others go on
    drop_injected: bool = False  # it takes operations and forgets them
    hold_blocks: int = 0  # operations it takes wait for so many blocks
    slow_seconds: float = 0.0  # each answer takes so long
