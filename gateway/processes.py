"""The processes of one gateway: one that starts the others and looks after them, and those that do the work.

The first serves nothing, has no threads and no connections, so it can be copied (`fork`) at any moment:
1. Groups of tasks are started one after the other, the next once the last one is ready: what is wrong with the
   settings is told once, by one process, and ends the gateway. When all are ready they begin together, so that early
   callers, who keep their connections, are not all at one process for good.
2. A process that dies is started again after a moment.
3. SIGTERM or Ctrl-C is passed on. Each then finishes what is under way; who takes too long is killed.
4. Should the first process be killed, the others notice that its end of a pipe is closed, and end.
"""

import gc
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

import click
import structlog

from ledger.cli.main import clear_failures

# A request under way may take as long as the server grants it, and then everything is closed.
STOP_SECONDS = 20
# A process that always dies at once must not keep a core busy with starting it.
AGAIN_SECONDS = 1.0
_READY = signal.SIGUSR1
_END = (signal.SIGTERM, signal.SIGINT)
_WATCHED = frozenset({*_END, _READY, signal.SIGCHLD, signal.SIGALRM})

_log = structlog.stdlib.get_logger("gateway")


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What one process does: `run(ready)` calls `ready` when it could begin, which returns when it shall.

    On SIGTERM it returns, or raises SystemExit.
    """

    name: str
    run: Callable[[Callable[[], None]], None]


class Processes:
    """The processes that work; of use in the main thread of a process without other threads only."""

    def __init__(
        self, groups: Sequence[Sequence[Task]], *, begun: Callable[[], None], ended: Callable[[int], None]
    ) -> None:
        """`begun` is called when all of them begin; `ended` is told the id of each process that is over."""
        self._waiting = list(groups)
        self._begun = begun
        self._ended = ended
        self._running: dict[int, Task] = {}
        # Those of the group that is being started which are not ready yet; None once all have begun.
        self._unready: int | None = 0
        self._exit_code: int | None = None
        # The first process holds one end of each pipe: the other has its end when the first lets go, or is no more.
        self._lifeline, self._held = os.pipe()
        self._gate, self._shut = os.pipe()
        self._heard, self._said = os.pipe()
        os.set_blocking(self._heard, False)
        self._open = {self._lifeline, self._held, self._gate, self._shut, self._heard, self._said}

    def run(self) -> int:
        """Work until SIGTERM or Ctrl-C: 0. When something fails before all have begun, the exit code of that."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        # A signal that nobody handles is not kept, though it is blocked.
        handlers = {one: signal.signal(one, _ignore) for one in _WATCHED}
        try:
            self._start_next()
            while self._running:
                self._heed(signal.sigwait(_WATCHED))
        finally:
            self._close(*self._open)
            signal.alarm(0)
            for one, handler in handlers.items():
                signal.signal(one, handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._exit_code or 0

    def _heed(self, number: int) -> None:
        if number in _END:
            self._stop(0)
        elif number == signal.SIGALRM:
            for process_id in self._running:
                os.kill(process_id, signal.SIGKILL)
        elif number == _READY:
            self._hear()
        elif number == signal.SIGCHLD:
            for process_id, code in _dead():
                self._bury(process_id, code)

    def _hear(self) -> None:
        """Count who is ready: signals that come at once are one signal, what was written stays so many bytes."""
        with suppress(BlockingIOError):
            ready = len(os.read(self._heard, select.PIPE_BUF))
            if self._unready is not None and self._exit_code is None:
                self._unready -= ready
                self._start_next()

    def _close(self, *ends: int) -> None:
        for end in ends:
            if end in self._open:
                self._open.discard(end)
                os.close(end)

    def _start_next(self) -> None:
        """Start the next group when the last one is ready, and let them begin when all are."""
        while not self._unready:
            if not self._waiting:
                self._unready = None
                self._close(self._shut)
                self._begun()
                return
            group = self._waiting.pop(0)
            self._unready = len(group)
            for task in group:
                self._start(task)

    def _stop(self, exit_code: int) -> None:
        if self._exit_code is None:
            self._exit_code = exit_code
            signal.alarm(STOP_SECONDS)
        for process_id in self._running:
            os.kill(process_id, signal.SIGTERM)

    def _bury(self, process_id: int, code: int) -> None:
        task = self._running.pop(process_id, None)
        if task is None:
            return
        self._ended(process_id)
        if self._exit_code is not None:
            return
        if self._unready is not None:
            # It has said why.
            self._stop(abs(code) or 1)
            return
        _log.error("gateway_process_ended", process=task.name, code=code)
        time.sleep(AGAIN_SECONDS)
        self._start(task)

    def _start(self, task: Task) -> None:
        process_id = os.fork()
        if process_id == 0:
            self._work(task)
        self._running[process_id] = task

    def _work(self, task: Task) -> NoReturn:
        """The life of a process that works. It leaves by `os._exit`: what the first one opened is not its to close."""
        parent = os.getppid()
        code = 1
        try:
            signal.signal(signal.SIGTERM, _leave)
            # Ctrl-C reaches every process of a terminal; the first one passes it on.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            self._close(self._held, self._shut)
            threading.Thread(target=_follow, args=(self._lifeline,), name="lifeline", daemon=True).start()
            with clear_failures():
                task.run(lambda: self._wait_to_begin(parent))
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except click.ClickException as refusal:
            refusal.show()
            code = refusal.exit_code
        except BaseException:  # noqa: BLE001 - above this is what the first process was doing when it was copied
            _log.exception("gateway_process_failed", process=task.name)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _wait_to_begin(self, parent: int) -> None:
        # What was made by now stays: the collector of garbage need not look through it again and again.
        gc.collect()
        gc.freeze()
        os.write(self._said, b"r")
        os.kill(parent, _READY)
        os.read(self._gate, 1)


def _follow(lifeline: int) -> None:
    """Wait until nobody holds the other end any more."""
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _dead() -> list[tuple[int, int]]:
    """The processes that ended since the last time, with their exit codes; of those killed, minus the signal."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            process_id, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if process_id == 0:
            return found
        found.append((process_id, os.waitstatus_to_exitcode(status)))


def _leave(_number: int, _frame: FrameType | None) -> None:
    # Once: whoever ends all processes at a time has the first one send it again, amid what is under way.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """These are waited for."""
