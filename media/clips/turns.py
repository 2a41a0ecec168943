"""Background work that one process at a time does, whoever has the turn; another takes over when it dies."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from media.errors import MediaError
from media.records.records import Records

_RENEWALS = 3


class Turn:
    """The turn for one kind of work, as one process sees it."""

    def __init__(self, records: Records, name: str, *, owner: str, seconds: float) -> None:
        """`seconds`: how long a dead process may keep others from the work."""
        self._records = records
        self._name = name
        self._owner = owner
        self._seconds = seconds
        self._sure_until = 0.0

    async def take(self) -> bool:
        """Whether this process may work now. Raises MediaError.

        A turn is written down durably, so whoever has it asks again only when a third of its time is over.
        """
        return time.monotonic() < self._sure_until or await self._ask()

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep the turn that was taken while the block runs."""
        is_over = asyncio.Event()

        async def renew() -> None:
            # Cancelling is not enough: the database's answer to a cancelled statement, which is passed over here, may
            # take the place of the cancellation.
            while not is_over.is_set():
                await asyncio.sleep(self._seconds / _RENEWALS)
                # Two processes at the same work do nothing twice, only needlessly: there is no need to stop this one.
                with contextlib.suppress(MediaError):
                    await self._ask()

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            is_over.set()
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing

    async def give_up(self) -> None:
        """Let another process begin at once."""
        self._sure_until = 0.0
        with contextlib.suppress(MediaError):
            await self._records.end_turn(self._name, owner=self._owner)

    async def _ask(self) -> bool:
        asked_at = time.monotonic()
        taken = await self._records.take_turn(self._name, owner=self._owner, seconds=self._seconds)
        self._sure_until = asked_at + self._seconds / _RENEWALS if taken else 0.0
        return taken
