"""Where the page's bundles come from: a folder, a gateway, or the reader's own upload."""

import hashlib
import http.client
import io
import os
import stat
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO, cast
from urllib.parse import SplitResult, quote, urlsplit

from verifier.web.links import is_safe_id

COPY_BYTES = 1024 * 1024
# A gateway that says nothing for this long is treated as down, so a reader gets an answer.
GATEWAY_SILENCE_SECONDS = 15.0
# The longest a bundle may take to arrive in all: a gateway that drips bytes must not hold a thread for ever.
GATEWAY_TOTAL_SECONDS = 120.0
# How long a fetched bundle serves further pages of the same reader. Also how long a revocation may take to show.
SHELF_SECONDS = 30.0
# Bundles kept on disk between two pages, in all: a flood of links must not fill the disk.
SHELF_BYTES = 1024 * 1024 * 1024
# Enough that two different links seldom wait for each other.
FETCH_LOCKS = 64
# What an upload may unpack to: an hour of a busy session many times over, and hashed in seconds. A well-packed 64 MiB
# could otherwise keep a core busy for minutes.
MAX_UPLOAD_UNPACKED_BYTES = 1024 * 1024 * 1024
# Each anchor is two files and costs several signature checks; a session has a handful.
MAX_UPLOAD_FILES = 1_000
# More local bundles than this make no readable list.
MAX_LISTED_BUNDLES = 1_000
# Separates organisation and chain in a local bundle's name; safe ids cannot hold it.
NAME_SEPARATOR = ":"


class UnknownBundleError(LookupError):
    """There is no such bundle."""


class WithdrawnBundleError(LookupError):
    """There was such a bundle, but its link expired or was revoked."""


class TooMuchWorkError(Exception):
    """An upload that is small to send and long to verify."""


class SourceUnavailableError(OSError):
    """The bundle cannot be had at present; the text says why, for the operator's log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleFile:
    """An open, seekable bundle: `file` at its start, its SHA-256 in hex, its size in bytes, a name for a download.

    `require_unchanged` raises `SourceUnavailableError` when the bytes may no longer be those of `sha256`.
    """

    file: BinaryIO
    sha256: str
    size: int
    name: str
    require_unchanged: Callable[[], None]
    is_upload: bool = False

    def require_little_work(self, sizes: dict[str, int]) -> None:
        """Raise `TooMuchWorkError` if an upload's unpacked `sizes` are over what a stranger may ask for."""
        if self.is_upload and (len(sizes) > MAX_UPLOAD_FILES or sum(sizes.values()) > MAX_UPLOAD_UNPACKED_BYTES):
            raise TooMuchWorkError


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalBundles:
    """Bundles in a folder: `CHAIN.zip`, or `ORGANISATION/CHAIN.zip`."""

    folder: Path

    def names(self) -> list[str]:
        """Names of the bundles, `CHAIN` or `ORGANISATION:CHAIN`, sorted; at most `MAX_LISTED_BUNDLES`."""
        found = []
        for path in (*self.folder.glob("*.zip"), *self.folder.glob("*/*.zip")):
            parts = [*path.relative_to(self.folder).parts[:-1], path.stem]
            if all(is_safe_id(part) for part in parts) and path.is_file():
                found.append(NAME_SEPARATOR.join(parts))
            if len(found) == MAX_LISTED_BUNDLES:
                break
        return sorted(found)

    @contextmanager
    def open_named(self, name: str) -> Iterator[BundleFile]:
        """Open one of `names()`. Raises `UnknownBundleError`."""
        parts = name.split(NAME_SEPARATOR)
        if len(parts) not in {1, 2}:
            raise UnknownBundleError(name)
        with self._open(*parts) as bundle:
            yield bundle

    @contextmanager
    def open_chain(self, organisation_id: str, chain_id: str) -> Iterator[BundleFile]:
        """Open the bundle of a chain, from its organisation's folder or the top. Raises `UnknownBundleError`."""
        in_folder = self.folder / organisation_id / f"{chain_id}.zip"
        parts = (organisation_id, chain_id) if is_safe_id(organisation_id) and in_folder.is_file() else (chain_id,)
        with self._open(*parts) as bundle:
            yield bundle

    @contextmanager
    def _open(self, *parts: str) -> Iterator[BundleFile]:
        # Names are checked before they meet the file system; the resolved path again, for links that lead elsewhere.
        if not all(is_safe_id(part) for part in parts):
            raise UnknownBundleError(*parts)
        path = self.folder.joinpath(*parts[:-1], f"{parts[-1]}.zip").resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise UnknownBundleError(*parts)
        try:
            # O_NONBLOCK: a FIFO in the folder must not hang the page.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            raise UnknownBundleError(*parts) from None
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            os.close(descriptor)
            raise UnknownBundleError(*parts)
        with os.fdopen(descriptor, "rb") as file:

            def require_unchanged() -> None:
                if _identity(os.fstat(descriptor)) != _identity(before):
                    raise SourceUnavailableError("the bundle changed while it was being checked")

            yield _hashed(file, name=f"{parts[-1]}.zip", require_unchanged=require_unchanged)


@contextmanager
def open_upload(stream: IO[bytes]) -> Iterator[BundleFile]:
    """The reader's own file, from the temporary file the upload was spooled to; nothing is stored."""
    yield replace(
        _hashed(cast("BinaryIO", stream), name="BUNDLE.zip", require_unchanged=_never_changes), is_upload=True
    )


