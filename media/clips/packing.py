"""Packing files into the ledger's bundle of a chain, in the one way that bundle.md, section 8, allows a writer.

Nothing of what the ledger wrote is changed but the lists of files. Memory does not grow with what is added.
"""

import hashlib
import json
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from media.errors import MediaError, Reason
from media.storage.store import EvidenceStore
from media.storage.values import StoredObject

# The verifier's own limit for a file that is read into memory.
MAX_TAG_BYTES = 8 * 1024 * 1024

_COPY_BYTES = 1024 * 1024
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = (stat.S_IFREG | 0o644) << 16
_MADE_BY_UNIX = 3
_TAGS = ("bag-info.txt", "bagit.txt", "manifest-sha256.txt")
_TAG_MANIFEST = "tagmanifest-sha256.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleFile:
    """A file of the new bundle: its digest, its size, and where its bytes come from."""

    sha256: str
    size: int
    chunks: Iterator[bytes]


# What is to be added, by its path in the bundle, given what bundle.json says.
Added = Callable[[Mapping[str, Any]], Mapping[str, BundleFile]]


def stored_file(store: EvidenceStore, stored: StoredObject) -> BundleFile:
    """A file whose bytes come from the store, and are compared with their digest on the way."""
    return BundleFile(sha256=stored.sha256, size=stored.size, chunks=store.stream(stored))


def written_file(data: bytes) -> BundleFile:
    """A file that was just written."""
    return BundleFile(sha256=hashlib.sha256(data).hexdigest(), size=len(data), chunks=iter((data,)))


def pack(plain: Path, target: Path, add: Added) -> None:
    """Write the bundle with what is added to `target`, and remove `plain`, the ledger's own.

    Raises MediaError: LEDGER_UNAVAILABLE for a bundle that the ledger would not write, and what `chunks` raise.
    """
    with zipfile.ZipFile(plain) as bundle:
        top = bundle.infolist()[0].filename.partition("/")[0]
        digests = _manifest_of(bundle, top)
        about = json.loads(_read(bundle, f"{top}/data/bundle.json"))
        added = add(about)
        digests |= {path: file.sha256 for path, file in added.items()}
        tags = _tag_files(bundle, top, digests, added)
        kept = {info.filename: info for info in bundle.infolist()}
        names = sorted({*kept, *(f"{top}/{path}" for path in added)})
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for name in names:
                path = name.removeprefix(f"{top}/")
                file = added.get(path)
                if path in tags:
                    _write(archive, name, len(tags[path]), iter((tags[path],)))
                elif file is not None:
                    _write(archive, name, file.size, file.chunks)
                else:
                    with bundle.open(kept[name]) as source:
                        _write(archive, name, kept[name].file_size, iter(lambda: source.read(_COPY_BYTES), b""))
    plain.unlink()


def _tag_files(
    bundle: zipfile.ZipFile, top: str, digests: Mapping[str, str], added: Mapping[str, BundleFile]
) -> dict[str, bytes]:
    """The lists of files, with what is added (bundle.md, section 2)."""
    octets = sum(file.size for file in added.values())
    info = _read(bundle, f"{top}/bag-info.txt").decode()
    head, _, oxum = info.rpartition("Payload-Oxum: ")
    before, _, count = oxum.strip().partition(".")
    tags = {
        "bag-info.txt": f"{head}Payload-Oxum: {int(before) + octets}.{int(count) + len(added)}\n".encode(),
        "bagit.txt": _read(bundle, f"{top}/bagit.txt"),
        "manifest-sha256.txt": "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items())).encode(),
    }
    tags[_TAG_MANIFEST] = "".join(f"{hashlib.sha256(tags[name]).hexdigest()}  {name}\n" for name in _TAGS).encode()
    return tags


def _manifest_of(bundle: zipfile.ZipFile, top: str) -> dict[str, str]:
    lines = _read(bundle, f"{top}/manifest-sha256.txt").decode().splitlines()
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def _read(bundle: zipfile.ZipFile, name: str) -> bytes:
    """A tag file of the ledger's bundle. Raises MediaError (LEDGER_UNAVAILABLE) for one that it would not write."""
    if bundle.getinfo(name).file_size > MAX_TAG_BYTES:
        raise MediaError(Reason.LEDGER_UNAVAILABLE, f"the ledger's bundle has an impossible {name}")
    return bundle.read(name)


def _write(archive: zipfile.ZipFile, name: str, size: int, chunks: Iterator[bytes]) -> None:
    info = zipfile.ZipInfo(name, _ZIP_TIME)
    info.create_system = _MADE_BY_UNIX
    info.external_attr = _REGULAR_FILE
    # Known in advance, so that the local header is right at once and says Zip64 only when it must.
    info.file_size = size
    with archive.open(info, "w") as member:
        _copy(chunks, member)


def _copy(chunks: Iterator[bytes], target: IO[bytes]) -> None:
    for chunk in chunks:
        target.write(chunk)
