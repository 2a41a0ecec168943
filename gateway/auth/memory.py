"""What was looked up a moment ago, remembered for a bounded time in bounded memory, for any number of threads."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Memory(Generic[Key, Value]):
    """Remembers values for `seconds`, the `size` newest of them."""

    def __init__(self, *, seconds: float, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._lock = threading.Lock()
        self._values: OrderedDict[Key, tuple[float, Value]] = OrderedDict()
        self._forgotten = 0

    def get(self, key: Key, find: Callable[[], Value]) -> Value:
        """The value of `key`; `find` is asked for one that is unknown or too old. Whatever it raises is raised."""
        now = self._clock()
        with self._lock:
            known = self._values.get(key)
            forgotten = self._forgotten
        if known is not None and known[0] > now:
            return known[1]
        # Not under the lock: looking up takes its time, and finding the same twice does no harm.
        value = find()
        with self._lock:
            if self._forgotten != forgotten:
                # It may have been looked up before the change that everything was forgotten for.
                return value
            self._values.pop(key, None)
            self._values[key] = now + self._seconds, value
            if len(self._values) > self._size:
                self._values.popitem(last=False)
        return value

    def forget(self) -> None:
        """Forget everything: what was looked up has just been changed here."""
        with self._lock:
            self._values.clear()
            self._forgotten += 1
