"""What was looked up a moment ago, remembered for a bounded time in bounded memory, for any number of threads.

What must not be remembered past a change counts the changes: a count that all processes of the gateway share.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from gateway.shared import Counter

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Memory(Generic[Key, Value]):
    """Remembers values for `seconds`, the `size` newest of them."""

    def __init__(
        self,
        *,
        seconds: float,
        size: int,
        changes: Counter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`changes`: everything is forgotten when it grows; None for what nothing changes."""
        self._seconds = seconds
        self._size = size
        self._changes = changes
        self._clock = clock
        self._lock = threading.Lock()
        self._values: OrderedDict[Key, tuple[float, Value]] = OrderedDict()
        # How many changes what is remembered knows of.
        self._seen = 0

    def get(self, key: Key, find: Callable[[], Value]) -> Value:
        """The value of `key`; `find` is asked for one that is unknown or too old. Whatever it raises is raised."""
        now = self._clock()
        changes = self._count()
        with self._lock:
            if self._seen != changes:
                self._values.clear()
                self._seen = changes
            known = self._values.get(key)
        if known is not None and known[0] > now:
            return known[1]
        # Not under the lock: looking up takes its time, and finding the same twice does no harm.
        value = find()
        with self._lock:
            if self._count() != changes or self._seen != changes:
                # It may have been looked up before a change.
                return value
            self._values.pop(key, None)
            self._values[key] = now + self._seconds, value
            if len(self._values) > self._size:
                self._values.popitem(last=False)
        return value

    def _count(self) -> int:
        return 0 if self._changes is None else self._changes.read()
