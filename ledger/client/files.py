"""Files that arrive piece by piece."""

import os
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path


async def write_atomically(chunks: AsyncIterator[bytes], path: Path) -> int:
    """Write beside `path`, then rename: a reader never sees half a bundle, and a failure leaves the old one."""
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=f".{uuid.uuid4().hex[:8]}")
    size = 0
    try:
        with os.fdopen(descriptor, "wb") as file:
            async for chunk in chunks:
                size += file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)  # noqa: PTH105 - a rename takes no time worth a thread
    except BaseException:
        os.unlink(partial)  # noqa: PTH108 - as above
        raise
    return size
