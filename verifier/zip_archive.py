"""A strict reader of zip files: what `docs/spec/bundle.md`, section 8, lets a reader accept, and nothing else.

Written for hostile input. Every byte of the archive belongs to exactly one entry, to the central directory or to the
end records; what two unzip programs could read in two ways is refused. Nothing is unpacked to disk, and an entry's
size is limited while it is read, whatever its headers say.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_CENTRAL_DIRECTORY_BYTES = 8 * 1024 * 1024
"""Read into memory. Room for the largest number of files a bundle may have, with long names."""

MAX_RATIO = 200
"""Unpacked bytes per packed byte. Chains are full of digests and reach about 5; a bomb needs about 1,000."""

RATIO_FREE_BYTES = 1024 * 1024
"""The ratio is not asked of entries up to this size: small texts may repeat themselves."""

BLOCK_BYTES = 256 * 1024
"""Bytes read from disk and given on at a time."""

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FLAG_ENCRYPTED, _FLAG_DESCRIPTOR, _FLAG_STRONG = 0x0001, 0x0008, 0x0040
_STORED, _DEFLATED = 0, 8
_ZIP64_EXTRA = 0x0001
_UNICODE_PATH_EXTRA = 0x7075
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
_DESCRIPTOR_SIZES = frozenset({12, 16, 20, 24})


class BadArchiveError(ValueError):
    """The file is not a zip file this reader accepts; the text says why."""


class DamagedEntryError(ValueError):
    """An entry's bytes are not what its headers promise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ZipEntry:
    """One file of an archive."""

    name: str
    method: int
    crc: int
    packed_size: int
    size: int
    data_offset: int

    @property
    def stored(self) -> bool:
        """Whether the entry's bytes stand in the archive as they are."""
        return self.method == _STORED


@dataclass(frozen=True, kw_only=True, slots=True)
class _Central:
    name: bytes
    flags: int
    method: int
    crc: int
    packed_size: int
    size: int
    offset: int


def read_entries(file: BinaryIO, *, max_entries: int) -> tuple[ZipEntry, ...]:
    """Return the files of an archive in the order of the central directory; raise `BadArchiveError`.

    Directory entries are left out. Names are unchecked; bytes above ASCII are read as Latin-1.
    """
    try:
        return _read_entries(file, max_entries)
    except struct.error as error:
        raise BadArchiveError("the zip file is cut off or its headers are wrong") from error


def read_blocks(file: BinaryIO, entry: ZipEntry) -> Iterator[bytes]:
    """Yield an entry's bytes; raise `DamagedEntryError` when they are not as its headers promise."""
    produced, crc = 0, 0
    for block in _unpacked(file, entry) if entry.method == _DEFLATED else _packed(file, entry):
        produced += len(block)
        if produced > entry.size:
            raise DamagedEntryError("it is longer than stated")
        crc = zlib.crc32(block, crc)
        yield block
    if produced != entry.size or crc != entry.crc:
        raise DamagedEntryError("its length or its CRC-32 is not as stated")


def _read_entries(file: BinaryIO, max_entries: int) -> tuple[ZipEntry, ...]:
    directory_offset, directory_size, count = _read_end(file)
    if count > max_entries or directory_size > MAX_CENTRAL_DIRECTORY_BYTES:
        raise BadArchiveError(f"the zip file has more than {max_entries} entries or too long a directory")
    directory = _read_at(file, directory_offset, directory_size)
    entries: list[_Central] = []
    at = 0
    while at < len(directory):
        if len(entries) == count:
            raise BadArchiveError("the zip file's directory has more entries than stated")
        entry, at = _read_central(directory, at)
        entries.append(entry)
    if len(entries) != count:
        raise BadArchiveError("the zip file's directory has fewer entries than stated")
    _refuse_directories(entries)
    offsets = _data_offsets(file, entries, directory_offset)
    return tuple(
        ZipEntry(
            name=entry.name.decode("latin-1"),
            method=entry.method,
            crc=entry.crc,
            packed_size=entry.packed_size,
            size=entry.size,
            data_offset=offset,
        )
        for entry, offset in zip(entries, offsets, strict=True)
        if not entry.name.endswith(b"/")
    )


