"""Identifiers as callers write them, and the clock of the records."""

import time
from uuid import UUID


def read_uuid(text: str) -> UUID | None:
    """The identifier a text is; None for what is none, and for other spellings of one, which no answer of ours has."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text else None


def microseconds() -> int:
    """Now, in microseconds since 1970, as every time in the records is."""
    return time.time_ns() // 1000
