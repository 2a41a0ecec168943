"""Shares the slices of a chain out to further processes, and hands the results back in order.

A worker (`worker_start.py`) reads the file by itself and answers with small results. The calling process works too, so
a slow start of the others costs little, and whatever a worker fails to do is done here: a lost worker makes the check
slower, never different.
"""

import os
import pickle
import signal
import struct
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from verifier.line_source import SLICE_BYTES, FileRange, ranges_of_lines
from verifier.memory import keep_freed_memory
from verifier.quick_lines import QuickReader
from verifier.slices import SliceResult, check_slice
from verifier.worker_start import Process, start_process

MAX_WORKERS = 16
"""More processes than this gain nothing: the reading and the joining are done by one."""

BYTES_WORTH_A_WORKER = 8 * 1024 * 1024
"""Below this, starting an interpreter takes longer than the work it would take over."""

_BATCH = 8
"""Slices a worker is given at a time: an answer must wait until the calling process can take it."""

_UNDER_WAY = 3
"""Batches a worker has at a time, so that it goes on while its answer waits."""

_SHARES = 8
"""A batch is at most this part of what is left for each process."""

_AHEAD = 256
"""Results kept for slices whose turn has not come: bounds memory when one process falls behind."""

_LENGTH = struct.Struct(">Q")
_Task = tuple[int, FileRange]


def available_workers() -> int:
    """Return how many processes can run at a time on this machine, at most `MAX_WORKERS`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_WORKERS)


@contextmanager
def check_ranges(whole: FileRange, *, pin: str | None, workers: int) -> Iterator[Iterator[SliceResult]]:
    """Give the results of all slices of `whole`, in order, using `workers` processes including this one.

    The others begin at once, this one when the first result is asked for. All have ended when the context has.
    """
    pool = _Pool(whole, pin)
    try:
        pool.start_workers(workers - 1)
        yield pool.results()
    finally:
        pool.stop()


class _Pool:
    def __init__(self, whole: FileRange, pin: str | None) -> None:
        self._ranges = enumerate(ranges_of_lines(whole))
        self._end = whole.offset + whole.length
        self._pin = pin
        # Guards everything below; told of every change.
        self._changed = threading.Condition()
        self._done: dict[int, SliceResult] = {}
        self._returned: list[_Task] = []
        self._in_flight = 0
        self._stopping = False
        self._failure: OSError | None = None
        self._workers: list[tuple[Process, threading.Thread]] = []

    def start_workers(self, count: int) -> None:
        """Start further processes, as many as the system lets us; the check does not depend on them."""
        with suppress(OSError):
            for _ in range(count):
                process = start_process(_serve)
                self._workers.append((process, threading.Thread(target=self._feed, args=(process,), daemon=True)))
        # Not before all processes are there: a process with several threads cannot simply be copied.
        for _, thread in self._workers:
            thread.start()

    def results(self) -> Iterator[SliceResult]:
        """Yield results in order, working on slices here while the next one is not there yet."""
        reader = QuickReader()
        due = 0
        while True:
            with self._changed:
                while due not in self._done and (task := self._take()) is None and self._in_flight:
                    self._changed.wait()
                if due in self._done:
                    result = self._done.pop(due)
                    self._changed.notify_all()
                    due += 1
                elif task is None:
                    break
                else:
                    result = None
            if result is not None:
                yield result
            elif task is not None:
                self._finish(task[0], _checked(task[1], reader, self._pin))
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End every worker; safe to call at any time, also after Ctrl-C."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for process, _ in self._workers:
            process.kill()
        for process, thread in self._workers:
            process.wait()
            # Ctrl-C may have come while the thread was being started; it is a daemon and its process is gone.
            with suppress(RuntimeError):
                thread.join()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def _take(self) -> _Task | None:
        """Return the next slice to work on, if there is one and room for its result. The caller holds the lock."""
        if self._returned:
            return self._returned.pop()
        if self._stopping or len(self._done) >= _AHEAD:
            return None
        try:
            return next(self._ranges, None)
        except OSError as error:
            self._failure = error
            return None

    def _finish(self, index: int, result: SliceResult) -> None:
        with self._changed:
            self._done[index] = result
            self._changed.notify_all()

    def _feed(self, process: Process) -> None:
        """Keep one worker busy. What it fails to answer goes back to be done by another process."""
        under_way: deque[list[_Task]] = deque()
        try:
            while True:
                while len(under_way) < _UNDER_WAY and (batch := self._take_batch(wait=not under_way)):
                    under_way.append(batch)
                    _ask(process, batch, self._pin)
                if not under_way:
                    break
                self._finish_batch(under_way[0], _answer(process, len(under_way[0])))
                under_way.popleft()
            # It takes some time to end, while this process still works.
            _see_off(process)
        except (OSError, EOFError, pickle.UnpicklingError):
            with self._changed:
                for batch in under_way:
                    self._in_flight -= len(batch)
                    self._returned.extend(batch)
                self._changed.notify_all()

    def _take_batch(self, *, wait: bool) -> list[_Task]:
        """Return slices for a worker; none when there are none or, unless told to `wait`, no room for results."""
        batch: list[_Task] = []
        with self._changed:
            while wait and len(self._done) >= _AHEAD and not self._stopping:
                self._changed.wait()
            size = 1
            while len(batch) < size and (task := self._take()) is not None:
                batch.append(task)
                size = self._batch_size(task[1])
            self._in_flight += len(batch)
        return batch

    def _batch_size(self, first: FileRange) -> int:
        """Return how many slices to give at a time from there on: fewer near the end, so that all end together."""
        left = (self._end - first.offset) // SLICE_BYTES
        return min(_BATCH, 1 + left // (_SHARES * (len(self._workers) + 1)))

    def _finish_batch(self, batch: list[_Task], results: list[SliceResult]) -> None:
        with self._changed:
            self._in_flight -= len(batch)
            self._done.update(zip((index for index, _ in batch), results, strict=True))
            self._changed.notify_all()


def _checked(task: FileRange, reader: QuickReader, pin: str | None) -> SliceResult:
    return check_slice(task.read(), reader, pin, grow=task.grow)


def _ask(process: Process, batch: list[_Task], pin: str | None) -> None:
    if process.stdin is None:
        raise EOFError
    _send(process.stdin, ([task for _, task in batch], pin))


def _see_off(process: Process) -> None:
    """Let a worker end by itself, and wait for it."""
    if process.stdin is not None:
        process.stdin.close()
    process.wait()


def _answer(process: Process, count: int) -> list[SliceResult]:
    results = _receive(process.stdout) if process.stdout is not None else None
    if not isinstance(results, list) or [type(one) for one in results] != [SliceResult] * count:
        raise EOFError  # the worker is as good as gone
    return results


def serve() -> None:
    """Answer tasks from standard input until it ends: the main function of an interpreter started for that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    _serve(sys.stdin.buffer, sys.stdout.buffer)


def _serve(tasks: IO[bytes], answers: IO[bytes]) -> None:
    reader = QuickReader()
    with suppress(EOFError, BrokenPipeError):
        while True:
            ranges, pin = _receive(tasks)
            _send(answers, [_checked(one, reader, pin) for one in ranges])


def _send(pipe: IO[bytes], message: object) -> None:
    body = pickle.dumps(message)
    pipe.write(_LENGTH.pack(len(body)) + body)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    """Read one message. Both ends are this program: nothing from outside is ever unpickled."""
    header = pipe.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    return pickle.loads(pipe.read(length))  # noqa: S301 - written by our own process, see above
