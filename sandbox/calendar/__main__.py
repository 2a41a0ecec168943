"""The calendars as a process: `python -m sandbox.calendar SECONDS`; a block every SECONDS, with 0 only when told to.

Prints one line of JSON when it is ready, then serves until it is ended, or until its standard input closes: whoever
started it holds the other end, so it never outlives them, however they end.
"""

import functools
import json
import os
import sys
import threading
import time

from sandbox.calendar.server import CalendarDesk, ControlDesk, ExplorerDesk, Server
from sandbox.calendar.world import World

CALENDARS = 3
EXPLORERS = 3


def main(arguments: list[str]) -> None:
    """Serve until standard input closes."""
    block_seconds = float(arguments[1])
    world = World(calendars=CALENDARS, explorers=EXPLORERS)
    calendars = [Server(functools.partial(CalendarDesk, world, number)) for number in range(CALENDARS)]
    explorers = [Server(functools.partial(ExplorerDesk, world, number)) for number in range(EXPLORERS)]
    control = Server(functools.partial(ControlDesk, world))
    for server in (*calendars, *explorers, control):
        server.serve_in_thread()
    if block_seconds > 0:
        threading.Thread(target=_mine_for_ever, args=(world, block_seconds), daemon=True).start()
    ready = {
        "calendars": [server.url for server in calendars],
        "explorers": [server.url for server in explorers],
        "control": control.url,
    }
    print(json.dumps(ready), flush=True)  # noqa: T201  # the parent waits for this line
    sys.stdin.buffer.read()
    os._exit(0)


def _mine_for_ever(world: World, block_seconds: float) -> None:
    while True:
        time.sleep(block_seconds)
        world.mine()


if __name__ == "__main__":
    main(sys.argv)
