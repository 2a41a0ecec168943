"""What takes long and keeps a thread busy meanwhile: so much of it at once, and so much of it for one organisation.

Without the second bound a few slow readers of one organisation would keep all the others from their evidence.
"""

import threading
from collections import Counter
from types import TracebackType
from typing import Self

from gateway.metrics import GatewayMetrics
from gateway.problems import Code, Problem

RETRY_SECONDS = 5


class Slots:
    """The slots of one process, for any number of threads. `name` is what metrics call them."""

    def __init__(self, name: str, *, at_once: int, of_one: int, metrics: GatewayMetrics | None = None) -> None:
        """`at_once` in all, and `of_one` for one organisation."""
        self._name = name
        self._at_once = at_once
        self._of_one = of_one
        self._metrics = metrics
        self._lock = threading.Lock()
        self._taken = 0
        self._taken_by: Counter[str] = Counter()

    def take(self, organisation_id: str | None = None) -> "Slot":
        """A slot. Raises Problem: OVERLOADED when none is left, RATE_LIMITED when the organisation has its share.

        Of something that is not known to be anybody's yet, `Slot.count_for` says it later.
        """
        with self._lock:
            if self._taken >= self._at_once:
                self._refuse("all")
                raise Problem(
                    Code.OVERLOADED,
                    "Too many files are being sent or checked. Try again in a moment.",
                    headers={"Retry-After": str(RETRY_SECONDS)},
                )
            self._taken += 1
            self._tell()
        slot = Slot(self)
        if organisation_id is not None:
            slot.count_for(organisation_id)
        return slot

    def claim(self, organisation_id: str) -> None:
        """Count one more for an organisation. Raises Problem (RATE_LIMITED)."""
        with self._lock:
            if self._taken_by[organisation_id] >= self._of_one:
                self._refuse("share")
                raise Problem(
                    Code.RATE_LIMITED,
                    f"{self._of_one} files of your organisation are being sent or checked here, which is its share. "
                    "Wait until one of them has ended.",
                    headers={"Retry-After": str(RETRY_SECONDS)},
                )
            self._taken_by[organisation_id] += 1

    def give_back(self, organisation_id: str | None) -> None:
        """One less."""
        with self._lock:
            self._taken -= 1
            self._tell()
            if organisation_id is not None:
                self._taken_by[organisation_id] -= 1
                # An organisation with nothing under way takes up no memory.
                self._taken_by += Counter()

    def _tell(self) -> None:
        if self._metrics is not None:
            self._metrics.slots_in_use.labels(self._name).set(self._taken)

    def _refuse(self, why: str) -> None:
        if self._metrics is not None:
            self._metrics.slots_refused.labels(self._name, why).inc()


class Slot:
    """One of them, until `release` or the end of a `with` block."""

    def __init__(self, slots: Slots) -> None:
        self._slots: Slots | None = slots
        self._organisation_id: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.release()

    def count_for(self, organisation_id: str) -> None:
        """Say whose it is. Raises Problem (RATE_LIMITED): then the slot is free again."""
        if self._slots is None:
            return
        try:
            self._slots.claim(organisation_id)
        except Problem:
            self.release()
            raise
        self._organisation_id = organisation_id

    def release(self) -> None:
        """Give it back; calling it again is harmless."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.give_back(self._organisation_id)
