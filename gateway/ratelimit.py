"""How often one address may ask: a token bucket for each, in bounded memory."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable


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
        now = self._clock()
        with self._lock:
            left, since = self._buckets.pop(key, (float(self._burst), now))
            left = min(left + (now - since) * self._per_second, self._burst)
            allowed = left >= 1
            self._buckets[key] = (left - 1 if allowed else left, now)
            if len(self._buckets) > self._max_keys:
                self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_second
