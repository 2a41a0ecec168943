"""A process that dies between any two steps leaves a recording that ends the same."""

import dataclasses
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from media.recordings import attend as attending
from media.recordings.control import Control
from tests.media.recordings.control.studio import Session, Studio
from tests.media.recordings.control.test_control_consent import recorded


class Killed(BaseException):
    """What nothing catches, like the end of a process."""


class Dying:
    """Whatever it wraps, until the process has made so many calls of the outside and dies before or after the next."""

    def __init__(self, inner: Any, countdown: "Countdown") -> None:
        self._inner = inner
        self._countdown = countdown

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(value):
            return Dying(value, self._countdown) if name in {"recordings", "attendance"} else value

        async def call(*given: Any, **more: Any) -> Any:
            self._countdown.step()
            answer = await value(*given, **more)
            self._countdown.step()
            return answer

        return call


class Countdown:
    def __init__(self, steps: int) -> None:
        self.left = steps
        self.is_dead = False

    def step(self) -> None:
        self.left -= 1
        # The dead do nothing more, not even on their way out.
        if self.left < 0:
            self.is_dead = True
            raise Killed


def dying(studio: Studio, steps: int) -> tuple[Control, Countdown]:
    countdown = Countdown(steps)
    control = studio.another_process()
    dead: dict[str, Any] = {name: Dying(getattr(control, name), countdown) for name in ("records", "livekit")}
    return dataclasses.replace(control, **dead), countdown


async def dies(countdown: Countdown, work: Awaitable[object]) -> bool:
    try:
        await work
    except BaseException:
        if not countdown.is_dead:
            raise
    return countdown.is_dead


@pytest.fixture(autouse=True)
def _short_turns(studio: Studio) -> None:
    studio.limited(turn=0.3, unsure=2.0)


async def every_death(
    studio: Studio,
    make: Callable[[], Awaitable[Session]],
    work: Callable[[Session, Control], Awaitable[object]],
    step: int,
) -> list[Session]:
    """The sessions left by processes that died ever later in the same work."""
    left = []
    steps = 0
    while True:
        session = await make()
        control, countdown = dying(studio, steps)
        left.append(session)
        if not await dies(countdown, work(session, control)):
            return left
        steps += step


async def test_a_start_that_dies_at_any_step_records_once_or_not_at_all(studio: Studio) -> None:
    async def make() -> Session:
        session = await studio.session("ann", "bob")
        await session.consents("ann", "bob")
        return session

    left = await every_death(studio, make, lambda session, control: session.start(control=control), 11)
    assert len(left) > 3
    for session in left:
        # Whoever gets no answer asks again.
        recording = await session.start()
        recording = await session.until(lambda one: sum(stay.state == "ACTIVE" for stay in one.stays) == 2)
        assert session.recorded() == ["ann", "bob"]
        assert len(session.egresses()) == 2, "recorded twice"
        assert len(await session.recordings()) == 1
        await session.stop(recording)
    for session in left:
        await session.waiting()
        await session.check()


async def test_a_start_that_died_and_is_not_asked_for_again_goes_on_or_is_given_up(studio: Studio) -> None:
    session = await studio.session("ann")
    await session.consents("ann")
    steps = 0
    while not (await session.recordings()):
        control, countdown = dying(studio, steps)
        assert await dies(countdown, session.start(control=control))
        steps += 2
    assert session.egresses() == []
    studio.later(studio.control.limits.start)
    recording = await session.waiting()
    assert recording.stop_reason == "it could not be begun in time"
    assert session.egresses() == []
    await session.check()


async def test_a_withdrawal_that_dies_at_any_step_is_carried_out(studio: Studio) -> None:
    async def withdraw(session: Session, control: Control) -> None:
        await session.consent("bob", "WITHDRAWN", key="withdrawn", control=control)

    left = await every_death(studio, lambda: recorded(studio, "ann", "bob"), withdraw, 17)
    assert len(left) > 1
    for session in left:
        if "consent.withdrawn" in await session.kinds():
            await session.until(lambda one: one.stays_of("bob")[0].state in {"STOPPING", "ENDED"})
        else:
            await session.consent("bob", "WITHDRAWN", key="withdrawn")
        assert session.recorded() == ["ann"]
        await session.stop(await session.recording())
    for session in left:
        await session.waiting()
        await session.check()


async def test_a_look_that_dies_at_any_step_of_a_stop_loses_nothing(studio: Studio) -> None:
    async def stop(session: Session, control: Control) -> None:
        recording = await session.recording()
        await attending.stop_running(control, recording, "over")
        await attending.attend(control, recording)
        await attending.attend(control, recording)

    left = await every_death(studio, lambda: recorded(studio, "ann", "bob"), stop, 17)
    assert len(left) > 1
    for session in left:
        await session.stop((await session.recordings())[0])
        await session.waiting()
        await session.check()
