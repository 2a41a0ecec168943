"""Bitcoin block headers that the user trusts: the header file, and the proof of work every header must carry.

The file has one block a line, `HEIGHT HEX`: the decimal height and the 160 hexadecimal digits of the raw header, as
`bitcoin-cli getblockheader HASH false` prints it. `#` starts a comment. That a header is at its height is the user's
word; the work is checked.
"""

import hashlib
from datetime import UTC, datetime

MAX_FILE_BYTES = 256 * 1024 * 1024
HEADER_BYTES = 80

_LONGEST_HEIGHT = 9  # digits
# Bitcoin's easiest permitted target. Difficulty passed one million before block 190,000 and has never been near it
# since, so an easier header that claims a later height was not mined by the network.
_EASIEST_TARGET = 0xFFFF << 208
_LATE_HEIGHT = 200_000
_LATE_EASIEST_TARGET = _EASIEST_TARGET // 1_000_000
_MANTISSA, _SIGN = 0x7FFFFF, 0x800000
_MANTISSA_BYTES, _LARGEST_EXPONENT = 3, 32


class UnusableHeadersError(ValueError):
    """The header file cannot be used; the message names the line."""


def load_headers(data: bytes) -> dict[int, bytes]:
    """Reads a header file into heights and raw headers. Raises UnusableHeadersError, also when work is missing."""
    if len(data) > MAX_FILE_BYTES:
        raise UnusableHeadersError(f"the header file is larger than {MAX_FILE_BYTES} bytes")
    headers: dict[int, bytes] = {}
    for number, line in enumerate(data.split(b"\n"), start=1):
        fields = line.split(b"#", 1)[0].split()
        if not fields:
            continue
        height, header = _parse_line(fields, number)
        if headers.setdefault(height, header) != header:
            raise UnusableHeadersError(f"line {number}: block {height} is listed twice with different headers")
        if problem := work_problem(height, header):
            raise UnusableHeadersError(f"line {number}: {problem}")
    return headers


def merkle_root(header: bytes) -> bytes:
    """The Merkle root a raw header commits to, in the byte order of proofs."""
    return header[36:68]


def block_time(header: bytes) -> datetime:
    """The time the miner wrote into a raw header; it can be off by about two hours."""
    return datetime.fromtimestamp(int.from_bytes(header[68:72], "little"), UTC)


def work_problem(height: int, header: bytes) -> str | None:
    """Why the header does not carry the work it declares, or None."""
    compact = int.from_bytes(header[72:76], "little")
    exponent, mantissa = compact >> 24, compact & _MANTISSA
    if compact & _SIGN or exponent > _LARGEST_EXPONENT:
        return f"the header of block {height} declares an impossible difficulty"
    target = mantissa << (8 * exponent) >> (8 * _MANTISSA_BYTES)
    if not 0 < target <= _EASIEST_TARGET:
        return f"the header of block {height} declares an impossible difficulty"
    if height >= _LATE_HEIGHT and target > _LATE_EASIEST_TARGET:
        return f"the header of block {height} declares a difficulty far below what the network had by then"
    work = hashlib.sha256(hashlib.sha256(header).digest()).digest()
    if int.from_bytes(work, "little") > target:
        return f"the header of block {height} lacks the proof of work it declares"
    return None


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
