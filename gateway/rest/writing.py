"""From what a handler gives back to an answer."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from flask import Response

from gateway.values import Bytes

JSON = "application/json"
ZIP = "application/zip"
# A reader that takes longer than this for one file is cut off, however steadily it drips.
MAX_DOWNLOAD_SECONDS = 1_800.0


def json_bytes(value: object) -> bytes:
    """A value of `gateway.values` as JSON: moments in UTC with a Z, JSON objects exactly as they were hashed."""
    return orjson.dumps(value, default=_embed, option=orjson.OPT_UTC_Z)


def file_response(file: Bytes, done: Callable[[], None]) -> Response:
    """A file that is sent as it arrives; `done` is called once, however that ends."""
    disposition = f'attachment; filename="{file.name}"'
    return Response(_Pieces(file.pieces, done), mimetype=ZIP, headers={"Content-Disposition": disposition})


class _Pieces:
    """What the server takes piece by piece, and closes in the end.

    An error, or the end of the time, ends the connection improperly: nobody takes half a file for a whole one.
    """

    def __init__(self, pieces: Iterator[bytes], done: Callable[[], None]) -> None:
        self._pieces = pieces
        self._done: Callable[[], None] | None = done
        self._deadline = time.monotonic() + MAX_DOWNLOAD_SECONDS

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if time.monotonic() > self._deadline:
            raise TimeoutError("the reader took too long for one file")
        try:
            return next(self._pieces)
        except StopIteration:
            self.close()
            raise

    def close(self) -> None:
        """Called by the server, also when nothing was taken; the end of the file comes first."""
        if self._done is not None:
            done, self._done = self._done, None
            done()
            if hasattr(self._pieces, "close"):
                self._pieces.close()


def _embed(value: Any) -> Any:
    if isinstance(value, bytes):
        return orjson.Fragment(value)
    raise TypeError(f"{type(value).__name__} is nothing that is given out")
