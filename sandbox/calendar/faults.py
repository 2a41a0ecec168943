"""What a calendar or an explorer can do wrong on command. It lasts until other faults are set or all is healed."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class CalendarFaults:
    """The upper ones spoil every answer, the lower ones what a calendar answers, or which block an explorer shows."""

    down: bool = False  # the connection is closed without an answer
    slow_seconds: float = 0.0
    status: int = 0  # this HTTP status instead of an answer
    garbage: bool = False
    oversize: bool = False  # a megabyte
    truncated: bool = False  # the connection ends in the middle of the answer

    wrong_digest: bool = False  # a calendar works with another digest than it was given
    never_upgrades: bool = False  # promises are never kept
    forgets: bool = False  # what was handed in is lost for good
    wrong_block: bool = False  # a path to a block that does not have it; of an explorer: the header of another block
    many_blocks: bool = False  # a path that is said to lead to fifty blocks
    long_path: bool = False  # a promise at the end of 240 steps: with the path that keeps it, more than may be
    greedy: bool = False  # a right path, again and again by detours, and attestations that nobody knows
    other_address: bool = False  # a promise in another calendar's name
