"""Workers that are killed, with SIGKILL, one at each boundary."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from ledger.client import LedgerClient
from ledger.telemetry import configure_logging
from media import worker
from media.clips import preserve
from media.clips.footage import Footage
from media.records.records import Records
from media.service import run
from media.settings import EvidenceSettings
from media.storage.store import EvidenceStore

# Each one's background work waits until the turns of the dead one before it are over.
TURN_SECONDS = 5.0
# Where a worker may die: what is called there, and whether before it or after.
BOUNDARIES = (
    "claimed",
    "footage-found",
    "artefacts-cut",
    "metadata-written",
    "first-stored",
    "metadata-stored",
    "custody-stored",
    "before-commit",
    "committed",
    "event-appended",
    "event-noted",
)


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(owner: Any, name: str, when: Callable[..., bool] = lambda *_: True) -> None:
    """Die as soon as `owner.name` has done its work."""
    original = getattr(owner, name)
    if asyncio.iscoroutinefunction(original):

        async def dying(*arguments: Any, **named: Any) -> Any:
            answer = await original(*arguments, **named)
            if answer is not None or name in {"finish", "note_sent"}:
                die()
            return answer
    else:

        def dying(*arguments: Any, **named: Any) -> Any:  # type: ignore[misc]  # the other of the two
            answer = original(*arguments, **named)
            if when(*arguments):
                die()
            return answer

    setattr(owner, name, dying)


def is_document(name: str) -> Callable[..., bool]:
    return lambda _store, key, *_: str(key).endswith(name)


# What to spoil for each of BOUNDARIES: the owner of a function, its name, and of which calls to it.
SPOILED: dict[str, tuple[Any, ...]] = {
    "claimed": (Records, "claim"),
    "footage-found": (Footage, "find"),
    "artefacts-cut": (preserve, "write_artefacts_apart"),
    "metadata-written": (preserve, "write_document"),
    "first-stored": (EvidenceStore, "store_verified"),
    "metadata-stored": (EvidenceStore, "store_verified", is_document("metadata.json")),
    "custody-stored": (EvidenceStore, "store_verified", is_document("custody.json")),
    "committed": (Records, "finish"),
    "event-appended": (LedgerClient, "append_events"),
    "event-noted": (Records, "note_sent"),
}


def live_and_die(boundary: str) -> None:
    if boundary == "before-commit":
        Records.finish = die  # type: ignore[method-assign, assignment]
    else:
        after(*SPOILED[boundary])
    worker.TURN_SECONDS = TURN_SECONDS
    settings = EvidenceSettings.from_environment()
    configure_logging(settings.log)
    asyncio.run(run.work(settings))


def main() -> None:
    """One worker after the other, each in a process of its own; what they need is imported once."""
    for boundary in BOUNDARIES:
        child = os.fork()
        if child == 0:
            live_and_die(boundary)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write(f"{boundary} {'killed' if killed else status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
