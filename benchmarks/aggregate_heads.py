"""How long it takes to put 100,000 heads under one root and to have every path, against the bare hashes it needs.

`python -m benchmarks.aggregate_heads` prints the lines by itself; `make bench` prints them with the others.
"""

import hashlib
import time
from collections.abc import Callable

from benchmarks.figures import compared, figure, show
from ledger.anchoring.aggregation import HeadTree

HEADS = 100_000
AT_MOST_SECONDS = 2.0


def aggregate_heads(rounds: int) -> None:
    """Show the seconds for one root over 100,000 heads, and the paths per second from it."""
    heads = [hashlib.sha256(number.to_bytes(4)).digest() for number in range(HEADS)]

    def bare() -> None:
        for head in heads:
            hashlib.sha256(b"\x00" + head).digest()
            hashlib.sha256(b"\x01" + head + head).digest()

    turns = [(_seconds(bare), _seconds(lambda: HeadTree(heads))) for _ in range(rounds)]
    hashed, built = (sorted(turn)[rounds // 2] for turn in zip(*turns, strict=True))
    if built > AT_MOST_SECONDS:
        raise RuntimeError(f"{HEADS} heads took {built:.2f} s; at most {AT_MOST_SECONDS:g} are allowed")
    bare_line = figure("bare_aggregation", HEADS / hashed, "heads/s")
    show(bare_line)
    show(
        compared(
            figure("aggregate_100000_heads", HEADS / built, "heads/s", seconds=round(built, 3)), bare_line, at_least=0.3
        )
    )
    tree = HeadTree(heads)
    seconds = _seconds(lambda: [tree.path(index) for index in range(HEADS)])
    show(figure("aggregation_paths", HEADS / seconds, "paths/s"))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    aggregate_heads(3)