def _read_end(file: BinaryIO) -> tuple[int, int, int]:
    """Return offset, size and entry count of the central directory."""
    end_offset = file.seek(0, 2) - _END.size
    if end_offset < 0:
        raise BadArchiveError("the file is too short to be a zip file")
    signature, disk, start_disk, here, count, size, offset, comment = _END.unpack(_read_at(file, end_offset, _END.size))
    if signature != b"PK\x05\x06" or comment:
        raise BadArchiveError(
            "the file does not end as a zip file does: it is incomplete, has a comment, or is something else"
        )
    directory_end = end_offset
    stated = disk, start_disk, here, count, size, offset
    if _FULL_16 in stated[:4] or _FULL_32 in stated[4:]:
        directory_end, *wide = _read_end64(file, end_offset)
        disk, start_disk, here, count, size, offset = wide
        masks = (_FULL_16,) * 4 + (_FULL_32,) * 2
        if any(narrow not in pair for narrow, *pair in zip(stated, masks, wide, strict=True)):
            raise BadArchiveError("the zip file's two end records disagree")
    elif _has_locator(file, end_offset):
        # Many programs believe it wherever it stands, and would find another directory by it.
        raise BadArchiveError("the zip file has a Zip64 locator that it does not need")
    if disk or start_disk or here != count:
        raise BadArchiveError("the zip file is one of several volumes")
    if offset + size != directory_end:
        raise BadArchiveError("the zip file's directory is not where its end record says")
    return offset, size, count


def _has_locator(file: BinaryIO, end_offset: int) -> bool:
    locator_offset = end_offset - _END64_LOCATOR.size
    return locator_offset >= 0 and _read_at(file, locator_offset, 4) == b"PK\x06\x07"


def _read_end64(file: BinaryIO, end_offset: int) -> tuple[int, int, int, int, int, int, int]:
    locator_offset = end_offset - _END64_LOCATOR.size
    locator = _read_at(file, locator_offset, _END64_LOCATOR.size)
    signature, locator_disk, offset64, disks = _END64_LOCATOR.unpack(locator)
    if signature != b"PK\x06\x07" or locator_disk or disks > 1 or offset64 != locator_offset - _END64.size:
        raise BadArchiveError("the zip file's Zip64 locator is wrong")
    signature, record_size, _, _, disk, start_disk, here, count, size, offset = _END64.unpack(
        _read_at(file, offset64, _END64.size)
    )
    if signature != b"PK\x06\x06" or record_size != _END64.size - 12:
        raise BadArchiveError("the zip file's Zip64 end record is wrong")
    return offset64, disk, start_disk, here, count, size, offset


def _read_central(directory: bytes, at: int) -> tuple[_Central, int]:
    fields = _CENTRAL.unpack_from(directory, at)
    signature, _, _, flags, method, _, _, crc, packed, size = fields[:10]
    name_length, extra_length, comment_length, disk, _, attributes, offset = fields[10:]
    name_at = at + _CENTRAL.size
    extra_at = name_at + name_length
    end = extra_at + extra_length + comment_length
    if signature != b"PK\x01\x02" or end > len(directory):
        raise BadArchiveError("the zip file's directory is malformed")
    name = directory[name_at:extra_at]
    size, packed, offset = _widen(directory[extra_at : extra_at + extra_length], size, packed, offset)
    if disk:
        raise BadArchiveError("the zip file is one of several volumes")
    if comment_length:
        raise BadArchiveError("the zip file has an entry with a comment")
    _refuse_other_name(directory[extra_at : extra_at + extra_length])
    # Whatever system it says it was made on: programs differ in whose file types they heed.
    _refuse_specials(name, flags, method, attributes >> 16)
    _refuse_bomb(name, method, packed, size)
    entry = _Central(name=name, flags=flags, method=method, crc=crc, packed_size=packed, size=size, offset=offset)
    return entry, end


