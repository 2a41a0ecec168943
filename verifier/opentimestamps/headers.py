"""Bitcoin block headers that the user trusts: the header file, and the proof of work every header must carry.

The file has one block a line, `HEIGHT HEX`: the decimal height and the 160 hexadecimal digits of the raw header, as
`bitcoin-cli getblockheader HASH false` prints it. `#` starts a comment. That a header is at its height is the user's
word; its work is checked, and that it follows the header of the height before where the file has that one too.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

Network = Literal["bitcoin", "regtest"]
"""Whose headers: those of Bitcoin, or of a test network, where anybody can make blocks at will."""

MAX_LINE_BYTES = 4096
MAX_HEADERS = 4_000_000  # several times what Bitcoin will have in this half of the century; each costs 300 bytes
HEADER_BYTES = 80

_LONGEST_HEIGHT = 9  # digits
_EASIEST_TARGET = 0xFFFF << 208
_EASIEST_TEST_TARGET = 0x7FFFFF << 232
# How many times harder than the easiest a block has to be from a height on. The network was at least that hard at
# every block since then, most of the time by far, so an easier header that claims such a height is not the network's.
_LEAST_DIFFICULTY = ((500_000, 10**12), (400_000, 10**11), (300_000, 10**9), (200_000, 10**6), (0, 1))
_MANTISSA, _SIGN = 0x7FFFFF, 0x800000
_MANTISSA_BYTES, _LARGEST_EXPONENT = 3, 32


class UnusableHeadersError(ValueError):
    """The header file cannot be used; the message names the line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BitcoinTrust:
    """The headers that the user trusts, by height, and the network they are of."""

    headers: Mapping[int, bytes]
    network: Network = "bitcoin"


def load_headers(lines: Iterable[bytes], *, network: Network = "bitcoin") -> dict[int, bytes]:
    """Reads the lines of a header file into heights and raw headers.

    Raises UnusableHeadersError, also for a header without its work or that does not follow the one before it.
    """
    headers: dict[int, bytes] = {}
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LINE_BYTES or len(headers) > MAX_HEADERS:
            raise UnusableHeadersError(f"line {number} is too long, or the file has too many lines")
        fields = line.split(b"#", 1)[0].split()
        if not fields:
            continue
        height, header = _parse_line(fields, number)
        if headers.setdefault(height, header) != header:
            raise UnusableHeadersError(f"line {number}: block {height} is listed twice with different headers")
        if problem := work_problem(height, header, network):
            raise UnusableHeadersError(f"line {number}: {problem}")
    for height, header in headers.items():
        previous = headers.get(height - 1)
        if previous is not None and header[4:36] != _double_sha256(previous):
            raise UnusableHeadersError(f"block {height} does not follow the listed block {height - 1}")
    return headers


def read_headers(path: Path, *, network: Network = "bitcoin") -> dict[int, bytes]:
    """Reads the header file at `path`. Raises UnusableHeadersError, or OSError when it cannot be read."""
    with path.open("rb") as file:
        return load_headers(header_lines(file), network=network)


def header_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of an open header file, none longer than is needed to see that it is too long."""
    # Not `for line in file`: one endless line must not fill the memory.
    return iter(lambda: file.readline(MAX_LINE_BYTES + 1), b"")


def merkle_root(header: bytes) -> bytes:
    """The Merkle root a raw header commits to, in the byte order of proofs."""
    return header[36:68]


def block_time(header: bytes) -> datetime:
    """The time the miner wrote into a raw header; it can be off by about two hours."""
    return datetime.fromtimestamp(int.from_bytes(header[68:72], "little"), UTC)


def block_hash(header: bytes) -> str:
    """The hash of a raw header, as nodes and explorers show it."""
    return _double_sha256(header)[::-1].hex()


def work_problem(height: int, header: bytes, network: Network = "bitcoin") -> str | None:
    """Why the header does not carry the work it declares, or None."""
    compact = int.from_bytes(header[72:76], "little")
    exponent, mantissa = compact >> 24, compact & _MANTISSA
    if compact & _SIGN or exponent > _LARGEST_EXPONENT:
        return f"the header of block {height} declares an impossible difficulty"
    target = mantissa << (8 * exponent) >> (8 * _MANTISSA_BYTES)
    if not 0 < target <= (_EASIEST_TARGET if network == "bitcoin" else _EASIEST_TEST_TARGET):
        return f"the header of block {height} declares an impossible difficulty"
    least = next(difficulty for begin, difficulty in _LEAST_DIFFICULTY if height >= begin)
    if network == "bitcoin" and target > _EASIEST_TARGET // least:
        return f"the header of block {height} declares a difficulty far below what the network had by then"
    if int.from_bytes(_double_sha256(header), "little") > target:
        return f"the header of block {height} lacks the proof of work it declares"
    return None


def _double_sha256(header: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(header).digest()).digest()


def _parse_line(fields: list[bytes], number: int) -> tuple[int, bytes]:
    complaint = f"line {number} is not a height and {2 * HEADER_BYTES} hexadecimal digits"
    if len(fields) != 2 or not fields[0].isdigit() or len(fields[0]) > _LONGEST_HEIGHT:  # noqa: PLR2004 - a pair
        raise UnusableHeadersError(complaint)
    try:
        header = bytes.fromhex(fields[1].decode("ascii"))
    except ValueError:
        raise UnusableHeadersError(complaint) from None
    if len(header) != HEADER_BYTES:
        raise UnusableHeadersError(f"line {number}: a block header has {HEADER_BYTES} bytes, this has {len(header)}")
    return int(fields[0]), header
