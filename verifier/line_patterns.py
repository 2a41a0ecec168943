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
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from verifier.canonical import MAX_LEVELS, canonical_bytes
from verifier.event import KIND, MAX_LINE_BYTES, MAX_PAYLOAD_BYTES, MalformedEventError, parse_line

MAX_SHAPES = 48
"""Shapes remembered at a time: more would make matching slower than parsing."""

MAX_SHAPE_BYTES = 4096
"""Size of one shape's expression; compiling takes time in proportion."""

_PLAIN_STRING = r'"[^"]*+"'
"""Enough where the slice holds neither a backslash nor a control character."""

_ANY_STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\bfnrt]|u00(?:0[1-7bef]|1[0-9a-f]))[^"\\\x00-\x1f]*+)*+"'
_NUMBER = (
    r"-?+(?>(?:0\.(?!000000)|[1-9][0-9]{0,6}\.)[0-9]{0,7}+(?<=[1-9])(?![0-9eE])"
    r"|[1-9][0-9]{0,14}+(?![0-9.eE])|0(?<!-0)(?![0-9.eE]))"
)
_FIELDS = 8
_FRAME = (
    r'\{{"hash":"(.{{64}})","kind":"([a-z0-9_.]{{3,64}}+)",'
    r'"occurred_at":"(.{{16}}):([0-5][0-9])\.([0-9]{{6}})Z",'
    r'"payload":({payloads}),"prev_hash":"(.{{64}})","sequence":([1-9][0-9]{{0,14}}+)\}}\n'
)
_SUSPECT = bytes(int((byte < 0x20 and byte != 0x0A) or byte == 0x5C) for byte in range(256))  # noqa: PLR2004
"""Maps backslashes and control characters to 1, all else to 0: finds them at the speed of copying."""

_MINUTE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - every time of the format is UTC
_MICROSECOND = timedelta(microseconds=1)


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
        self._plain: re.Pattern[bytes] | None = None
        self._any: re.Pattern[bytes] | None = None
        self._minutes = _Minutes()

    def read(self, data: bytes) -> tuple[Columns, MalformedEventError | None]:
        """Split whole lines into columns, up to the first line that is not a canonical event, if there is one."""
        columns = self._read_at_once(data)
        if columns is None and self._learn(data):
            columns = self._read_at_once(data)
        if columns is not None:
            return columns, None
        return self._read_one_by_one(data)

    def _read_at_once(self, data: bytes) -> Columns | None:
        plain = 1 not in data.translate(_SUSPECT)
        pattern = self._plain if plain else self._any
        if pattern is None or not _is_utf8(data):
            return None
        parts = pattern.split(data)
        # `split` gives what lies between matches, then the fields: the lines tile the slice if nothing lies between.
        step = _FIELDS + 1
        if parts[0::step].count(b"") != len(parts) // step + 1:
            return None
        return self._columns(parts, step)

    def _columns(self, parts: list[bytes], step: int) -> Columns | None:
        kinds, payloads = parts[2::step], parts[6::step]
        if not all(KIND.fullmatch(kind.decode("ascii")) for kind in set(kinds)):
            return None
        if max(map(len, payloads), default=0) > MAX_PAYLOAD_BYTES:
            return None
        try:
            times = self._minutes.times(parts[3::step], parts[4::step], parts[5::step])
        except ValueError:
            return None
        return Columns(parts[1::step], kinds, times, payloads, parts[7::step], parts[8::step])

    def _learn(self, data: bytes) -> bool:
        """Learn the shapes of the lines that no expression matches; tell whether that changed anything."""
        known = len(self._shapes)
        for line in self._unmatched(data):
            if len(self._shapes) == MAX_SHAPES:
                break
            try:
                parse_line(line)
            except MalformedEventError:
                break
            shape = payload_shape(json.loads(line)["payload"])
            if shape is None or len(shape) > MAX_SHAPE_BYTES:
                continue
            if shape not in self._shapes:
                self._shapes[shape] = None
                self._compile()
        return len(self._shapes) > known

    def _unmatched(self, data: bytes) -> Any:
        for line in data.split(b"\n")[:-1]:
            if self._any is None or not self._any.fullmatch(line + b"\n"):
                yield line

    def _compile(self) -> None:
        payloads = "|".join(self._shapes)
        for name, string in (("_plain", _PLAIN_STRING), ("_any", _ANY_STRING)):
            source = _FRAME.format(payloads=payloads.replace("\x00", f"(?>{string}|{_NUMBER}|true|false|null)"))
            setattr(self, name, re.compile(source.encode("utf-8")))

    def _read_one_by_one(self, data: bytes) -> tuple[Columns, MalformedEventError | None]:
        columns = Columns([], [], [], [], [], [])
        for line in data.split(b"\n")[:-1]:
            found = self._any.fullmatch(line + b"\n") if self._any and _is_utf8(line) else None
            one = self._columns([b"", *found.groups()], _FIELDS + 1) if found else None
            if one is None:
                try:
                    one = _single(line)
                except MalformedEventError as error:
                    return columns, error
            columns.extend(one)
        return columns, None


def payload_shape(payload: dict[str, Any]) -> str | None:
    """Return an expression for payloads of the same shape, NUL standing for any scalar; None if there is none.

    `payload` must be the parsed form of a payload that was proved canonical.
    """
    return _shape(payload, MAX_LEVELS)


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
    return "\x00"


def _array_shape(items: list[Any], levels_left: int) -> str | None:
    if levels_left < 2:  # noqa: PLR2004 - this array and an array of scalars in it
        return None
    flat = r"\[(?:\x00(?:,\x00)*+)?+\]".replace(r"\x00", "\x00")
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


class _Minutes(dict[bytes, int]):
    """Microseconds since 1970 of a minute's beginning, remembered: events of one minute follow each other."""

    def __missing__(self, text: bytes) -> int:
        readable = text.decode("ascii")
        if not _MINUTE.fullmatch(readable):
            raise ValueError("not a minute")
        if len(self) > MAX_LINE_BYTES:
            self.clear()
        value: int = (datetime.fromisoformat(readable) - _EPOCH) // _MICROSECOND
        self[text] = value
        return value

    def times(self, minutes: list[bytes], seconds: list[bytes], fractions: list[bytes]) -> list[int]:
        """Return whole times in microseconds; `ValueError` (also as `UnicodeDecodeError`) for what is no time."""
        lookup: Callable[[bytes], int] = self.__getitem__
        return [
            lookup(minute) + int(second) * 1_000_000 + int(fraction)
            for minute, second, fraction in zip(minutes, seconds, fractions, strict=True)
        ]
