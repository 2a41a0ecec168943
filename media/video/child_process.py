"""A child process that looks at footage, and what is asked of it: whatever happens there, the caller goes on.

The child has limits on memory, processor time and output, no secrets in its environment, and is killed when it is
cancelled, silent for too long, or when this process ends.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from media.errors import MediaError, Reason
from media.video.values import Limits, Progress, Report
from media.video.wire import from_json, to_json

T = TypeVar("T")

# A probe of a day of MJPEG lists a million keyframes.
_LINE_BYTES: Final = 64 << 20
_SAID_BYTES: Final = 2_000


async def done_apart(
    task: str, request: Mapping[str, Any], kind: type[T], *, limits: Limits, progress: Report | None = None
) -> T:
    """The result of one task of media/video/child.py. `request` is JSON, the result a value of `kind`.

    Raises MediaError: what the task raises; CRASHED (metadata `signal` or `exit_code`), TOO_SLOW, TOO_LARGE (memory).
    """
    async with child({"task": task, **request, "limits": to_json(limits)}, limits) as answers:
        async for answer in answers:
            match answer:
                case {"progress": sign} if progress is not None:
                    progress(value_of(Progress, sign))
                case {"error": error}:
                    raise refusal(error)
                case {"done": done}:
                    return value_of(kind, done)
    raise nonsense()


@contextmanager
def making(directory: Path) -> Iterator[Path]:
    """A folder within `directory`, which is made, for files that count only once they are `taken_over`."""
    directory.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".making-", dir=directory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def taken_over(path: Path, folder: Path, target: Path) -> Path:
    """Move a file that the child says it wrote into `folder` to `target`. Raises MediaError CRASHED."""
    # The name comes from a process that may have been taken over.
    made = folder / path.name
    if made.is_symlink() or not made.is_file():
        raise MediaError(Reason.CRASHED, "the process that works on footage did not write what it says")
    return made.replace(target)


@asynccontextmanager
async def child(request: dict[str, Any], limits: Limits) -> AsyncIterator[AsyncIterator[Any]]:
    """Start a child with a task; yields its answers. An error it tells, or its death, is raised as MediaError."""
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "media.video.child"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            limit=_LINE_BYTES,
            # Of this process's environment nothing: it may hold passwords. Fewer arenas, or malloc reserves address
            # space for every thread.
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MALLOC_ARENA_MAX": "2"},
        )
        try:
            async with asyncio.timeout(limits.wall_seconds):
                stdin = process.stdin
                if stdin is None:  # it was asked for above
                    raise MediaError(Reason.INTERNAL, "the child has no input")
                stdin.write(json.dumps(request).encode() + b"\n")
                yield _answers(process, said.fileno(), limits)
        except TimeoutError as error:
            raise MediaError(Reason.TOO_SLOW, f"the footage took longer than {limits.wall_seconds} s") from error
        finally:
            _kill(process)
            await process.wait()


async def _answers(process: asyncio.subprocess.Process, said: int, limits: Limits) -> AsyncIterator[Any]:
    stdout = process.stdout
    while stdout is not None:
        try:
            async with asyncio.timeout(limits.silent_seconds):
                line = await stdout.readline()
            if not line.endswith(b"\n"):
                break
            answer = json.loads(line)
        except TimeoutError as error:
            message = f"nothing came of the footage for {limits.silent_seconds} s"
            raise MediaError(Reason.TOO_SLOW, message) from error
        except ValueError as error:
            raise nonsense() from error
        yield answer
    returncode = await process.wait()
    if returncode:
        raise _death(returncode, said)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Refusal:
    reason: Reason
    message: str
    metadata: dict[str, str]


def refusal(value: Any) -> MediaError:
    """The error that the child tells."""
    told = value_of(_Refusal, value)
    return MediaError(told.reason, told.message, told.metadata)


def value_of(kind: type[T], value: Any) -> T:
    """A value that the child tells. Raises MediaError CRASHED when it is none of this kind."""
    try:
        return from_json(kind, value)
    except ValueError as error:
        raise nonsense() from error


def nonsense() -> MediaError:
    """What to raise when the child's answers make no sense."""
    return MediaError(Reason.CRASHED, "the process that reads footage did not answer as it should")


def _kill(process: asyncio.subprocess.Process) -> None:
    # `process.kill()` may reap the child in the place of asyncio, which then warns of a process it does not know.
    with suppress(ProcessLookupError):
        if process.returncode is None:
            handle = os.pidfd_open(process.pid)
            try:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)


def _death(returncode: int, said: int) -> MediaError:
    detail = os.pread(said, _SAID_BYTES, max(0, os.fstat(said).st_size - _SAID_BYTES)).decode(errors="replace")
    if -returncode == signal.SIGXCPU:
        return MediaError(Reason.TOO_SLOW, "the footage took more processor time than is allowed", {"detail": detail})
    if returncode > 0:
        metadata = {"exit_code": str(returncode), "detail": detail}
        return MediaError(Reason.CRASHED, "the process that reads footage ended with an error", metadata)
    name = signal.Signals(-returncode).name
    metadata = {"signal": name, "detail": detail}
    return MediaError(Reason.CRASHED, f"the process that reads footage was ended by {name}", metadata)
