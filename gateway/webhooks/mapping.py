"""How an alert of somebody else's system becomes a request for a clip.

Every system sends its own JSON. A mapping says where in it the camera, the incident and the time stand, by JSON Pointer
(RFC 6901), and which alerts count. It is data that an organisation writes and that is checked when it is stored;
nothing in it is executed.
"""

import hashlib
import re
from collections.abc import Mapping as Table
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_CONDITIONS = 16
MAX_NAMES = 500
MAX_WINDOW_SECONDS = 3_600
_MISSING = object()
_SAFE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_DIGEST_CHARACTERS = 12

Pointer = Annotated[str, Field(pattern=r"^(/([^~/]|~0|~1)*)+$", max_length=256)]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Scalar = str | int | float | bool | None


class AlertError(ValueError):
    """An alert that the mapping cannot read: `pointer` is where, the text what is wrong there."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Condition(_Strict):
    """Alerts count only when the value at `pointer` is one of `equals`."""

    pointer: Pointer
    equals: Annotated[list[Scalar], Field(min_length=1, max_length=100)]


class Name(_Strict):
    """A name: always the same, or read from the alert and perhaps translated."""

    constant: Identifier | None = None
    pointer: Pointer | None = None
    # The other system's name for it, and ours.
    names: Annotated[dict[str, Identifier], Field(max_length=MAX_NAMES)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_of_both(self) -> "Name":
        if (self.constant is None) == (self.pointer is None):
            raise ValueError("give either constant or pointer")
        if self.constant is not None and self.names:
            raise ValueError("a constant needs no names")
        return self


class Moment(_Strict):
    """When it happened."""

    pointer: Pointer
    format: Literal["rfc3339", "unix_seconds", "unix_milliseconds"] = "rfc3339"


class Seconds(_Strict):
    """A length of time: always the same, or read from the alert."""

    constant: Annotated[float, Field(ge=0, le=MAX_WINDOW_SECONDS)] | None = None
    pointer: Pointer | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "Seconds":
        if (self.constant is None) == (self.pointer is None):
            raise ValueError("give either constant or pointer")
        return self


class AlertMapping(_Strict):
    """Where an alert says what."""

    # All must hold; an alert that fails one is received and left alone.
    when: Annotated[list[Condition], Field(max_length=MAX_CONDITIONS)] = Field(default_factory=list)
    source: Name
    incident: Name
    # Left out: the moment the alert arrived.
    event_at: Moment | None = None
    before: Seconds | None = None
    after: Seconds | None = None

    @model_validator(mode="after")
    def _incidents_differ(self) -> "AlertMapping":
        if self.incident.constant is not None:
            raise ValueError("incident: read it from the alert; a constant would make all alerts the same incident")
        return self


# What a sender uses who can shape the alert to our liking.
GENERIC = AlertMapping(
    source=Name(pointer="/source"),
    incident=Name(pointer="/incident"),
    event_at=Moment(pointer="/event_at"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """What an alert asks for."""

    source: str
    incident: str
    event_at: datetime
    before_seconds: float | None
    after_seconds: float | None


def read_alert(mapping: AlertMapping, document: Any, *, received_at: datetime) -> Alert | None:
    """What the alert asks for; None when the mapping's conditions leave it alone. Raises AlertError."""
    if not isinstance(document, dict):
        raise AlertError("", "an alert is a JSON object")
    if not all(_holds(condition, document) for condition in mapping.when):
        return None
    return Alert(
        source=_name(mapping.source, document),
        incident=_name(mapping.incident, document),
        event_at=received_at if mapping.event_at is None else _moment(mapping.event_at, document),
        before_seconds=_seconds(mapping.before, document),
        after_seconds=_seconds(mapping.after, document),
    )


def safe_identifier(text: str) -> str:
    """An identifier of ours for a name of theirs: itself where it is one, else what is legible of it and its digest.

    The digest keeps two names apart that differ only in what was dropped.
    """
    if _SAFE.fullmatch(text):
        return text
    legible = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40]
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{legible}-{digest}" if legible else digest


def _holds(condition: Condition, document: Any) -> bool:
    value = _at(condition.pointer, document)
    # True is not 1 here, whatever Python says.
    return any(type(value) is type(one) and value == one for one in condition.equals)


def _name(name: Name, document: Any) -> str:
    if name.pointer is None:
        return name.constant or ""
    value = _at(name.pointer, document)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise AlertError(name.pointer, "there is no name: a text or a whole number is expected")
    text = str(value)
    if name.names:
        if text not in name.names:
            raise AlertError(name.pointer, f"{text[:100]!r} is not among the names of the mapping")
        return name.names[text]
    return safe_identifier(text)


def _moment(moment: Moment, document: Any) -> datetime:
    value = _at(moment.pointer, document)
    try:
        time = _parsed(value) if moment.format == "rfc3339" else _counted(value, moment.format)
    except (ValueError, OverflowError, TypeError) as error:
        raise AlertError(moment.pointer, f"this is no time of the form {moment.format}: {error}") from None
    return time


def _parsed(value: Any) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError("it has no zone; end it with Z for UTC")
    return time.astimezone(UTC)


def _counted(value: Any, unit: str) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number is expected")
    seconds = value / 1000 if unit == "unix_milliseconds" else value
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def _seconds(seconds: Seconds | None, document: Any) -> float | None:
    if seconds is None or seconds.pointer is None:
        return None if seconds is None else seconds.constant
    value = _at(seconds.pointer, document)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_WINDOW_SECONDS:
        raise AlertError(seconds.pointer, f"a number of seconds from 0 to {MAX_WINDOW_SECONDS} is expected")
    return float(value)


def _at(pointer: str, document: Any) -> Any:
    """The value a JSON Pointer leads to; a marker of its own where there is none."""
    value = document
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Table):
            value = value.get(key, _MISSING)
        elif isinstance(value, list) and key.isascii() and key.isdigit() and len(key) < 7:  # noqa: PLR2004 - a million
            value = value[int(key)] if int(key) < len(value) else _MISSING
        else:
            return _MISSING
    return value
