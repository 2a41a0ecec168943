"""`make bench`: every figure beside a floor measured in the same run, as JSON lines.

Client, service and database share the machine. Commits are durable (fsync on, synchronous_commit on). Every figure and
its floor are measured in turns, several times; the median of the turns counts.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import verifying
from benchmarks.aggregate_heads import aggregate_heads
from benchmarks.burn_in import burn_in
from benchmarks.clip_preserve import clip_preserve
from benchmarks.figures import compared, figure, show
from benchmarks.gateway import gateway
from benchmarks.stage import Stage, running_stage
from benchmarks.verify_public_ledgers import verify_public_ledgers

BATCH = 1_000
BATCHES = 60
WARM_UP_BATCHES = 8
# Appends of the stream that wait for their answer at once.
IN_FLIGHT = 8
CALLERS = 64
SECONDS = 5.0
LONE_SECONDS = 3.0
VERIFIED_EVENTS = 200_000
# Two processes that hash at once have made their preimages by then.
_HASHERS_START_SECONDS = 3.0


def main() -> None:
    """Run all benchmarks, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each figure and its floor (default 3)")
    options = parser.parse_args()
    show({"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()})
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as directory, running_stage(Path(directory)) as stage:
        for name, benchmark in BENCHMARKS.items():
            if not options.names or name in options.names:
                benchmark(stage, options.rounds)


def batches(stage: Stage, rounds: int) -> None:
    """Appends of a thousand events to one chain, through one pipelined stream, against COPY."""
    settings = {"batch": BATCH, "batches": BATCHES, "warm_up": WARM_UP_BATCHES}
    floor, line = _in_turns(
        rounds,
        lambda _: stage.run("floors", "copy", **settings),
        lambda n: stage.run("clients", "append_batches", prefix=f"batch-{n}", in_flight=IN_FLIGHT, **settings),
    )
    copied = figure("copy_batch_1000", floor["per_second"], "events/s")
    show(copied)
    appended = figure("append_batch_1000", line.pop("per_second"), "events/s", in_flight=IN_FLIGHT, **line)
    show(compared(appended, copied, at_least=0.45))


def unary(stage: Stage, rounds: int) -> None:
    """One event for each call, 64 callers, against an empty echo with as many."""
    load = {"callers": CALLERS, "seconds": SECONDS}
    with stage.echo_server() as echo_address:
        floor, many, one = _in_turns(
            rounds,
            lambda _: stage.run("clients", "echo", **load, address=echo_address),
            lambda n: stage.run("clients", "append_unary", prefix=f"many-{n}", chains=CALLERS, **load),
            lambda n: stage.run("clients", "append_unary", prefix=f"one-{n}", chains=1, **load),
        )
    echoed = figure("echo_64_clients", floor.pop("per_second"), "calls/s", **floor)
    show(echoed)
    on_many = figure("append_unary_64_clients_64_chains", many.pop("per_second"), "events/s", **many)
    show(compared(on_many, echoed, at_least=0.5))
    on_one = figure("append_unary_64_clients_1_chain", one.pop("per_second"), "events/s", **one)
    show(compared(on_one, on_many, at_least=0.8))


def lone(stage: Stage, rounds: int) -> None:
    """The latency of one caller, against one durable single-row INSERT; beside it an empty call, its other part."""
    load = {"callers": 1, "seconds": LONE_SECONDS}
    with stage.echo_server() as echo_address:
        floor, call, line = _in_turns(
            rounds,
            lambda _: stage.run("floors", "insert", rows=1_000, warm_up=100),
            lambda _: stage.run("clients", "echo", **load, address=echo_address),
            lambda n: stage.run("clients", "append_unary", prefix=f"lone-{n}", chains=1, **load),
        )
    inserted = figure("insert_one_row_p50", floor["p50_ms"], "ms", **floor)
    show(inserted)
    for timed in (call, line):
        timed.pop("per_second")
    show(figure("echo_1_client_p50", call["p50_ms"], "ms", **call))
    both = round(floor["p50_ms"] + call["p50_ms"], 3)
    appended = figure("append_unary_1_client_p50", line["p50_ms"], "ms", **line, insert_and_echo_ms=both)
    show(compared(appended, inserted, at_most=2.5))


def verification(stage: Stage, rounds: int) -> None:
    """Verifying a chain of 200,000 events, against SHA-256 over the same preimages by one process.

    Beside it the same by two processes at once: the cores of a virtual machine may be less than two.
    """
    count = VERIFIED_EVENTS // BATCH
    stage.run("clients", "append_batches", prefix="long", in_flight=IN_FLIGHT, batch=BATCH, batches=count, warm_up=1)
    bundle, closed = stage.directory / "long.zip", stage.directory / "closed.zip"
    verifying.export_bundle(stage, "long", bundle)
    verifying.close_chain(stage, "long")
    verifying.export_bundle(stage, "long", closed)
    floor, by_two, line, closed_line = _in_turns(
        rounds,
        lambda _: stage.run("floors", "hash", events=VERIFIED_EVENTS),
        lambda _: _hash_by_two(stage),
        lambda _: verifying.verify(bundle, VERIFIED_EVENTS),
        lambda _: verifying.verify(closed, VERIFIED_EVENTS),
    )
    hashed = figure("sha256_preimages", floor["per_second"], "events/s", by_two_processes=round(by_two["per_second"]))
    show(hashed)
    for name, measured in (("verify_events", line), ("verify_events_closed", closed_line)):
        verified = figure(name, measured.pop("per_second"), "events/s", **measured, peak_mb_at_most=150)
        show(compared(verified, hashed, at_least=0.4))


def _hash_by_two(stage: Stage) -> dict[str, Any]:
    begin_at = time.time() + _HASHERS_START_SECONDS
    with ThreadPoolExecutor(2) as threads:
        both = threads.map(lambda _: stage.run("floors", "hash", events=VERIFIED_EVENTS, begin_at=begin_at), range(2))
        return {"per_second": sum(figures["per_second"] for figures in both)}


BENCHMARKS: dict[str, Callable[[Stage, int], None]] = {
    "batches": batches,
    "unary": unary,
    "lone": lone,
    "verification": verification,
    "public_ledgers": lambda _, rounds: verify_public_ledgers(rounds),
    "aggregation": lambda _, rounds: aggregate_heads(rounds),
    "clips": lambda _, rounds: clip_preserve(rounds),
    "gateway": lambda stage, rounds: gateway(stage, _in_turns, rounds),
    "recordings": lambda _, rounds: burn_in(rounds),
}


def _in_turns(rounds: int, *measure: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """The median of every figure, over `rounds` turns in which each is measured once."""
    turns = [[each(number) for each in measure] for number in range(rounds)]
    return [
        {key: statistics.median(turn[index][key] for turn in turns) for key in turns[0][index]}
        for index in range(len(measure))
    ]


if __name__ == "__main__":
    main()
