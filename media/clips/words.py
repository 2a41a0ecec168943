"""Reasons that people give, which go on the operations chain as they are."""

from media.errors import MediaError, Reason

MAX_REASON_CHARACTERS = 1_000


def check_reason(text: str) -> str:
    """A reason, as given. Raises MediaError (INVALID_ARGUMENT) for none, or one that no event could hold."""
    if not text.strip() or len(text) > MAX_REASON_CHARACTERS or "\x00" in text:
        raise MediaError(
            Reason.INVALID_ARGUMENT, f"reason must be 1 to {MAX_REASON_CHARACTERS} characters", {"field": "reason"}
        )
    return text
