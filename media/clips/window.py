"""Which part of wall time a clip shows: some seconds before the event to some seconds after it."""

from dataclasses import dataclass

from media.errors import MediaError, Reason
from media.video.values import Window

DEFAULT_BEFORE_SECONDS = 30
DEFAULT_AFTER_SECONDS = 60
# An incident, not a day's footage: copies, encoding and storage of an hour are what a worker is sized for.
MAX_WINDOW_SECONDS = 3600
# Outside of these years a time is a slip, and dates would soon run out.
EARLIEST_EVENT = 315_532_800_000_000  # 1980-01-01
LATEST_EVENT = 4_102_444_800_000_000  # 2100-01-01

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowLengths:
    """How long before and after an event, in seconds, as far as it is said here; None leaves it to the next level."""

    before_seconds: int | None = None
    after_seconds: int | None = None


def choose_window(event_at: int, *levels: WindowLengths) -> Window:
    """The window around `event_at`. Of the levels, given from the most special on, the first that says decides.

    Raises MediaError (INVALID_ARGUMENT) for lengths and times that no clip can have.
    """
    if not EARLIEST_EVENT <= event_at <= LATEST_EVENT:
        raise MediaError(
            Reason.INVALID_ARGUMENT, "the time of the event is not between 1980 and 2100", {"field": "event_at"}
        )
    before = _first([level.before_seconds for level in levels], DEFAULT_BEFORE_SECONDS)
    after = _first([level.after_seconds for level in levels], DEFAULT_AFTER_SECONDS)
    for field, seconds in (("before_seconds", before), ("after_seconds", after)):
        if not 0 <= seconds <= MAX_WINDOW_SECONDS:
            raise MediaError(
                Reason.INVALID_ARGUMENT,
                f"a clip may reach from 0 to {MAX_WINDOW_SECONDS} seconds from its event, not {seconds}",
                {"field": field},
            )
    if not 1 <= before + after <= MAX_WINDOW_SECONDS:
        raise MediaError(
            Reason.INVALID_ARGUMENT,
            f"a clip may last from 1 to {MAX_WINDOW_SECONDS} seconds in all, not {before + after}",
            {"field": "after_seconds"},
        )
    return Window(
        asked_from=event_at - before * _MICROSECONDS, asked_to=event_at + after * _MICROSECONDS, event_at=event_at
    )


def _first(values: list[int | None], default: int) -> int:
    return next((value for value in values if value is not None), default)
