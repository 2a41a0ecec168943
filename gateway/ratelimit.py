"""How often one address may ask: a token bucket for each, in bounded memory."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """Where a key stands after one more request; `wait_seconds` is 0 when it was allowed."""

    wait_seconds: float
    left: float
    full_in_seconds: float


class RateLimiter:
    """Allows `burst` requests at once and `per_second` in the long run, for each key.

    Only the `max_keys` that asked last are remembered; a forgotten one starts afresh, so memory is bounded whatever
    addresses are made up.
    """

    def __init__(
        self, *, per_second: float, burst: int, max_keys: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._max_keys = max_keys
        self._clock = clock
        self._lock = threading.Lock()
        # Key to what is left in its bucket, and when that was so.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, key: str) -> float:
        """0 when `key` may go ahead, which uses up one request; else how long it should wait."""
        return self.spend(key).wait_seconds

    def spend(self, key: str) -> Spent:
        """Use up one request of `key`, if it has one left."""
        now = self._clock()
        with self._lock:
            left, since = self._buckets.pop(key, (float(self._burst), now))
            left = min(left + (now - since) * self._per_second, self._burst)
            allowed = left >= 1
            left -= 1 if allowed else 0
            self._buckets[key] = (left, now)
            if len(self._buckets) > self._max_keys:
                self._buckets.popitem(last=False)
        return Spent(
            wait_seconds=0.0 if allowed else (1 - left) / self._per_second,
            left=left,
            full_in_seconds=(self._burst - left) / self._per_second,
        )
