"""Video work in a child process, because libav parses hostile bytes: whatever happens there, the caller goes on.

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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from media.errors import MediaError, Reason
from media.video.values import (
    DEFAULT_LIMITS,
    DEFAULT_SETTINGS,
    Artefacts,
    Derivative,
    Limits,
    Probe,
    Progress,
    Report,
    Segment,
    VideoSettings,
    Window,
)
from media.video.wire import from_json, to_json

T = TypeVar("T")

# A probe of a day of MJPEG lists a million keyframes.
_LINE_BYTES: Final = 64 << 20
_SAID_BYTES: Final = 2_000


async def write_artefacts_apart(  # noqa: PLR0913 - as write_artefacts
    segments: Sequence[Segment],
    window: Window,
    directory: Path,
    *,
    settings: VideoSettings = DEFAULT_SETTINGS,
    limits: Limits = DEFAULT_LIMITS,
    progress: Report | None = None,
) -> Artefacts:
    """As `write_artefacts`, in a child process. After a failure nothing is left in `directory`, which is made.

    Also raises MediaError: CRASHED (metadata `signal` or `exit_code`), TOO_SLOW, TOO_LARGE (memory).
    """
    making = _making(directory)
    request = {
        "task": "write",
        "segments": to_json(tuple(segments)),
        "window": to_json(window),
        "directory": str(making),
        "settings": to_json(settings),
        "limits": to_json(limits),
    }
    try:
        async with _child(request, limits) as answers:
            async for answer in answers:
                match answer:
                    case {"progress": sign} if progress is not None:
                        progress(_value(Progress, sign))
                    case {"error": error}:
                        raise _refusal(error)
                    case {"artefacts": artefacts}:
                        return _taken_over(_value(Artefacts, artefacts), making, directory)
        raise _nonsense()
    finally:
        shutil.rmtree(making, ignore_errors=True)


async def probe_apart(
    paths: Sequence[Path],
    *,
    limits: Limits = DEFAULT_LIMITS,
) -> list[Probe | MediaError]:
    """As `probe`, for each file in turn: what it holds, or why it is refused."""
    found: list[Probe | MediaError] = []
    while len(found) < len(paths):
        rest = paths[len(found) :]
        try:
            await _probe_with_one_child(rest, limits, found)
        except MediaError as error:
            # The file after the last answer did this; a new child goes on behind it.
            found.append(error)
    return found


async def _probe_with_one_child(paths: Sequence[Path], limits: Limits, found: list[Probe | MediaError]) -> None:
    request = {"task": "probe", "paths": [str(path) for path in paths], "limits": to_json(limits)}
    async with _child(request, limits) as answers:
        for _ in paths:
            match await anext(answers, None):
                case {"probe": probe}:
                    found.append(_value(Probe, probe))
                case {"error": error}:
                    found.append(_refusal(error))
                case _:
                    raise _nonsense()


def _making(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=".making-", dir=directory))


@asynccontextmanager
async def _child(request: dict[str, Any], limits: Limits) -> AsyncIterator[AsyncIterator[Any]]:
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
            raise _nonsense() from error
        yield answer
    returncode = await process.wait()
    if returncode:
        raise _death(returncode, said)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Refusal:
    reason: Reason
    message: str
    metadata: dict[str, str]


def _kill(process: asyncio.subprocess.Process) -> None:
    # `process.kill()` may reap the child in the place of asyncio, which then warns of a process it does not know.
    with suppress(ProcessLookupError):
        if process.returncode is None:
            handle = os.pidfd_open(process.pid)
            try:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)


def _refusal(value: Any) -> MediaError:
    refusal = _value(_Refusal, value)
    return MediaError(refusal.reason, refusal.message, refusal.metadata)


def _value(kind: type[T], value: Any) -> T:
    try:
        return from_json(kind, value)
    except ValueError as error:
        raise _nonsense() from error


def _nonsense() -> MediaError:
    return MediaError(Reason.CRASHED, "the process that reads footage did not answer as it should")


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


def _taken_over(artefacts: Artefacts, making: Path, directory: Path) -> Artefacts:
    def taken(derivative: Derivative) -> Derivative:
        # The name comes from a process that may have been taken over.
        made, path = making / Path(derivative.name).name, directory / Path(derivative.name).name
        if made.is_symlink() or not made.is_file():
            raise MediaError(Reason.CRASHED, "the process that cuts footage did not write what it says")
        made.replace(path)
        return replace(derivative, name=path.name, path=path)

    return Artefacts(
        native=tuple(taken(derivative) for derivative in artefacts.native),
        clip=taken(artefacts.clip),
        thumbnail=taken(artefacts.thumbnail),
        preview=taken(artefacts.preview),
        gaps=artefacts.gaps,
    )
