"""Keys of objects: the organisation first, then the day, and what it is of (docs/spec/clip.md, docs/spec/recording.md).

Every part is checked, so that no identifier can lead out of its place: there is no separator, no dot and no upper case
in any of them, on no system.
"""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from media.errors import MediaError, Reason

_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
# The ledger's own rule, since the organisations are the ledger's.
_ORGANISATION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)
_ARTEFACT_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_identifier(text: str, field: str) -> str:
    """A source, camera or incident, as given. Raises `MediaError` INVALID_ARGUMENT naming `field`."""
    if _IDENTIFIER.fullmatch(text) is None:
        raise _invalid(field, "1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter or digit")
    return text


def check_organisation(text: str) -> str:
    """An organisation, as given. Raises `MediaError` INVALID_ARGUMENT."""
    if _ORGANISATION.fullmatch(text) is None:
        raise _invalid("organisation", "1 to 64 of a-z, 0-9 and '-', beginning and ending with a letter or digit")
    return text


def clip_prefix(organisation_id: str, event_at: int, camera_id: str, incident_id: str) -> str:
    """What the keys of a clip begin with; the day is that of the event, in UTC.

    Raises `MediaError` INVALID_ARGUMENT for an identifier or time that has no place in a key.
    """
    return (
        f"{check_organisation(organisation_id)}/{_day(event_at, 'event_at')}/"
        f"{check_identifier(camera_id, 'camera')}/{check_identifier(incident_id, 'incident')}/"
    )


def recording_prefix(organisation_id: str, started_at: int, recording_id: UUID) -> str:
    """What the keys of a recording's finished files begin with; the day is that of its start, in UTC."""
    return f"{check_organisation(organisation_id)}/recordings/{_day(started_at, 'started_at')}/{recording_id}/"


def raw_recording_key(organisation_id: str, recording_id: UUID, tile: int | None, number: int) -> str:
    """Where LiveKit puts the file of one egress, of a tile or, for None, of the composite."""
    name = "composite" if tile is None else str(tile)
    return f"{check_organisation(organisation_id)}/recordings/raw/{recording_id}/{name}-{number}.mp4"


def artefact_key(prefix: str, name: str) -> str:
    """The key of one artefact. Raises `MediaError` INVALID_ARGUMENT."""
    if _ARTEFACT_NAME.fullmatch(name) is None:
        raise _invalid("artefact", "1 to 63 of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit")
    return prefix + name


def prefix_of(key: str) -> str:
    """The part of a listed key that would name its clip."""
    return key[: key.rfind("/") + 1]


def _day(at: int, field: str) -> str:
    try:
        day = _EPOCH + timedelta(microseconds=at)
    except OverflowError as error:
        raise _invalid(field, "a time in the years 1 to 9999") from error
    return f"{day.year:04}/{day.month:02}/{day.day:02}"


def _invalid(field: str, expected: str) -> MediaError:
    return MediaError(Reason.INVALID_ARGUMENT, f"{field} must be {expected}", {"field": field})
