"""A worker that is killed, with SIGKILL, at the boundary its first argument names."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from ledger.client import LedgerClient
from media.clips import preserve
from media.clips.footage import Footage
from media.records.records import Records
from media.service import run
from media.settings import EvidenceSettings
from media.storage.store import EvidenceStore

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


def main(boundary: str) -> None:
    match boundary:
        case "claimed":
            after(Records, "claim")
        case "footage-found":
            after(Footage, "find")
        case "artefacts-cut":
            after(preserve, "write_artefacts_apart")
        case "metadata-written":
            after(preserve, "write_document")
        case "first-stored":
            after(EvidenceStore, "store_verified")
        case "metadata-stored":
            after(EvidenceStore, "store_verified", lambda _, key, *__: key.endswith("metadata.json"))
        case "custody-stored":
            after(EvidenceStore, "store_verified", lambda _, key, *__: key.endswith("custody.json"))
        case "before-commit":
            Records.finish = die  # type: ignore[method-assign, assignment]
        case "committed":
            after(Records, "finish")
        case "event-appended":
            after(LedgerClient, "append_events")
        case "event-noted":
            after(Records, "note_sent")
    asyncio.run(run.work(EvidenceSettings.from_environment()))


if __name__ == "__main__":
    main(sys.argv[1])