def _widen(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Replace the values that do not fit 32 bits by those of the Zip64 extra field, in its fixed order."""
    missing = [value == _FULL_32 for value in (size, packed, offset)]
    if not any(missing):
        return size, packed, offset
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64_EXTRA:
            wide = iter(struct.unpack_from(f"<{sum(missing)}Q", extra[at + 4 : at + 4 + length]))
            size, packed, offset = (
                next(wide) if absent else value for absent, value in zip(missing, (size, packed, offset), strict=True)
            )
            return size, packed, offset
        at += 4 + length
    raise BadArchiveError("the zip file states a size that does not fit and gives no Zip64 size")


def _refuse_other_name(extra: bytes) -> None:
    """Refuse a second name for an entry, which some programs would unpack it under."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _UNICODE_PATH_EXTRA:
            raise BadArchiveError("the zip file has an entry with two names")
        at += 4 + length


def _refuse_directories(entries: list[_Central]) -> None:
    """Refuse directories in which no file lies: nothing else would look at their names."""
    names = {entry.name for entry in entries if not entry.name.endswith(b"/")}
    parents = {name[: at + 1] for name in names for at, byte in enumerate(name) if byte == ord("/")}
    for entry in entries:
        if entry.name.endswith(b"/") and entry.name not in parents:
            raise BadArchiveError(f"the zip file has the directory {entry.name.decode('ascii', 'replace')!r:.100}")


def _refuse_specials(name: bytes, flags: int, method: int, mode: int) -> None:
    shown = name.decode("ascii", "replace")
    if flags & (_FLAG_ENCRYPTED | _FLAG_STRONG):
        raise BadArchiveError(f"the zip entry {shown!r} is encrypted")
    if method not in {_STORED, _DEFLATED}:
        raise BadArchiveError(f"the zip entry {shown!r} is compressed in an unknown way ({method})")
    if stat.S_IFMT(mode) not in {0, stat.S_IFDIR if name.endswith(b"/") else stat.S_IFREG}:
        raise BadArchiveError(f"the zip entry {shown!r} is a link or a special file")


def _refuse_bomb(name: bytes, method: int, packed: int, size: int) -> None:
    shown = name.decode("ascii", "replace")
    if method == _STORED and packed != size:
        raise BadArchiveError(f"the zip entry {shown!r} is stored, but its two sizes differ")
    if size > RATIO_FREE_BYTES and size > packed * MAX_RATIO:
        raise BadArchiveError(f"the zip entry {shown!r} would grow more than {MAX_RATIO} times when unpacked")
    if name.endswith(b"/") and (size or packed):
        raise BadArchiveError(f"the zip entry {shown!r} is a directory with contents")


def _data_offsets(file: BinaryIO, entries: list[_Central], end: int) -> list[int]:
    """Return where each entry's data begins, after proving that the entries fill the file up to `end` without a gap."""
    offsets: dict[int, int] = {}
    due, slack = 0, frozenset({0})
    for entry in sorted(entries, key=lambda one: one.offset):
        if entry.offset - due not in slack or entry.offset in offsets:
            raise BadArchiveError("the zip file has entries that overlap or bytes between entries")
        data_offset = entry.offset + _local_header_size(file, entry)
        offsets[entry.offset] = data_offset
        due = data_offset + entry.packed_size
        slack = _DESCRIPTOR_SIZES if entry.flags & _FLAG_DESCRIPTOR else frozenset({0})
    if end - due not in slack:
        raise BadArchiveError("the zip file has bytes between its last entry and its directory")
    return [offsets[entry.offset] for entry in entries]


def _local_header_size(file: BinaryIO, entry: _Central) -> int:
    """Return the size of an entry's local header after proving that it agrees with the central directory."""
    header = _LOCAL.unpack(_read_at(file, entry.offset, _LOCAL.size))
    signature, _, flags, method, _, _, crc, packed, size, name_length, extra_length = header
    tail = file.read(name_length + extra_length)
    if len(tail) < name_length + extra_length:
        raise BadArchiveError("the zip file is cut off or its headers are wrong")
    name, extra = tail[:name_length], tail[name_length:]
    _refuse_other_name(extra)
    agrees = (signature, name, method, flags) == (b"PK\x03\x04", entry.name, entry.method, entry.flags)
    if agrees and not flags & _FLAG_DESCRIPTOR:
        size, packed, _ = _widen(extra, size, packed, 0)
        agrees = (crc, packed, size) == (entry.crc, entry.packed_size, entry.size)
    elif agrees:
        # They follow the data. What stands here all the same must not be something else.
        agrees = crc in {0, entry.crc} and all(
            stated in {0, _FULL_32, real} for stated, real in ((packed, entry.packed_size), (size, entry.size))
        )
    if not agrees:
        shown = entry.name.decode("ascii", "replace")
        raise BadArchiveError(f"the zip entry {shown!r} is described in two different ways")
    return _LOCAL.size + len(tail)


def _read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    if offset < 0:
        raise BadArchiveError("the zip file is cut off or its headers are wrong")
    file.seek(offset)
    return file.read(length)


def _packed(file: BinaryIO, entry: ZipEntry) -> Iterator[bytes]:
    at, end = entry.data_offset, entry.data_offset + entry.packed_size
    while at < end:
        # Several entries may be read in turns, so the place is set anew each time.
        block = _read_at(file, at, min(BLOCK_BYTES, end - at))
        if not block:
            raise DamagedEntryError("the archive ends before it does")
        yield block
        at += len(block)


def _unpacked(file: BinaryIO, entry: ZipEntry) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for packed in _packed(file, entry):
            waiting = packed
            while waiting and not unpacker.eof:
                yield unpacker.decompress(waiting, BLOCK_BYTES)
                waiting = unpacker.unconsumed_tail
            if unpacker.eof and (waiting or unpacker.unused_data):
                break
        yield unpacker.flush()
    except zlib.error as error:
        raise DamagedEntryError(f"it cannot be unpacked: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise DamagedEntryError("its packed bytes do not end where stated")
