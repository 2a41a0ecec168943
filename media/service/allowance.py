"""How often something may be done that costs no token: so often at once, and so often in the long run."""

import time
from collections.abc import Callable


class Allowance:
    """A bucket that fills by itself. One for a process; no memory of who asks, since anybody can be anybody."""

    def __init__(self, *, per_second: float, at_once: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._clock = clock
        self._left = at_once
        self._filled_at = clock()

    def take(self) -> bool:
        """Whether it may be done now, which then counts."""
        now = self._clock()
        self._left = min(self._at_once, self._left + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
