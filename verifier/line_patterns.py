r"""A quick and sound proof that payloads of `events.jsonl` are canonical.

Parsing each line and writing it again costs ten times what hashing costs. But the events of a chain have few *shapes*:
the same names in the same nesting, with other values. So one line of a shape is parsed and proved canonical in full
(`event.parse_line`); from its payload a regular expression is made in which the names and the nesting are literal
text and only scalar values vary, each within a form that is canonical by itself. A payload that matches is canonical:

1. its names are those of the proved line: sorted, unique, escaped as they must be;
2. there is no white space, because the expression allows none outside strings;
3. a string holds no raw control character, only the escapes RFC 8785 writes, and the slice as a whole is valid UTF-8;
4. an integer has at most 15 digits and no leading zero, so it is below 2^53 and written as RFC 8785 writes it;
5. a fraction has at most 15 significant digits, no trailing zero and is at least 1e-6 in size: a decimal of up to 15
   digits survives the way through a double, so the shortest form of that double is the decimal itself;
6. arrays hold scalars, or arrays of scalars, or what the proved line had in the same place: nesting is bounded.

A line whose payload does not match is parsed in full. What stands around the payloads is not looked at here: the
caller writes the lines again from what they must hold, and compares. The expressions are possessive: matching takes
linear time.
"""

import json
import re
from typing import Any

from verifier.canonical import MAX_LEVELS, canonical_bytes
from verifier.event import MAX_PAYLOAD_BYTES, OPENED, MalformedEventError, parse_line
from verifier.line_heads import AFTER_KIND, BEFORE_KIND

MAX_SCALARS = 256
"""Varying places in all shapes together: bounds the time to compile them, and the alternatives a line must try."""

MAX_SHAPE_CHARACTERS = 4096
"""Of one shape, for the same reason. What is longer is parsed in full each time."""

SEALED_NAME = '"_sd"'
"""The name of the member with digests of sealed members, as it stands in a payload and in its shape."""

_SCALAR = "\x00"
"""Stands for any scalar in a shape; no name can contain it."""

_STRING = "\x01"
"""Stands for a string in a shape: what is always a string is matched sooner when nothing else is tried."""

_PLAIN_STRING = r'"[^"]*+"'
"""Enough where the slice holds no backslash and, as is looked at afterwards, its payloads no control character."""

