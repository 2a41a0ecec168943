"""Stopping whoever guards objects in the store, at the place where the record may change under them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from media.storage.store import EvidenceStore
from media.storage.values import StoredObject

Work = Callable[[], Awaitable[object]]


@contextmanager
def stopped(store: EvidenceStore, *meanwhile: Work) -> Iterator[list[tuple[str, bool]]]:
    """Stop whoever guards an object just before that, and do one thing after the other meanwhile.

    Yields the keys that were guarded, and whether held, in that order.
    """
    loop, protect, works, done = asyncio.get_running_loop(), store.protect, list(meanwhile), list[tuple[str, bool]]()

    def stop(stored: StoredObject, **wanted: Any) -> bool:
        if works:
            asyncio.run_coroutine_threadsafe(_awaited(works.pop(0)), loop).result(timeout=60)
        done.append((stored.key, wanted["held"]))
        return protect(stored, **wanted)

    with patch.object(store, "protect", stop):
        yield done


async def _awaited(work: Work) -> None:
    await work()
