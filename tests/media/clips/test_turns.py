"""Keeping a turn ends with the work, whatever the database makes of that moment."""

import asyncio
from typing import Any, cast

from media.clips.turns import Turn
from media.errors import MediaError, Reason
from media.records.records import Records


class CancelledLate:
    """A database whose answer to a cancelled statement comes in place of the cancellation."""

    def __init__(self) -> None:
        self.asked = 0

    async def take_turn(self, *_: Any, **__: Any) -> bool:
        self.asked += 1
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise MediaError(Reason.OVERLOADED, "canceling statement due to user request") from None
        return True


async def test_a_turn_ends_although_its_renewal_swallowed_the_cancellation() -> None:
    database = CancelledLate()
    turn = Turn(cast(Records, database), "work", owner="one", seconds=0.03)
    async with asyncio.timeout(30), turn.kept():
        while not database.asked:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.005)
    assert database.asked == 1
