"""Times as the formats write them: UTC, six fractional digits, `Z` (docs/spec/chain.md, section 3)."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """The machine's time."""
    return datetime.now(tz=UTC)


def moment(microseconds: int) -> datetime:
    """The time `microseconds` after 1970-01-01 UTC, without the rounding of floating point."""
    return _EPOCH + timedelta(microseconds=microseconds)


def rfc3339(time: datetime) -> str:
    """`time`, which must name its zone, as `2026-01-02T03:04:05.000006Z`."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
