"""What requests may say: strict models, so that nothing is guessed and nothing is passed over in silence."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

MAX_CURSOR_CHARACTERS = 1_024
MAX_PAGE = 1_000
MAX_REASON_CHARACTERS = 1_000
# As the ledger has it: no chain will ever be that long.
MAX_SEQUENCE = 2**48 - 1
MAX_LINK_SECONDS = 3_600

# Text that says something: one letter, digit or sign at least, and no U+0000.
TEXT = r"^[^\u0000]*[!-~\u00c0-\u167f\u3041-\ud7ff][^\u0000]*$"
# The same on one line, without characters that nothing shows; of those, the services refuse some that no pattern names.
SHOWN = TEXT.replace(r"\u0000", r"\u0000-\u001f\u007f-\u009f\u2028\u2029")
# Printable ASCII that is not all spaces.
LINE = "^[ -~]*[!-~][ -~]*$"

_DIGITS = re.compile(r"[0-9]{1,20}", re.ASCII)
# RFC 3339 section 5.6, no finer than the microseconds that are kept.
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_TRUTHS = {"true": True, "false": False}


class Strict(BaseModel):
    """Unknown members, and values of another type, are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _number(value: Any) -> Any:
    """A number in an address: digits, and not everything that Python would read as one."""
    if isinstance(value, str):
        if _DIGITS.fullmatch(value) is None:
            raise ValueError("it must be a whole number, in digits")
        return int(value)
    return value


def _truth(value: Any) -> Any:
    if isinstance(value, str):
        if value not in _TRUTHS:
            raise ValueError("it must be true or false")
        return _TRUTHS[value]
    return value


def _moment(value: Any) -> Any:
    """A moment, in UTC from here on."""
    if not isinstance(value, str) or _MOMENT.fullmatch(value) is None:
        raise ValueError("it must be a date and time with its offset, as in 2026-03-01T12:00:10Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("there is no such date and time") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
Truth = Annotated[bool, BeforeValidator(_truth)]
# The bounds stand before the validator: behind it they would not be in the document.
Sequence = Annotated[int, Field(ge=1, le=MAX_SEQUENCE, description="Place in the chain."), BeforeValidator(_number)]
Limit = Annotated[int, Field(ge=1, le=MAX_PAGE, description="Items of a page at most."), BeforeValidator(_number)]
Cursor = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_CURSOR_CHARACTERS,
        pattern="^[A-Za-z0-9_-]+$",
        description="`next_cursor` of the page before; the rest of the request must be the same.",
    ),
]
SessionId = Annotated[
    str,
    Field(
        pattern="^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$",
        description='A session. "operations" is the operations chain of your organisation.',
    ),
]
Identifier = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_-]{0,62}$")]
Uuid = Annotated[str, Field(pattern="^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
FileName = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_.-]{0,62}$", description="Name of a file, as it is listed.")]
Kind = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$", max_length=64, description="Kind of an event.")
]
Reason = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_REASON_CHARACTERS,
        pattern=TEXT,
        description="Why. It goes on the operations chain.",
    ),
]
LinkSeconds = Annotated[
    int, Field(ge=1, le=MAX_LINK_SECONDS, description="How long the address is good for; 300 when not given.")
]


class PageQuery(Strict):
    """Which page of a list."""

    limit: Limit = 100
    cursor: Cursor | None = None


class SessionPath(Strict):
    """A session."""

    session_id: SessionId


class OptionalBody(Strict):
    """A body that may be left out altogether."""

    model_config = ConfigDict(openapi_extra={"required": False})  # type: ignore[typeddict-unknown-key]  # flask-openapi3's


class LinkBody(OptionalBody):
    """How long an address shall be good for."""

    valid_seconds: LinkSeconds | None = None
