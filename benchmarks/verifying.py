"""How fast `indelible-verify` re-hashes a long chain, and how much memory all its processes have together."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
from indelible.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from benchmarks.stage import Stage
from sandbox.processes import find_program

_ROOT = Path(__file__).parents[1]
_CALL_SECONDS = 600
_POLL_SECONDS = 0.02
_INDETERMINATE = 3  # no time-stamp authority takes part here: the chain is whole, its time is not proved


def export_bundle(stage: Stage, chain_id: str, path: Path) -> None:
    """Write the bundle of a chain to `path`."""
    with grpc.insecure_channel(stage.address) as channel, path.open("wb") as target:
        request = ledger_pb2.ExportBundleRequest(chain_id=chain_id)
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        for response in stub.ExportBundle(request, metadata=_metadata(stage), timeout=_CALL_SECONDS):
            target.write(response.data)


def close_chain(stage: Stage, chain_id: str) -> None:
    """Close a chain: its last event then commits to a Merkle root, which a verifier has to compute."""
    with grpc.insecure_channel(stage.address) as channel:
        request = ledger_pb2.CloseChainRequest(chain_id=chain_id)
        ledger_pb2_grpc.LedgerServiceStub(channel).CloseChain(request, metadata=_metadata(stage), timeout=_CALL_SECONDS)


def _metadata(stage: Stage) -> tuple[tuple[str, str]]:
    return (("authorization", f"Bearer {stage.token}"),)


def verify(bundle: Path, events: int) -> dict[str, Any]:
    """Verify twice: timed from within a started process, then as the command, watched from outside.

    Gives events a second of the first, seconds over the whole life of the second, and its peak memory in MB.
    """
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.verifier_process", str(bundle)],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    figures = json.loads(finished.stdout)
    if not figures["chain_ok"] or figures["events"] < events:
        raise RuntimeError(f"the bundle was not verified: {figures}")
    return {"per_second": figures["events"] / figures["seconds"], **_command(bundle, events)}


def _command(bundle: Path, events: int) -> dict[str, Any]:
    started = time.perf_counter()
    process = subprocess.Popen(
        [find_program("indelible-verify"), "bundle", str(bundle), "--json"], stdout=subprocess.PIPE
    )
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(process.pid, peak))
    watcher.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - started
    watcher.join()
    report = json.loads(output)
    if process.returncode != _INDETERMINATE or not report["chain_integrity"]["ok"] or report["event_count"] < events:
        raise RuntimeError(f"the bundle was not verified: {report['verdict']}, exit code {process.returncode}")
    return {"whole_process_seconds": round(seconds, 3), "peak_mb": round(peak[0] / 1_000_000, 1)}


def _watch(pid: int, peak: list[int]) -> None:
    """Proportional set size: memory that processes share is counted once."""
    while (total := sum(map(_memory, _family(pid)))) or Path(f"/proc/{pid}/exe").exists():
        peak[0] = max(peak[0], total)
        time.sleep(_POLL_SECONDS)


def _family(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(child))]


def _memory(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
