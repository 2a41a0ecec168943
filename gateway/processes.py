"""The processes of one gateway: one that starts the others and looks after them, and those that do the work.

The first serves nothing, has no threads and no connections, so it can be copied (`fork`) at any moment:
1. Groups of tasks are started one after the other, the next once the first task of the last one is ready: what is
   wrong with the settings is told once, by one process, and ends the gateway.
2. A process that dies is started again after a moment.
3. SIGTERM or Ctrl-C is passed on. Each then finishes what is under way; who takes too long is killed.
4. Should the first process be killed, the others notice that its end of a pipe is closed, and end.
"""

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
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
    """What one process does: `run(ready)` calls `ready` once it serves, and returns or raises SystemExit on SIGTERM."""

    name: str
    run: Callable[[Callable[[], None]], None]


class Processes:
    """The processes that work; of use in the main thread of a process without other threads only."""

    def __init__(self, groups: Sequence[Sequence[Task]], *, ended: Callable[[int], None] = lambda _: None) -> None:
        """`ended` is told the id of each process that is over."""
        self._waiting = list(groups)
        self._ended = ended
        self._running: dict[int, Task] = {}
        self._exit_code: int | None = None
        self._lifeline, self._held = os.pipe()

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
            os.close(self._held)
            os.close(self._lifeline)
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
        elif number == _READY and self._exit_code is None:
            self._start_next()
        elif number == signal.SIGCHLD:
            for process_id, code in _dead():
                self._bury(process_id, code)

    def _start_next(self) -> None:
        for task in self._waiting.pop(0) if self._waiting else ():
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
        if self._waiting:
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
            os.close(self._held)
            threading.Thread(target=_follow, args=(self._lifeline,), name="lifeline", daemon=True).start()
            with clear_failures():
                task.run(lambda: _tell_ready(parent))
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


def _tell_ready(parent: int) -> None:
    # What was made by now stays: the collector of garbage need not look through it again and again.
    gc.collect()
    gc.freeze()
    os.kill(parent, _READY)


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