class GatewayBundles:
    """Bundles handed out by a gateway for a verify link, kept for a short while in a private folder. Thread-safe."""

    def __init__(self, address: str, *, max_bytes: int, shelf_bytes: int = SHELF_BYTES) -> None:
        self._address = urlsplit(address)
        self._max_bytes = max_bytes
        self._shelf_bytes = max(shelf_bytes, max_bytes)
        self._folder = tempfile.TemporaryDirectory(prefix="indelible-verify-")
        self._shelf: OrderedDict[str, _Shelved] = OrderedDict()
        self._lock = threading.Lock()
        self._fetching = tuple(threading.Lock() for _ in range(FETCH_LOCKS))

    @contextmanager
    def open_link(self, token: str, *, name: str) -> Iterator[BundleFile]:
        """Fetch the bundle of a link; `token` must be of the link alphabet.

        Raises `UnknownBundleError`, `WithdrawnBundleError` or `SourceUnavailableError`.
        """
        shelved, file = self._take(token) or self._take_or_fetch(token)
        with file:
            yield BundleFile(
                file=file,
                sha256=shelved.sha256,
                size=shelved.size,
                name=name,
                require_unchanged=_never_changes,
            )

    def _take_or_fetch(self, token: str) -> "tuple[_Shelved, BinaryIO]":
        # Readers who open one link together wait for one transfer, instead of each asking for his own.
        with self._fetching[hash(token) % len(self._fetching)]:
            return self._take(token) or self._put(token, *self._fetch(token))

    def _take(self, token: str) -> "tuple[_Shelved, BinaryIO] | None":
        with self._lock:
            while self._shelf:
                oldest = next(iter(self._shelf))
                if self._shelf[oldest].fetched_at + SHELF_SECONDS > time.monotonic():
                    break
                self._drop(oldest)
            shelved = self._shelf.get(token)
            return (shelved, shelved.path.open("rb")) if shelved else None

    def _put(self, token: str, path: Path, sha256: str, size: int) -> "tuple[_Shelved, BinaryIO]":
        shelved = _Shelved(path=path, sha256=sha256, size=size, fetched_at=time.monotonic())
        with self._lock:
            if token in self._shelf:
                self._drop(token)
            self._shelf[token] = shelved
            while sum(entry.size for entry in self._shelf.values()) > self._shelf_bytes:
                self._drop(next(iter(self._shelf)))
            return shelved, path.open("rb")

    def _drop(self, token: str) -> None:
        # Readers that have the file open keep it: the name goes, the bytes stay until they close.
        self._shelf.pop(token).path.unlink(missing_ok=True)

    def _fetch(self, token: str) -> tuple[Path, str, int]:
        deadline = time.monotonic() + GATEWAY_TOTAL_SECONDS
        connection = _connect(self._address)
        try:
            connection.request(
                "GET",
                f"{self._address.path.rstrip('/')}/verify-links/{quote(token, safe='')}/bundle",
                headers={"Accept": "application/zip", "User-Agent": "indelible-verify"},
            )
            response = connection.getresponse()
            _require_bundle(response)
            return self._save(response, deadline)
        except SourceUnavailableError:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise SourceUnavailableError(f"the gateway did not answer properly: {error!r}") from error
        finally:
            connection.close()

    def _save(self, response: http.client.HTTPResponse, deadline: float) -> tuple[Path, str, int]:
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=self._folder.name, suffix=".zip", delete=False) as file:
            path = Path(file.name)
            try:
                for block in _blocks(response, max_bytes=self._max_bytes, deadline=deadline):
                    digest.update(block)
                    file.write(block)
            except BaseException:
                path.unlink()
                raise
            return path, digest.hexdigest(), file.tell()


def _blocks(response: http.client.HTTPResponse, *, max_bytes: int, deadline: float) -> Iterator[bytes]:
    size = 0
    while block := response.read1(COPY_BYTES):
        size += len(block)
        if size > max_bytes:
            raise SourceUnavailableError(f"the gateway's bundle exceeds {max_bytes} bytes")
        if time.monotonic() > deadline:
            raise SourceUnavailableError(f"the bundle took longer than {GATEWAY_TOTAL_SECONDS} s")
        yield block
    if response.length:
        raise SourceUnavailableError("the gateway ended before the announced length")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shelved:
    path: Path
    sha256: str
    size: int
    fetched_at: float


def _connect(address: SplitResult) -> http.client.HTTPConnection:
    # http.client follows no redirects and heeds no proxy variables: the page talks to its gateway and nothing else.
    connect = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    return connect(cast("str", address.hostname), address.port, timeout=GATEWAY_SILENCE_SECONDS)


def _require_bundle(response: http.client.HTTPResponse) -> None:
    if response.status == http.HTTPStatus.NOT_FOUND:
        raise UnknownBundleError("the gateway knows no such link")
    if response.status == http.HTTPStatus.GONE:
        raise WithdrawnBundleError("the gateway says the link has ended")
    if response.status != http.HTTPStatus.OK:
        raise SourceUnavailableError(f"the gateway answered {response.status}")
    if response.headers.get_content_type() != "application/zip":
        raise SourceUnavailableError(f"the gateway sent {response.headers.get_content_type()}, not a bundle")


def _hashed(file: BinaryIO, *, name: str, require_unchanged: Callable[[], None]) -> BundleFile:
    file.seek(0)
    sha256 = hashlib.sha256()
    while block := file.read(COPY_BYTES):
        sha256.update(block)
    size = file.tell()
    file.seek(0, io.SEEK_SET)
    return BundleFile(
        file=file,
        sha256=sha256.hexdigest(),
        size=size,
        name=name,
        require_unchanged=require_unchanged,
    )


def _never_changes() -> None:
    """The file is the page's own: nobody else can write to it."""


def _identity(status: os.stat_result) -> tuple[int, ...]:
    # The change time is the kernel's own: unlike the modification time it cannot be set back by an ordinary user.
    return status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns
