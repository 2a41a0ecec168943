"""Appends under load while the service and PostgreSQL are killed, and the full check of what is left.

The writers are a process of their own (`python -m tests.faults.crash_load SETTINGS`), which writes down what it tried
and what was acknowledged, line by line. SIGTERM makes it settle every append that is under way, and end.
"""

import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ledger.chain.event import event_hash
from ledger.client import ClientError, LedgerClient, NewEvent
from sandbox.processes import Process
from tests.service.serving import Service

WRITERS_PER_CHAIN = 3
_SETTLE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Append:
    """One append of the load: its marks are payloads that occur nowhere else."""

    chain_id: str
    key: str
    marks: tuple[str, ...]

    @property
    def events(self) -> list[NewEvent]:
        return [NewEvent(kind="load.marked", payload={"mark": mark}) for mark in self.marks]


class Load:
    """The writers' process and what it wrote down."""

    def __init__(self, service: Service, name: str) -> None:
        self.chains = tuple(f"{name}-{chain}" for chain in ("north", "south", "east", "west"))
        self._notes = service.directory / f"{name}.jsonl"
        self._notes.touch()
        self._log = service.directory / f"{name}.log"
        settings = {
            "address": service.address,
            "token": service.token(),
            "receipt_key": service.receipt_key,
            "chains": self.chains,
            "notes": str(self._notes),
        }
        root = Path(__file__).parents[2]
        argv = [sys.executable, "-m", "tests.faults.crash_load", json.dumps(settings)]
        self._process = Process("the load", argv, log=self._log, cwd=root, stop_seconds=_SETTLE_SECONDS)

    def settle(self) -> None:
        """Let the writers finish the appends that are under way; the service must be running."""
        self._process.stop()
        assert self._process.exit_code == 0, self._process.tail()

    def kill(self) -> None:
        self._process.kill()

    def wait_for_progress(self, appends: int, seconds: float = 120.0) -> None:
        """Return once that many more appends were acknowledged: the load has recovered."""
        goal = self._count() + appends
        deadline = time.monotonic() + seconds
        while self._count() < goal:
            assert time.monotonic() < deadline, f"no append was acknowledged for too long.{self._process.tail()}"
            time.sleep(0.02)

    def tried(self) -> list[Append]:
        """Every append that was sent at least once."""
        return [_append(note) for note in self._read() if "receipt" not in note]

    def acknowledged(self) -> list[tuple[Append, int, str]]:
        """Every append that was answered, with its first sequence and its receipt."""
        return [(_append(note), note["first"], note["receipt"]) for note in self._read() if "receipt" in note]

    def _read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._notes.read_text().splitlines()]

    def _count(self) -> int:
        return self._notes.read_bytes().count(b'"receipt"')


def _append(note: dict[str, Any]) -> Append:
    return Append(chain_id=note["chain"], key=note["key"], marks=tuple(note["marks"]))


@contextmanager
def running_load(service: Service, name: str = "load") -> Iterator[Load]:
    """Writers until the block ends. Each load has a name of its own and writes to chains of its own."""
    load = Load(service, name)
    try:
        yield load
    finally:
        load.kill()


async def check_everything(service: Service, load: Load) -> None:
    """No acknowledged event missing, none twice, every chain valid, every key still answered with its receipt."""
    tried, acknowledged = load.tried(), load.acknowledged()
    async with service.client() as client:
        for chain_id in load.chains:
            marks = await _check_chain(client, chain_id)
            wanted = {mark for append in tried if append.chain_id == chain_id for mark in append.marks}
            assert max(Counter(marks.values()).values()) == 1, "an event is there twice"
            assert set(marks.values()) == wanted, "what was settled differs from what is stored"
            for append, first, _ in acknowledged:
                if append.chain_id == chain_id:
                    assert tuple(marks[first + n] for n in range(len(append.marks))) == append.marks
        for append, _, receipt in random.sample(acknowledged, min(100, len(acknowledged))):
            again = await client.append_events(append.chain_id, append.events, idempotency_key=append.key)
            assert (again.replayed, again.signed_note) == (True, receipt)


async def _check_chain(client: LedgerClient, chain_id: str) -> dict[int, str]:
    """Re-hash the chain as it is handed out; the mark of each event by its sequence."""
    marks = {}
    previous, last_time, sequence = bytes(32), 0, 0
    async for event in client.stream_events(chain_id):
        sequence += 1
        assert (event.sequence, event.prev_hash) == (sequence, previous)
        previous = event_hash(
            sequence=sequence,
            prev_hash=previous,
            kind=event.kind.encode(),
            payload=event.payload,
            occurred_at_us=event.occurred_at_us,
        )
        assert event.hash == previous
        assert event.occurred_at_us >= last_time
        last_time = event.occurred_at_us
        if event.kind == "load.marked":
            marks[sequence] = event.content["mark"]
    assert (await client.check_chain(chain_id)).ok
    return marks


async def write(settings: dict[str, Any]) -> None:
    """What the writers' process does."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with Path(settings["notes"]).open("a", buffering=1) as notes:  # noqa: ASYNC230 - a line a millisecond, locally
        async with LedgerClient(
            settings["address"],
            token=settings["token"],
            receipt_key=settings["receipt_key"],
            timeout_seconds=5,
        ) as client:
            await asyncio.gather(
                *(
                    _write_chain(client, stop, chain_id, f"{chain_id}-{writer}", lambda note: print(note, file=notes))
                    for chain_id in settings["chains"]
                    for writer in range(WRITERS_PER_CHAIN)
                )
            )


async def _write_chain(client: LedgerClient, stop: asyncio.Event, chain_id: str, name: str, note: Any) -> None:
    await _until_done(partial(client.open_chain, chain_id))
    number = 0
    while not stop.is_set():
        marks = tuple(f"{name}-{number}-{position}" for position in range(random.randint(1, 4)))
        append = Append(chain_id=chain_id, key=f"{name}-{number}", marks=marks)
        about = {"chain": chain_id, "key": append.key, "marks": marks}
        note(json.dumps(about))
        receipt = await _until_done(partial(client.append_events, chain_id, append.events, idempotency_key=append.key))
        note(json.dumps(about | {"first": receipt.first_sequence, "receipt": receipt.signed_note}))
        number += 1


async def _until_done(call: Any) -> Any:
    while True:
        try:
            return await call()
        except ClientError:
            # The client gave up; the same is repeated until the service is back.
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(write(json.loads(sys.argv[1])))
