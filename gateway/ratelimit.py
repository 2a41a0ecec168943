"""How often one address may ask: a token bucket for each, in bounded memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.shared import Numbers, Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """Where a key stands after one more request; `wait_seconds` is 0 when it was allowed."""

    wait_seconds: float
    left: float
    full_in_seconds: float


class RateLimiter:
    """Allows `burst` requests at once and `per_second` in the long run, for each key.

    The buckets are in a table that all processes of a gateway may share: a limit is the same however many there are. A
    key that the table had to forget starts afresh, so memory is bounded whatever addresses are made up.
    """

    def __init__(
        self, *, per_second: float, burst: int, table: Table, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` must tell all processes the same."""
        self._per_second = per_second
        self._burst = burst
        self._table = table
        self._clock = clock

    def wait_seconds(self, key: str) -> float:
        """0 when `key` may go ahead, which uses up one request; else how long it should wait."""
        return self.spend(key).wait_seconds

    def spend(self, key: str) -> Spent:
        """Use up one request of `key`, if it has one left."""
        allowed, left = False, 0.0

        def take(known: Numbers | None) -> Numbers:
            """What was left in the bucket, and when that was so."""
            nonlocal allowed, left
            now = self._clock()
            before, since = known or (float(self._burst), now)
            left = min(before + max(0.0, now - since) * self._per_second, self._burst)
            allowed = left >= 1
            left -= 1 if allowed else 0
            return left, now

        self._table.update(key, take)
        return Spent(
            wait_seconds=0.0 if allowed else (1 - left) / self._per_second,
            left=left,
            full_in_seconds=(self._burst - left) / self._per_second,
        )
