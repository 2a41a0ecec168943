"""A bundle on disk or in memory: its files and what bundle.json says (`docs/spec/bundle.md`)."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from verifier.bag import Bag
from verifier.container import Container, DamagedFileError, UnusableBundle, open_container
from verifier.event import MAX_LINE_BYTES
from verifier.line_source import FileRange

__all__ = ["Bundle", "UnusableBundle", "open_bundle"]

BUNDLE_JSON = "data/bundle.json"
EVENTS = "data/events.jsonl"
DISCLOSURES = "data/disclosures.jsonl"

MAX_FILE_BYTES = 16 * 1024 * 1024
"""The largest file that is read into memory as a whole: a certificate revocation list."""


def open_bundle(source: Path | BinaryIO) -> "Bundle":
    """Open a bundle: a directory, a zip file, or a seekable open zip file, which stays open.

    Raises `UnusableBundle`.
    """
    return Bundle(open_container(source))


class Bundle:
    """The files of one bundle. Use it as a context manager. Opening it has verified nothing yet."""

    def __init__(self, container: Container) -> None:
        self._container = container
        try:
            self.bag = Bag(container)
        except BaseException:
            container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened."""
        self._container.close()

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of all files in bytes, by path."""
        return self._container.sizes

    def read_file(self, name: str, *, limit: int = MAX_FILE_BYTES) -> bytes:
        """Return a file's bytes by its path, such as "data/README.txt".

        Raises `UnusableBundle` when there is no such file, it is longer than `limit` bytes, or it is damaged.
        """
        size = self.sizes.get(name)
        if size is None or size > limit:
            raise UnusableBundle(f"The bundle has no {name}, or it is longer than {limit} bytes.")
        return b"".join(self.read_blocks(name))

    def read_blocks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file of any length; raises `UnusableBundle` as `read_file` does."""
        if name not in self.sizes:
            raise UnusableBundle(f"The bundle has no {name}.")
        try:
            yield from self._container.blocks(name)
        except DamagedFileError as error:
            raise UnusableBundle(f"The file {name} is damaged: {error}.") from error

    def file_range(self, name: str) -> FileRange | None:
        """Return where a file's bytes stand on disk, if they stand there as they are."""
        return self._container.file_range(name) if name in self.sizes else None

    def iter_lines(self, name: str, *, limit: int = MAX_LINE_BYTES, all_ended: bool = False) -> Iterator[bytes]:
        """Yield a file's lines without their ends; raises `UnusableBundle` at a line longer than `limit` bytes.

        With `all_ended` also at a last line that has no end.
        """
        kept = b""
        for block in self.read_blocks(name):
            lines = (kept + block).split(b"\n")
            kept = lines.pop()
            yield from lines
            if len(kept) > limit:
                raise UnusableBundle(f"The file {name} has a line longer than {limit} bytes.")
        if kept and all_ended:
            raise UnusableBundle(f"The last line of the file {name} does not end with a line feed.")
        if kept:
            yield kept

    def iter_events(self, start: int = 1) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield the events from line `start` on, each as parsed JSON and as the line that carries it.

        This is for showing events; it checks nothing. Raises `UnusableBundle` at a line that is not a JSON object.
        """
        for number, line in enumerate(self.iter_lines(EVENTS), start=1):
            if number < start:
                continue
            yield _parsed_event(line, number), line


def read_limited(bundle: Bundle, name: str, limit: int) -> bytes | None:
    """Return a file's bytes, or None where it is absent, damaged or longer than `limit`: then a finding says so."""
    try:
        return bundle.read_file(name, limit=limit)
    except UnusableBundle:
        return None


def _parsed_event(line: bytes, number: int) -> dict[str, Any]:
    try:
        event = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnusableBundle(f"Line {number} of {EVENTS} is not JSON.") from error
    if not isinstance(event, dict):
        raise UnusableBundle(f"Line {number} of {EVENTS} is not a JSON object.")
    return event
