"""Waiting for what other threads bring about."""

import time
from collections.abc import Callable

LIMIT_SECONDS = 60.0


def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; fails if it never does."""
    ends = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < ends, "what was waited for never came about"
        time.sleep(0.005)
