r"""A quick and sound proof that lines of `events.jsonl` are canonical.

Parsing each line and writing it again costs ten times what hashing costs. But the events of a chain have few *shapes*:
the same names in the same nesting, with other values. So one line of a shape is parsed and proved canonical in full
(`event.parse_line`); from its payload a regular expression is made in which the names and the nesting are literal
text and only scalar values vary, each within a form that is canonical by itself. A line that matches it is canonical:

1. the frame's members and the payload's names are those of the proved line: sorted, unique, escaped as they must be;
2. there is no white space, because the expression allows none outside strings;
3. a string holds no raw control character, only the escapes RFC 8785 writes, and the slice as a whole is valid UTF-8;
4. an integer has at most 15 digits and no leading zero, so it is below 2^53 and written as RFC 8785 writes it;
5. a fraction has at most 15 significant digits, no trailing zero and is at least 1e-6 in size: a decimal of up to 15
   digits survives the way through a double, so the shortest form of that double is the decimal itself;
6. arrays hold scalars, or arrays of scalars, or what the proved line had in the same place: nesting is bounded.

Whatever does not match is parsed in full. The expressions are possessive: matching takes linear time.
"""

import json
import re
from typing import Any, NamedTuple

from verifier.canonical import MAX_LEVELS, canonical_bytes
from verifier.event import KIND, MAX_PAYLOAD_BYTES, MalformedEventError, parse_line, parse_time

MAX_SCALARS = 256
"""Varying places in all shapes together: bounds the time to compile them, and the alternatives a line must try."""

MAX_SHAPE_CHARACTERS = 4096
"""Of one shape, for the same reason. What is longer is parsed in full each time."""

_SCALAR = "\x00"
"""Stands for any scalar in a shape; no name can contain it."""

_PLAIN_STRING = r'"[^"]*+"'
"""Enough where the slice holds no backslash and, as is looked at afterwards, its payloads no control character."""

