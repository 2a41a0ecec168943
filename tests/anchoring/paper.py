"""Backends made for tests: they print what they are given, at once or as each test needs it."""

import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime

from ledger.anchoring.port import AnchorBackend, InProgress, Obtained
from ledger.store.values import AnchorTarget

TARGET = AnchorTarget(backend="paper", authority="gazette")
OTHER = AnchorTarget(backend="paper", authority="herald")


class Backend:
    """A backend whose `anchor` each test supplies by overriding it."""

    concurrency = 4
    min_interval_seconds = 0.0
    attempt_seconds = 5.0

    def __init__(self, target: AnchorTarget = TARGET) -> None:
        self.target = target
        self.calls: list[tuple[bytes, Mapping[str, object] | None, float]] = []

    async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained | InProgress:
        self.calls.append((digest, state, time.monotonic()))
        return obtained(digest)


def obtained(digest: bytes) -> Obtained:
    return Obtained(request=digest, response=b"printed", anchored_at=datetime.now(tz=UTC))


class Source:
    def __init__(self, *backends: AnchorBackend) -> None:
        self._backends = backends

    @contextlib.asynccontextmanager
    async def open_backends(self) -> AsyncIterator[Sequence[AnchorBackend]]:
        yield self._backends
