"""From what a handler gives back to an answer."""

from collections.abc import Iterator
from typing import Any

import orjson
from flask import Response

from gateway.values import Bytes

JSON = "application/json"
ZIP = "application/zip"


def json_bytes(value: object) -> bytes:
    """A value of `gateway.values` as JSON: moments in UTC with a Z, JSON objects exactly as they were hashed."""
    return orjson.dumps(value, default=_embed, option=orjson.OPT_UTC_Z)


def file_response(file: Bytes) -> Response:
    """A file that is sent as it arrives."""
    disposition = f'attachment; filename="{file.name}"'
    return Response(_Pieces(file.pieces), mimetype=ZIP, headers={"Content-Disposition": disposition})


class _Pieces:
    """An iterator that the server closes however the sending ends; waitress asks for `close`."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        """End the call behind it."""
        if hasattr(self._pieces, "close"):
            self._pieces.close()


def _embed(value: Any) -> Any:
    if isinstance(value, bytes):
        return orjson.Fragment(value)
    raise TypeError(f"{type(value).__name__} is nothing that is given out")
