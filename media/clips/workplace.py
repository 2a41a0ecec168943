"""Directories for the files of one job. Those of a process that was killed are found by their lock, and removed."""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_PREFIX = "indelible-clip-"
_LOCK = ".lock"


@asynccontextmanager
async def own_directory(parent: Path | None) -> AsyncIterator[Path]:
    """A new directory under `parent` (None: where temporary files go), removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    # The lock ends with the process, however that ends.
    lock = os.open(directory / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield directory
    finally:
        # Many gigabytes may take a while to remove.
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        os.close(lock)


def remove_left_over(parent: Path | None) -> int:
    """Remove the directories of processes that are gone; how many there were."""
    removed = 0
    for directory in Path(parent or tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            lock = os.open(directory / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue  # being made or removed at this moment, or somebody else's
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            shutil.rmtree(directory, ignore_errors=True)
            removed += 1
        finally:
            os.close(lock)
    return removed