_ANY_STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\bfnrt]|u00(?:0[1-7bef]|1[0-9a-f]))[^"\\\x00-\x1f]*+)*+"'
_NUMBER = (
    r"(?>-?[1-9][0-9]{0,14}+(?![0-9.eE])|0(?![0-9.eE])"
    r"|-?(?:0\.(?!000000)|[1-9][0-9]{0,6}\.)[0-9]{1,8}+(?<=[1-9])(?![0-9eE]))"
)
SEALED_NAME = '"_sd"'
"""The name of the member with digests of sealed members, as it stands in a payload and in its shape."""

_STEP = 7
"""The fields of a line and what lies between it and the line before, which must be nothing."""

_FRAME = (
    r'\{{"hash":"(.{{64}}+)","kind":"([^"]{{3,64}}+)",'
    r'"occurred_at":"(.{{26}}+)Z",'
    r'"payload":({payloads}),"prev_hash":"(.{{64}}+)","sequence":([1-9][0-9]{{0,14}}+)\}}\n'
)
_CONTROL = bytes(int(byte < 0x20) for byte in range(256))  # noqa: PLR2004
"""Maps control characters to 1, all else to 0: finds them at the speed of copying."""

_SECONDS = {b"%02d" % second: second * 1_000_000 for second in range(60)}
_MAX_TIMES = 10_000
"""Remembered at a time: the events of a slice lie close together."""


class Columns(NamedTuple):
    """The fields of several lines, by kind of field; one entry per line in each list."""

    hashes: list[bytes]
    kinds: list[bytes]
    times: list[int]
    payloads: list[bytes]
    prev_hashes: list[bytes]
    sequences: list[bytes]

    def extend(self, other: "Columns") -> None:
        """Append the lines of `other`."""
        self.hashes.extend(other.hashes)
        self.kinds.extend(other.kinds)
        self.times.extend(other.times)
        self.payloads.extend(other.payloads)
        self.prev_hashes.extend(other.prev_hashes)
        self.sequences.extend(other.sequences)


class LinePatterns:
    """The shapes met so far. One object serves one chain in one process; it only ever saves time."""

    def __init__(self) -> None:
        self._shapes: dict[str, None] = {}
        self._scalars = 0
        self._compiled: dict[str, re.Pattern[bytes]] = {}
        self._times = _Times()
        self._seals = False
        self.may_seal = True
        """Whether a line that was read last may name sealed members. Read together, only lines of some shapes can."""

    def read(self, data: bytes) -> tuple[Columns, MalformedEventError | None]:
        """Split whole lines into columns, up to the first line that is not a canonical event, if there is one.

        `hashes` and `prev_hashes` may be any 64 bytes: comparing them with computed hashes tells more than their form.
        """
        # In a slice without backslashes, a string is whatever stands between two quotes.
        string = _ANY_STRING if b"\\" in data else _PLAIN_STRING
        if _is_utf8(data):
            columns = self._read_at_once(data, string)
            if columns is None and self._learn(data, string):
                columns = self._read_at_once(data, string)
            if columns is not None:
                self.may_seal = self._seals
                return columns, None
        return self._read_one_by_one(data)

    def _read_at_once(self, data: bytes, string: str) -> Columns | None:
        # `split` gives what lies between matches, then the fields: the lines tile the slice if nothing lies between.
        parts = self._pattern(string).split(data)
        if parts[0::_STEP].count(b"") != len(parts) // _STEP + 1:
            return None
        # The plain form of a string would let control characters pass, line feeds too.
        if string is _PLAIN_STRING and 1 in b"".join(parts[4::_STEP]).translate(_CONTROL):
            return None
        return self._columns(parts, len(data))

    def _columns(self, parts: list[bytes], size: int) -> Columns | None:
        """Return the fields of lines of `size` bytes together; None if one is not as the format wants it."""
        kinds, payloads = parts[2::_STEP], parts[4::_STEP]
        if not all(KIND.fullmatch(kind.decode("latin-1")) for kind in set(kinds)):
            return None
        if size > MAX_PAYLOAD_BYTES and max(map(len, payloads)) > MAX_PAYLOAD_BYTES:
            return None
        try:
            times = list(map(self._times.__getitem__, parts[3::_STEP]))
        except (ValueError, KeyError):
            return None
        return Columns(parts[1::_STEP], kinds, times, payloads, parts[5::_STEP], parts[6::_STEP])

    def _learn(self, data: bytes, string: str) -> bool:
        """Learn the shapes of the lines that nothing matches yet; tell whether there were any to learn."""
        known = len(self._shapes)
        matches = self._pattern(string).fullmatch
        # Lines of a shape learned meanwhile are parsed in vain until it is compiled. Patience doubles, so that a slice
        # of many shapes is not compiled for each.
        vain, patience = 0, 1
        for line in data.split(b"\n")[:-1]:
            if self._scalars >= MAX_SCALARS:
                break
            if matches(line + b"\n"):
                continue
            try:
                shape = payload_shape(json.loads(parse_line(line).payload))
            except MalformedEventError:
                break
            if shape in self._shapes:
                vain += 1
            elif shape is not None:
                # An empty object has a shape without scalars, and costs as much as one scalar.
                self._scalars += shape.count(_SCALAR) + 1
                self._shapes[shape] = None
                self._seals = self._seals or SEALED_NAME in shape
            if vain == patience:
                vain, patience = 0, 2 * patience
                self._compiled.clear()
                matches = self._pattern(string).fullmatch
        if len(self._shapes) > known:
            self._compiled.clear()
        return len(self._shapes) > known

    def _pattern(self, string: str) -> re.Pattern[bytes]:
        if string not in self._compiled:
            scalar = f"(?>{string}|{_NUMBER}|true|false|null)"
            # Without any shape, an expression that never matches.
            payloads = "|".join(self._shapes).replace(_SCALAR, scalar) or "(?!)"
            self._compiled[string] = re.compile(_FRAME.format(payloads=payloads).encode("utf-8"), re.DOTALL)
        return self._compiled[string]

    def read_in_full(self, data: bytes) -> tuple[Columns, MalformedEventError | None]:
        """Do as `read` does, but by parsing each line in full, so that every member has its form."""
        self.may_seal = True
        columns = Columns([], [], [], [], [], [])
        for line in data.split(b"\n")[:-1]:
            try:
                columns.extend(_single(line))
            except MalformedEventError as error:
                return columns, error
        return columns, None

    def _read_one_by_one(self, data: bytes) -> tuple[Columns, MalformedEventError | None]:
        self.may_seal = True
        columns = Columns([], [], [], [], [], [])
        matches = self._pattern(_ANY_STRING).fullmatch
        for line in data.split(b"\n")[:-1]:
            found = matches(line + b"\n") if _is_utf8(line) else None
            one = self._columns([b"", *found.groups()], len(line)) if found else None
            if one is None:
                try:
                    one = _single(line)
                except MalformedEventError as error:
                    return columns, error
            columns.extend(one)
        return columns, None


def payload_shape(payload: dict[str, Any]) -> str | None:
    """Return an expression for payloads of the same shape, or None when there is none worth remembering.

    `payload` must be the parsed form of a payload that was proved canonical.
    """
    shape = _shape(payload, MAX_LEVELS)
    if shape is None or len(shape) > MAX_SHAPE_CHARACTERS or shape.count(_SCALAR) > MAX_SCALARS // 4:
        return None
    return shape


def _shape(value: Any, levels_left: int) -> str | None:
    # Two further levels, for arrays of arrays of scalars, must be allowed wherever an array stands.
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        members = [(_literal(canonical_bytes(name)), _shape(value[name], levels_left - 1)) for name in names]
        if levels_left < 1 or any(shape is None for _, shape in members):
            return None
        return r"\{" + ",".join(f"{name}:{shape}" for name, shape in members) + r"\}"
    if isinstance(value, list):
        return _array_shape(value, levels_left)
    return _SCALAR


def _array_shape(items: list[Any], levels_left: int) -> str | None:
    if levels_left < 2:  # noqa: PLR2004 - this array and an array of scalars in it
        return None
    flat = rf"\[(?:{_SCALAR}(?:,{_SCALAR})*+)?+\]"
    if not any(isinstance(item, (dict, list)) for item in items):
        return flat
    if all(isinstance(item, list) and not any(isinstance(inner, (dict, list)) for inner in item) for item in items):
        return rf"\[{flat}(?:,{flat})*+\]"
    shapes = [_shape(item, levels_left - 1) for item in items]
    return None if None in shapes else r"\[" + ",".join(str(shape) for shape in shapes) + r"\]"


def _literal(text: bytes) -> str:
    return re.escape(text.decode("utf-8"))


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return False
    return True


def _single(line: bytes) -> Columns:
    event = parse_line(line)
    return Columns(
        [event.hash.encode("ascii")],
        [event.kind.encode("ascii")],
        [event.occurred_at],
        [event.payload],
        [event.prev_hash.encode("ascii")],
        [b"%d" % event.sequence],
    )


class _Times(dict[bytes, int]):
    """Microseconds since 1970, by the text of a time without its `Z`; `ValueError` or `KeyError` for no time.

    Remembered, because events of one append have one time, and events
    of one second, or at least of one minute, follow each other.
    """

    def __init__(self) -> None:
        super().__init__()
        self._begins: dict[bytes, int] = {}

    def __missing__(self, text: bytes) -> int:
        if len(self) >= _MAX_TIMES:
            self.clear()
        if len(self._begins) >= _MAX_TIMES:
            self._begins.clear()
        second, point, fraction = text[:19], text[19:20], text[20:]
        if point != b"." or not fraction.isdigit():
            raise ValueError("a time has no fraction of six digits")
        begin = self._begins.get(second)
        if begin is None:
            begin = self._begins[second] = self._minute(second[:17]) + _SECONDS[second[17:]]
        self[text] = value = begin + int(fraction)
        return value

    def _minute(self, text: bytes) -> int:
        begin = self._begins.get(text)
        if begin is None:
            begin = self._begins[text] = parse_time(text.decode("ascii") + "00.000000Z")
        return begin
