"""Verifies one bundle in a process that has started already, and prints how long that took: the start is not counted.

Run as a process of its own: `python -m benchmarks.verifier_process BUNDLE`.
"""

import json
import sys
import time
from pathlib import Path

from verifier.policy import TrustPolicy
from verifier.verify import verify_bundle


def main(path: Path) -> None:
    """Verify, with as many further processes as the verifier itself chooses; their start is counted."""
    started = time.perf_counter()
    report = verify_bundle(path, policy=TrustPolicy())
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "chain_ok": report.chain_ok, "events": report.event_count}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
