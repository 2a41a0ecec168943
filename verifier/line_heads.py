"""What a line holds between its hash and its payload: kind and time, proved and remembered.

Events of one append have one time, and often one kind, so the same text stands in many lines that follow each other.
"""

import struct

from verifier.event import KIND, parse_time
from verifier.lines import packed_kind

BEFORE_KIND = b'","kind":"'
_BEFORE_TIME = b'","occurred_at":"'
_AFTER_TIME = b'Z","payload":'
_TIME_CHARACTERS = 26
AFTER_KIND = len(_BEFORE_TIME) + _TIME_CHARACTERS + len(_AFTER_TIME)
"""Characters of a head after its kind."""

_MAX_REMEMBERED = 4096
"""Of each sort: the events of a slice lie close together."""

_SECONDS = {b"%02d" % second: second * 1_000_000 for second in range(60)}


Head = tuple[int, bytes, bytes]
"""Time in microseconds since 1970, and kind and time as preimages hold them."""


class LineHeads(dict[bytes, Head]):
    """Heads by their text; looking up what is no head raises `ValueError`."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[bytes, bytes] = {}
        self._begins: dict[bytes, int] = {}

    def forget(self) -> None:
        """Forget what takes too much memory. To be called between slices."""
        for remembered in (self, self._kinds, self._begins):
            if len(remembered) > _MAX_REMEMBERED:
                remembered.clear()

    def __missing__(self, head: bytes) -> Head:
        kind, _, rest = head[len(BEFORE_KIND) :].partition(_BEFORE_TIME)
        if not head.startswith(BEFORE_KIND) or rest[_TIME_CHARACTERS:] != _AFTER_TIME:
            raise ValueError("a line has other text between its members")
        packed = self._kinds.get(kind)
        if packed is None:
            if not KIND.fullmatch(kind.decode("latin-1")):
                raise ValueError("a kind is not of the form the format allows")
            packed = self._kinds[kind] = packed_kind(kind)
        time = self._time(rest[:_TIME_CHARACTERS])
        self[head] = known = time, packed, struct.pack(">q", time)
        return known

    def _time(self, text: bytes) -> int:
        # Events of one second, or at least of one minute, follow each other too.
        second, point, fraction = text[:19], text[19:20], text[20:]
        if point != b"." or not fraction.isdigit():
            raise ValueError("a time has no fraction of six digits")
        begin = self._begins.get(second)
        if begin is None:
            if second[17:] not in _SECONDS:
                raise ValueError("a time has no seconds")
            begin = self._begins[second] = self._minute(second[:17]) + _SECONDS[second[17:]]
        return begin + int(fraction)

    def _minute(self, text: bytes) -> int:
        begin = self._begins.get(text)
        if begin is None:
            begin = self._begins[text] = parse_time(text.decode("latin-1") + "00.000000Z")
        return begin
