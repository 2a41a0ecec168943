"""Names and texts that callers give, checked before they are kept or told."""

from media.clips.request import MAX_CHAIN_CHARACTERS, is_chain_id
from media.errors import MediaError, Reason
from media.recordings.control import ROOM_SEPARATOR

MAX_IDENTITY_CHARACTERS = 128
MAX_ROOM_CHARACTERS = 256
MAX_KEY_CHARACTERS = 128
MAX_STOP_REASON_CHARACTERS = 200


def check_session(text: str) -> str:
    """A session's chain, as given. Raises MediaError (INVALID_ARGUMENT)."""
    if not is_chain_id(text):
        expected = f"1 to {MAX_CHAIN_CHARACTERS} of a-z, 0-9 and '-', and not the operations chain"
        raise _invalid("session_chain_id", expected)
    return text


def check_identity(text: str, field: str) -> str:
    """A participant's identity in LiveKit, as given. Raises MediaError (INVALID_ARGUMENT)."""
    if not 0 < len(text) <= MAX_IDENTITY_CHARACTERS or not text.isprintable():
        raise _invalid(field, f"1 to {MAX_IDENTITY_CHARACTERS} printable characters")
    return text


def check_room(text: str, organisation_id: str) -> str:
    """A room of the organisation, as given.

    Raises MediaError: INVALID_ARGUMENT; ROOM_NOT_FOUND for any other organisation's.
    """
    if not 0 < len(text) <= MAX_ROOM_CHARACTERS or not text.isprintable():
        raise _invalid("room", f"1 to {MAX_ROOM_CHARACTERS} printable characters")
    if not text.startswith(organisation_id + ROOM_SEPARATOR):
        raise MediaError(
            Reason.ROOM_NOT_FOUND,
            f"rooms of your organisation are called {organisation_id}{ROOM_SEPARATOR}..., not {text!r}",
            {"field": "room"},
        )
    return text


def check_key(text: str) -> str:
    """An idempotency key, as given. Raises MediaError (INVALID_ARGUMENT)."""
    if not 0 < len(text) <= MAX_KEY_CHARACTERS or not (text.isascii() and text.isprintable()):
        raise _invalid("idempotency_key", f"1 to {MAX_KEY_CHARACTERS} printable ASCII characters")
    return text


def check_text(text: str, field: str, most: int) -> str:
    """A text that is not blank, as given. Raises MediaError (INVALID_ARGUMENT)."""
    if not text.strip() or len(text) > most or not text.isprintable():
        raise _invalid(field, f"1 to {most} printable characters")
    return text


def _invalid(field: str, expected: str) -> MediaError:
    return MediaError(Reason.INVALID_ARGUMENT, f"{field} must be {expected}", {"field": field})
