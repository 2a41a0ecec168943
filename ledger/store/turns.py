"""Turns: callers of one chain prepare and queue their appends in the order in which they came.

Preparing may pause, for a large payload or for a chain that must be looked up first. Without turns a later append of
the same caller could overtake, and a stream of appends would not be applied as it was sent.
"""

import asyncio
from weakref import WeakValueDictionary


class Turns:
    """A first-come-first-served lock for each chain, kept while someone uses it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def of(self, organisation_id: str, chain_id: str) -> asyncio.Lock:
        """The lock of a chain, to be held while an append is prepared and queued, not while it is committed."""
        key = (organisation_id, chain_id)
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock
