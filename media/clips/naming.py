"""Wall clock from the names that cameras and recorders give their files.

A pattern is the name with the time's parts as in strftime: `%Y/%m/%d/%H-%M-%S.mp4`. `*` stands for any text without a
slash. What the pattern cannot tell has a bound: a name in whole seconds is up to a second early; a local time that an
hour's change made happen twice is told apart by when the file was written, or else has the hour in its error bound.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from types import MappingProxyType
from zoneinfo import ZoneInfo

from ledger.timestamps import moment
from media.clips.window import EARLIEST_EVENT, LATEST_EVENT

MAX_PATTERN_CHARACTERS = 500
# Each multiplies the ways in which a hostile name must be tried by the length of a file name.
MAX_WILDCARDS = 2
MAX_NAME_CHARACTERS = 1000
_LONGEST_PART = 255  # of a path, on every file system

_MICROSECONDS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A file is last written when its footage ends, give or take; candidates for a local time lie an hour apart.
_WRITTEN_WITHIN_US = 15 * 60 * _MICROSECONDS
_STEP = timedelta(minutes=30)  # of the days and hours a search touches: divides every zone's offset

_DIRECTIVES: Mapping[str, str] = MappingProxyType(
    {
        "Y": r"[0-9]{4}",
        "m": r"[0-9]{2}",
        "d": r"[0-9]{2}",
        "j": r"[0-9]{3}",
        "H": r"[0-9]{2}",
        "M": r"[0-9]{2}",
        "S": r"[0-9]{2}",
        "f": r"[0-9]{1,6}",
        "s": r"[0-9]{10}",
        "z": r"Z|[+-][0-9]{2}:?[0-9]{2}",
    }
)
# These make folders; anything finer makes a listing of many small pieces.
_FOLDER_DIRECTIVES = frozenset("YmdjH")
_RESOLUTIONS_US = (("f", 1), ("S", _MICROSECONDS), ("s", _MICROSECONDS), ("M", 60 * _MICROSECONDS))
_HOUR_US = 3600 * _MICROSECONDS
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})")
_TOKEN = re.compile(r"%(.?)|(\*)|([^%*]+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedTime:
    """What a name says: one time, or the two that a local time can mean when clocks are changed."""

    candidates: tuple[int, ...]
    resolution_us: int

    def settle(self, duration_us: int, modified_at: int) -> tuple[int, int]:
        """The time, and what its choice adds to the error bound, for footage of a known length.

        Of two candidates the one whose footage ends when the file was last written is right. When neither or both
        do, the earlier stands, and the bound reaches to the later.
        """
        if len(self.candidates) == 1:
            return self.candidates[0], 0
        written = [at for at in self.candidates if abs(at + duration_us - modified_at) <= _WRITTEN_WITHIN_US]
        if len(written) == 1:
            return written[0], 0
        return self.candidates[0], self.candidates[-1] - self.candidates[0]


class NamePattern:
    """A pattern and the time zone that its times are in, unless the names tell it themselves."""

    def __init__(self, text: str, zone: tzinfo | None) -> None:
        """Raise ValueError, with the reason, for a pattern that tells no time."""
        self._tokens = _tokens(text)
        present = {value for kind, value in self._tokens if kind == "directive"}
        _require_time(present, zone)
        self._zone = zone or UTC
        self._expression = re.compile(_expression(self._tokens))
        self._resolution_us = next((us for name, us in _RESOLUTIONS_US if name in present), _HOUR_US)

    def match(self, name: str) -> NamedTime | None:
        """The time in `name`; None when it does not fit the pattern or is no time."""
        if len(name) > MAX_NAME_CHARACTERS:
            return None
        found = self._expression.fullmatch(name)
        if found is None:
            return None
        try:
            candidates = self._candidates(found.groupdict())
        except (ValueError, OverflowError):
            return None  # a 31st of February
        if not all(EARLIEST_EVENT <= at <= LATEST_EVENT for at in candidates):
            return None
        return NamedTime(candidates=candidates, resolution_us=self._resolution_us)

    def prefixes(self, first: int, last: int) -> tuple[str, ...]:
        """What every name with a time from `first` to `last` (µs) begins with: the folders of those days or hours."""
        leading = []
        for kind, value in self._tokens:
            if kind == "wildcard" or (kind == "directive" and value not in _FOLDER_DIRECTIVES):
                break
            leading.append((kind, value))
        # The names' zone may differ from ours where they tell it themselves; a day more costs little.
        margin = timedelta(hours=15 if ("directive", "z") in self._tokens else 1)
        at, end = moment(first) - margin, moment(last) + margin
        found = set()
        while at <= end:
            found.add("".join(_rendered(kind, value, at.astimezone(self._zone)) for kind, value in leading))
            at += _STEP
        return tuple(sorted(found))

    def _candidates(self, parts: dict[str, str | None]) -> tuple[int, ...]:
        fraction = int((parts.get("f") or "").ljust(6, "0"))
        if parts.get("s"):
            return (int(parts["s"] or 0) * _MICROSECONDS + fraction,)
        if parts.get("j"):
            day = datetime.strptime(f"{parts['Y']} {parts['j']}", "%Y %j")  # noqa: DTZ007 - the zone comes below
        else:
            day = datetime(int(parts["Y"] or 0), int(parts["m"] or 0), int(parts["d"] or 0))  # noqa: DTZ001 - as above
        local = day.replace(
            hour=int(parts["H"] or 0),
            minute=int(parts.get("M") or 0),
            second=int(parts.get("S") or 0),
            microsecond=fraction,
        )
        zone = parse_zone(parts["z"]) if parts.get("z") else self._zone
        # Both readings also differ for a time that the change to summer time skips: no clock showed it.
        times = {_since_epoch(local.replace(tzinfo=zone, fold=fold)) for fold in (0, 1)}
        return tuple(sorted(times))


def parse_zone(text: str | None) -> tzinfo:
    """`UTC`, an offset such as `+02:00`, or a name such as `Europe/Paris`. Raises ValueError."""
    if text in {"UTC", "Z"}:
        return UTC
    offset = _OFFSET.fullmatch(text or "")
    if offset:
        sign, hours, minutes = offset.groups()
        if int(hours) > 14 or int(minutes) > 59:  # noqa: PLR2004 - no zone lies further from UTC
            raise ValueError(f"{text} is no offset from UTC")
        return timezone(timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1))
    try:
        return ZoneInfo(text or "")
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"{text!r} is not a time zone that this machine knows") from error


def _tokens(text: str) -> list[tuple[str, str]]:
    if not 0 < len(text) <= MAX_PATTERN_CHARACTERS:
        raise ValueError(f"must have from 1 to {MAX_PATTERN_CHARACTERS} characters")
    tokens = []
    for directive, wildcard, literal in _TOKEN.findall(text):
        if wildcard:
            tokens.append(("wildcard", "*"))
        elif literal or directive == "%":
            tokens.append(("literal", literal or "%"))
        elif directive in _DIRECTIVES:
            tokens.append(("directive", directive))
        else:
            raise ValueError(f"%{directive} is not known; the parts are {', '.join(f'%{key}' for key in _DIRECTIVES)}")
    if sum(kind == "wildcard" for kind, _ in tokens) > MAX_WILDCARDS:
        raise ValueError(f"may have at most {MAX_WILDCARDS} wildcards (*)")
    return tokens


def _require_time(present: set[str], zone: tzinfo | None) -> None:
    if "s" in present:
        if present & set("YmdjHMSz"):
            raise ValueError("has %s, seconds since 1970, beside a date; one of them is enough")
        return
    if not ({"Y", "m", "d"} <= present or {"Y", "j"} <= present) or "H" not in present:
        raise ValueError("must tell a date and an hour at least: %Y %m %d %H, better with %M and %S; or %s")
    if {"m", "j"} <= present:
        raise ValueError("has %j, the day of the year, beside a month; one of them is enough")
    if ("S" in present and "M" not in present) or ("f" in present and "S" not in present):
        raise ValueError("has seconds without minutes, or fractions without seconds")
    if zone is None and "z" not in present:
        raise ValueError("tells no time zone (%z); say in time_zone what its times are in")


def _expression(tokens: list[tuple[str, str]]) -> str:
    seen: set[str] = set()
    parts = []
    for kind, value in tokens:
        if kind == "wildcard":
            parts.append(f"[^/]{{0,{_LONGEST_PART}}}")
        elif kind == "literal":
            parts.append(re.escape(value))
        elif value in seen:
            parts.append(f"(?P={value})")
        else:
            seen.add(value)
            parts.append(f"(?P<{value}>{_DIRECTIVES[value]})")
    return "".join(parts)


def _rendered(kind: str, value: str, at: datetime) -> str:
    # Not strftime for the year: it would not pad it everywhere.
    return value if kind == "literal" else f"{at.year:04}" if value == "Y" else at.strftime(f"%{value}")


def _since_epoch(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
