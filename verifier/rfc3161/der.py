"""A small, strict reader of DER (X.690, section 10), for input that may be hostile.

Everything a token signs or is judged by is read through here, eagerly and once, so that nothing is left to be
discovered half-way through a decision. What it insists on:

- definite, shortest-form lengths; every byte accounted for; no trailing bytes;
- low tag numbers (0 to 30), which is all that the formats read here use;
- primitive and constructed encodings as DER demands them;
- shortest-form INTEGERs and OBJECT IDENTIFIERs, BOOLEANs of 00 or FF, empty NULLs, zero padding bits;
- a cap on the size and on the depth, both checked before anything is built.

It does not insist on the order of a SET OF: real authorities send certificate sets unsorted, and that field is not
signed. Whoever reads a signed SET OF checks its order (`is_sorted_set`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

# A token with a whole chain and revocation data is about 16 KiB; RFC 3161 sets no limit.
MAX_TOKEN_SIZE = 64 * 1024
# The deepest real token seen nests 17 levels (a CRL inside an unsigned attribute).
MAX_DEPTH = 32
# An OBJECT IDENTIFIER arc may be a UUID (128 bits); nothing legitimate is longer.
MAX_OID_ARC_BITS = 128
MAX_OID_SIZE = 64
# Serial numbers have 20 octets, nonces 8 to 32. Python refuses to print numbers of more than 4300 digits.
MAX_INTEGER_SIZE = 64

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 1, 2, 3, 4, 5, 6
ENUMERATED, UTF8_STRING, SEQUENCE, SET = 10, 12, 16, 17
UTC_TIME, GENERALIZED_TIME = 23, 24

UNIVERSAL, CONTEXT = 0, 2
_ALWAYS_CONSTRUCTED = frozenset({SEQUENCE, SET})
# EXTERNAL and EMBEDDED PDV are sequences in disguise; they occur only in parts nobody signs.
_EITHER = frozenset({8, 11})


class DerError(ValueError):
    """The bytes are not the strict DER that was expected; the text says why."""


@dataclass(frozen=True, slots=True)
class Node:
    """One element: its tag, its content octets, and its children when constructed (and opened, see `parse`)."""

    tag_class: int
    constructed: bool
    number: int
    encoded: bytes
    header_size: int
    children: tuple["Node", ...]

    @property
    def content(self) -> bytes:
        """The content octets, exactly as received."""
        return self.encoded[self.header_size :]

    def is_universal(self, number: int) -> bool:
        """Whether this element has the universal tag `number`."""
        return self.tag_class == UNIVERSAL and self.number == number

    def is_context(self, number: int) -> bool:
        """Whether this element has the context-specific tag `number`."""
        return self.tag_class == CONTEXT and self.number == number


def parse(data: bytes, *, max_size: int = MAX_TOKEN_SIZE, levels: int = MAX_DEPTH + 1) -> Node:
    """Read the one element that `data` consists of; raises DerError for anything but strict DER.

    Elements below the first `levels` levels are not opened: they have no children until `opened` or `members` is
    asked for them. That keeps memory small for long lists of which only one entry matters.
    """
    if len(data) > max_size:
        raise DerError(f"it has {len(data)} bytes; at most {max_size} are accepted")
    node, end = _read(data, 0, len(data), 1, levels)
    if end != len(data):
        raise DerError(f"{len(data) - end} bytes follow after its end")
    return node


def opened(node: Node) -> Node:
    """An element that was not opened, read to its depths."""
    return parse(node.encoded, max_size=len(node.encoded))


def members(node: Node, what: str) -> Iterator[Node]:
    """The members of a SEQUENCE that was not opened, one after the other, each read to its depths."""
    _require(node, SEQUENCE, what, "a SEQUENCE")
    at, end = node.header_size, len(node.encoded)
    while at < end:
        member, at = _read(node.encoded, at, end, 1, MAX_DEPTH + 1)
        yield member


def _read(data: bytes, start: int, limit: int, depth: int, levels: int) -> tuple[Node, int]:
    if depth > MAX_DEPTH:
        raise DerError(f"elements are nested more than {MAX_DEPTH} deep")
    if limit - start < 2:  # noqa: PLR2004 - a tag octet and a length octet
        raise DerError("it ends in the middle of an element")
    first = data[start]
    number = first & 0x1F
    if number == 0x1F:  # noqa: PLR2004 - X.690, 8.1.2.4: the mark of a high tag number
        raise DerError("it uses a tag number above 30")
    constructed = bool(first & 0x20)
    tag_class = first >> 6
    if tag_class == UNIVERSAL:
        _check_form(number, constructed=constructed)
    length, body = _read_length(data, start + 1, limit)
    end = body + length
    if end > limit:
        raise DerError("an element is longer than what contains it")
    children: list[Node] = []
    if constructed and depth < levels:
        at = body
        while at < end:
            child, at = _read(data, at, end, depth + 1, levels)
            children.append(child)
    return Node(tag_class, constructed, number, data[start:end], body - start, tuple(children)), end


def _check_form(number: int, *, constructed: bool) -> None:
    if number == 0:
        raise DerError("it contains an end-of-contents mark, which belongs to BER")
    if number in _EITHER:
        return
    if constructed != (number in _ALWAYS_CONSTRUCTED):
        raise DerError("an element is constructed where DER wants it primitive, or the reverse")


def _read_length(data: bytes, at: int, limit: int) -> tuple[int, int]:
    first = data[at]
    if first < 0x80:  # noqa: PLR2004 - X.690, 8.1.3.4: short form
        return first, at + 1
    size = first & 0x7F
    if size == 0:
        raise DerError("it uses a BER indefinite length")
    if size > 4 or limit - at - 1 < size:  # noqa: PLR2004 - four octets count 4 GiB, far over every cap
        raise DerError("an element's length is absurd")
    value = int.from_bytes(data[at + 1 : at + 1 + size])
    if value < 0x80 or value >> (8 * (size - 1)) == 0:  # noqa: PLR2004 - X.690, 10.1: shortest form
        raise DerError("a length is not in its shortest form")
    return value, at + 1 + size


def sequence(node: Node, what: str) -> tuple[Node, ...]:
    """The members of a SEQUENCE."""
    _require(node, SEQUENCE, what, "a SEQUENCE")
    return node.children


def retagged_sequence(node: Node) -> Node:
    """An implicitly tagged SEQUENCE, with its own tag given back to it."""
    if not node.constructed:
        raise DerError("an implicitly tagged SEQUENCE is not constructed")
    encoded = bytes([0x20 | SEQUENCE]) + node.encoded[1:]
    return Node(UNIVERSAL, True, SEQUENCE, encoded, node.header_size, node.children)


def set_of(node: Node, what: str) -> tuple[Node, ...]:
    """The members of a SET or SET OF, in the order received."""
    _require(node, SET, what, "a SET")
    return node.children


def is_sorted_set(members: tuple[Node, ...]) -> bool:
    """Whether the members stand in the order that DER prescribes for a SET OF (X.690, 11.6)."""
    encodings = [member.encoded for member in members]
    return encodings == sorted(encodings)


def explicit(node: Node, number: int, what: str) -> Node:
    """The one element inside the EXPLICIT context-specific tag `number`."""
    if not node.is_context(number) or not node.constructed or len(node.children) != 1:
        raise DerError(f"{what} does not hold exactly one element")
    return node.children[0]


def integer(node: Node, what: str, *, max_size: int = MAX_INTEGER_SIZE) -> int:
    """The value of an INTEGER of at most `max_size` octets."""
    _require(node, INTEGER, what, "an INTEGER")
    return integer_content(node.content, what, max_size=max_size)


def enumerated(node: Node, what: str) -> int:
    """The value of an ENUMERATED."""
    _require(node, ENUMERATED, what, "an ENUMERATED")
    return integer_content(node.content, what)


def integer_content(content: bytes, what: str, *, max_size: int = MAX_INTEGER_SIZE) -> int:
    """The value of INTEGER content octets, for implicitly tagged fields."""
    if not 0 < len(content) <= max_size:
        raise DerError(f"{what} is an INTEGER of {len(content)} octets")
    # X.690, 8.3.2: the first nine bits are neither all zero nor all one.
    if len(content) > 1 and (content[0], content[1] >> 7) in {(0, 0), (0xFF, 1)}:
        raise DerError(f"{what} is not in its shortest form")
    return int.from_bytes(content, signed=True)


def boolean(node: Node, what: str) -> bool:
    """The value of a BOOLEAN."""
    _require(node, BOOLEAN, what, "a BOOLEAN")
    return boolean_content(node.content, what)


def boolean_content(content: bytes, what: str) -> bool:
    """The value of BOOLEAN content octets, for implicitly tagged fields."""
    if content not in {b"\x00", b"\xff"}:
        raise DerError(f"{what} is a BOOLEAN of neither 00 nor FF")
    return content == b"\xff"


def octets(node: Node, what: str) -> bytes:
    """The content of an OCTET STRING."""
    _require(node, OCTET_STRING, what, "an OCTET STRING")
    return node.content


def bit_string(node: Node, what: str) -> bytes:
    """The content of a BIT STRING that must hold whole octets."""
    _require(node, BIT_STRING, what, "a BIT STRING")
    if not node.content or node.content[0] != 0:
        raise DerError(f"{what} is not a whole number of octets")
    return node.content[1:]


def named_bits(node: Node, what: str) -> frozenset[int]:
    """The numbers of the bits that are set in a BIT STRING with named bits."""
    _require(node, BIT_STRING, what, "a BIT STRING")
    return named_bits_content(node.content, what)


def named_bits_content(content: bytes, what: str) -> frozenset[int]:
    """The numbers of the bits set in BIT STRING content octets, for implicitly tagged fields."""
    if not content or content[0] > 7 or (len(content) == 1 and content[0]):  # noqa: PLR2004 - bits in an octet
        raise DerError(f"{what} is a malformed BIT STRING")
    bits = content[1:]
    if bits and bits[-1] & ((1 << content[0]) - 1):
        raise DerError(f"{what} has padding bits that are not zero")
    return frozenset(8 * i + j for i, octet in enumerate(bits) for j in range(8) if octet & (0x80 >> j))


def oid(node: Node, what: str) -> str:
    """The dotted form of an OBJECT IDENTIFIER."""
    _require(node, OID, what, "an OBJECT IDENTIFIER")
    content = node.content
    if not content or len(content) > MAX_OID_SIZE or content[-1] & 0x80:
        raise DerError(f"{what} is a malformed OBJECT IDENTIFIER")
    arcs: list[int] = []
    value = 0
    fresh = True
    for octet in content:
        if fresh and octet == 0x80:  # noqa: PLR2004 - X.690, 8.19.2: no leading zero octet
            raise DerError(f"{what} is not in its shortest form")
        value = (value << 7) | (octet & 0x7F)
        if value.bit_length() > MAX_OID_ARC_BITS:
            raise DerError(f"{what} has an absurd arc")
        fresh = not octet & 0x80
        if fresh:
            arcs.append(value)
            value = 0
    root = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (root, arcs[0] - 40 * root, *arcs[1:]))


def text(node: Node, what: str) -> str:
    """The value of a UTF8String."""
    _require(node, UTF8_STRING, what, "a UTF8String")
    try:
        return node.content.decode()
    except UnicodeDecodeError as error:
        raise DerError(f"{what} is not UTF-8") from error


_FRACTION_TIME = re.compile(rb"(\d{14})(?:\.(\d{1,6}))?Z", re.ASCII)
_SHORT_YEAR_TIME = re.compile(rb"\d{12}Z", re.ASCII)
_CENTURY_PIVOT = b"50"


def certificate_time(node: Node, what: str) -> datetime:
    """A Time of RFC 5280, 4.1.2.5: UTCTime or GeneralizedTime, to the second, in UTC."""
    if node.is_universal(UTC_TIME) and _SHORT_YEAR_TIME.fullmatch(node.content):
        century = b"19" if node.content[:2] >= _CENTURY_PIVOT else b"20"
        return generalized_time_content(century + node.content, what)
    if node.is_universal(GENERALIZED_TIME) and b"." not in node.content:
        return generalized_time_content(node.content, what)
    raise DerError(f"{what} is not a time to the second in UTC")


def generalized_time(node: Node, what: str) -> datetime:
    """A GeneralizedTime in UTC with up to six digits of fraction."""
    _require(node, GENERALIZED_TIME, what, "a GeneralizedTime")
    return generalized_time_content(node.content, what)


def generalized_time_content(content: bytes, what: str) -> datetime:
    """The time in GeneralizedTime content octets, read digit by digit, never by way of a float."""
    match = _FRACTION_TIME.fullmatch(content)
    if match is None:
        raise DerError(f"{what} is not of the form YYYYMMDDhhmmss[.f]Z")
    digits = match[1].decode("ascii")
    fraction = int((match[2] or b"").decode("ascii").ljust(6, "0"))
    month, day, hour, minute, second = (int(digits[i : i + 2]) for i in range(4, 14, 2))
    try:
        return datetime(int(digits[:4]), month, day, hour, minute, second, fraction, tzinfo=UTC)
    except ValueError as error:
        raise DerError(f"{what} is not a real date and time: {digits}") from error


def _require(node: Node, number: int, what: str, expected: str) -> None:
    if not node.is_universal(number):
        raise DerError(f"{what} is not {expected}")