_ANY_STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\bfnrt]|u00(?:0[1-7bef]|1[0-9a-f]))[^"\\\x00-\x1f]*+)*+"'
_NUMBER = (
    r"(?>-?[1-9][0-9]{0,14}+(?![0-9.eE])|0(?![0-9.eE])"
    r"|-?(?:0\.(?!000000)|[1-9][0-9]{0,6}\.)[0-9]{1,8}+(?<=[1-9])(?![0-9eE]))"
)

HEAD_AT = len('{"hash":"') + 64
_AFTER_PAYLOAD = len(',"prev_hash":""') + 64 + len(',"sequence":')
_LINE = (
    rf'(?m:^).{{{{{HEAD_AT}}}}}+(.{{{{{len(BEFORE_KIND)}}}}}+[^"]{{{{3,64}}}}+.{{{{{AFTER_KIND}}}}}+)'
    rf"({{payloads}}).{{{{{_AFTER_PAYLOAD}}}}}+[^\n]*+\n"
)
"""A line by its lengths, with its head (`line_heads.py`) and its payload as groups."""

_GROUPS = 3
"""In what `split` gives: what lies between a line and the one before, and the line's two groups."""

_CONTROLS = range(0x20)


class LinePatterns:
    """The shapes met so far. One object serves one chain in one process; it only ever saves time."""

    def __init__(self) -> None:
        # With any scalar where some lines have strings, and as they are matched.
        self._shapes: dict[str, str] = {}
        self._scalars = 0
        self._compiled: dict[str, re.Pattern[bytes]] = {}
        self._seals = False
        self.may_seal = True
        """Whether a line that was read last may name sealed members. Lines that need no full parse often cannot."""

    @property
    def known(self) -> bool:
        """Whether any shape was learned."""
        return bool(self._shapes)

    def split(self, data: bytes) -> tuple[list[bytes], list[bytes]] | None:
        """Return the heads and the payloads of whole lines; None when they cannot be told quickly.

        The payloads are canonical and within their limit, if writing the lines again with them gives `data`.
        """
        if not _is_utf8(data):
            return None
        # In a slice without backslashes, a string is whatever stands between two quotes.
        string = _ANY_STRING if b"\\" in data else _PLAIN_STRING
        parts = self._pattern(string).split(data) if self._shapes else [data]
        strays = any(parts[0::_GROUPS])
        if strays and self._learn(parts[0::_GROUPS], string):
            parts = self._pattern(string).split(data)
            strays = any(parts[0::_GROUPS])
        self.may_seal = self._seals
        heads, payloads = parts[1::_GROUPS], parts[2::_GROUPS]
        if strays:
            # Lines whose shapes are not worth remembering lie between those that matched.
            self.may_seal = True
            try:
                heads, payloads = _with_strays(parts)
            except MalformedEventError:
                return None
        joined = b"".join(payloads)
        # The plain form of a string lets control characters pass, line feeds too.
        if string is _PLAIN_STRING and any(map(joined.__contains__, _CONTROLS)):
            return None
        if len(joined) > MAX_PAYLOAD_BYTES and max(map(len, payloads)) > MAX_PAYLOAD_BYTES:
            return None
        return heads, payloads

    def _learn(self, strays: list[bytes], string: str) -> bool:
        """Learn the shapes of lines that nothing matches yet; tell whether there were any to learn."""
        learned = False
        matches = self._pattern(string).fullmatch
        # Lines of a shape learned meanwhile are parsed in vain until it is compiled. Patience doubles, so that a slice
        # of many shapes is not compiled for each.
        vain, patience = 0, 1
        for line in b"".join(strays).split(b"\n")[:-1]:
            if self._scalars >= MAX_SCALARS:
                break
            if matches(line + b"\n"):
                continue
            try:
                event = parse_line(line)
            except MalformedEventError:
                break
            # A chain is opened once: to know that shape would only cost time at every other line.
            shape = payload_shape(json.loads(event.payload)) if event.kind != OPENED else None
            if shape is None:
                continue
            general = shape.replace(_STRING, _SCALAR)
            if self._shapes.get(general) in {shape, general}:
                vain += 1
            else:
                learned = True
                if general not in self._shapes:
                    # An empty object has a shape without scalars, and costs as much as one scalar.
                    self._scalars += general.count(_SCALAR) + 1
                self._shapes[general] = general if general in self._shapes else shape
                self._seals = self._seals or SEALED_NAME in shape
            if vain == patience:
                vain, patience = 0, 2 * patience
                self._compiled.clear()
                matches = self._pattern(string).fullmatch
        if learned:
            self._compiled.clear()
        return learned

    def _pattern(self, string: str) -> re.Pattern[bytes]:
        if string not in self._compiled:
            scalar = f"(?>{string}|{_NUMBER}|true|false|null)"
            # When no more shapes are learned, those that are known must fit as many lines as they can.
            shapes = self._shapes if self._scalars >= MAX_SCALARS else self._shapes.values()
            # Without any shape, an expression that never matches.
            payloads = "|".join(shapes).replace(_STRING, string).replace(_SCALAR, scalar) or "(?!)"
            self._compiled[string] = re.compile(_LINE.format(payloads=payloads).encode("utf-8"), re.DOTALL)
        return self._compiled[string]


def _with_strays(parts: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return heads and payloads in order, those of lines that matched nothing by parsing them in full."""
    heads: list[bytes] = []
    payloads: list[bytes] = []
    matched = zip([*parts[1::_GROUPS], None], [*parts[2::_GROUPS], None], strict=True)
    for between, (head, payload) in zip(parts[0::_GROUPS], matched, strict=True):
        for line in between.split(b"\n")[:-1]:
            event = parse_line(line)
            heads.append(line[HEAD_AT : HEAD_AT + len(BEFORE_KIND) + len(event.kind) + AFTER_KIND])
            payloads.append(event.payload)
        if head is not None and payload is not None:
            heads.append(head)
            payloads.append(payload)
    return heads, payloads


def payload_shape(payload: dict[str, Any]) -> str | None:
    """Return an expression for payloads of the same shape, or None when there is none worth remembering.

    `payload` must be the parsed form of a payload that was proved canonical.
    """
    shape = _shape(payload, MAX_LEVELS)
    if shape is None or len(shape) > MAX_SHAPE_CHARACTERS:
        return None
    if shape.count(_SCALAR) + shape.count(_STRING) > MAX_SCALARS // 4:
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
    return _STRING if isinstance(value, str) else _SCALAR


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
