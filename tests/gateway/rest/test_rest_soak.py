"""Appends of many callers through the gateway while the ledger is killed again and again (`make soak`)."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.gateway.rest.world import Caller, World

CALLERS = 40
KILLS = 10
LIMIT_SECONDS = 60.0


@dataclass
class Appends:
    """What some callers did: each repeats an append with its key until it is acknowledged."""

    callers: list[Caller]
    sessions: list[str]
    stop: threading.Event = field(default_factory=threading.Event)
    # Session and sequence of what was acknowledged, and what it says.
    acknowledged: dict[tuple[str, int], str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)

    def go_on(self, number: int) -> None:
        caller, chance = self.callers[number % len(self.callers)], random.Random(number)
        count = 0
        while not self.stop.is_set():
            count += 1
            self._append(caller, chance.choice(self.sessions), f"{number}-{count}")

    def _append(self, caller: Caller, session: str, name: str) -> None:
        body = {"events": [{"kind": "door.opened", "payload": {"name": name}}]}
        while (reply := caller.post(f"/sessions/{session}/events", body, Idempotency_Key=name)).status_code != 201:
            self.refused.add(reply.json["code"])
            time.sleep(0.1)
        self.acknowledged[session, reply.json["first_sequence"]] = name


def recorded(world: World, sessions: list[str]) -> dict[tuple[str, int], str]:
    """The events of sessions as they are on their chains."""
    found: dict[tuple[str, int], str] = {}
    for session in sessions:
        cursor: str | None = ""
        while cursor is not None:
            page = world.caller().get(f"/sessions/{session}/events?kind=door.opened&limit=1000{cursor}").json
            found |= {(session, item["sequence"]): item["payload"]["name"] for item in page["items"]}
            cursor = f"&cursor={page['next_cursor']}" if page.get("next_cursor") else None
    return found


@pytest.mark.soak
def test_no_acknowledged_append_is_lost_or_doubled_however_often_the_ledger_is_killed(world: World) -> None:
    appends = Appends([world.caller(subject=name) for name in ("ann", "bob")], [world.session() for _ in range(5)])
    with ThreadPoolExecutor(CALLERS) as threads:
        running = [threads.submit(appends.go_on, number) for number in range(CALLERS)]
        try:
            for _ in range(KILLS):
                before = len(appends.acknowledged)
                until = time.monotonic() + LIMIT_SECONDS
                while len(appends.acknowledged) < before + 200:
                    assert time.monotonic() < until, "nothing is acknowledged any more"
                    time.sleep(0.01)
                world.ledger.kill()
                world.ledger.start()
        finally:
            appends.stop.set()
        for one in running:
            one.result(LIMIT_SECONDS)
    assert recorded(world, appends.sessions) == appends.acknowledged
    assert appends.refused == {"SERVICE_UNAVAILABLE"}
    assert not world.parts.ledger._batches._lanes
