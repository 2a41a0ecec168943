"""Pages of a list (AIP-158): a size, and an opaque token that continues exactly the list it came from.

A page token is not a permission: whatever it says, only the caller's own organisation is read. So it is checked for
its form and for belonging to the same question, and needs no signature.
"""

import base64
import binascii
import hashlib
import json

from ledger.errors import LedgerError, Reason

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1_000
MAX_PAGE_TOKEN_CHARACTERS = 1_024
_FINGERPRINT_CHARACTERS = 16

Position = list[str | int]


def page_size(asked: int) -> int:
    """How many items a page may have. Raises LedgerError (INVALID_ARGUMENT) for a negative size."""
    if asked < 0:
        raise LedgerError(Reason.INVALID_ARGUMENT, "page_size must not be negative.", {"field": "page_size"})
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def write_page_token(question: tuple[str, ...], position: Position) -> str:
    """The token that continues the list `question` describes after `position`."""
    text = json.dumps([_fingerprint(question), *position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode("ascii").rstrip("=")


def read_page_token(token: str, question: tuple[str, ...], kinds: tuple[type, ...]) -> Position | None:
    """Where to continue; None for the first page.

    `kinds` are the types of the position's parts. Raises LedgerError (INVALID_ARGUMENT) for a token that was not made
    for this very question: other filters, another chain or another method.
    """
    if not token:
        return None
    refusal = LedgerError(
        Reason.INVALID_ARGUMENT,
        "page_token does not belong to this list; repeat the request exactly, or start again without it.",
        {"field": "page_token"},
    )
    if len(token) > MAX_PAGE_TOKEN_CHARACTERS:
        raise refusal
    try:
        parts = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise refusal from None
    if not isinstance(parts, list) or not parts or parts[0] != _fingerprint(question):
        raise refusal
    position = parts[1:]
    if [type(part) for part in position] != list(kinds) or any(_out_of_range(part) for part in position):
        raise refusal
    return position


def _fingerprint(question: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(question).encode()).hexdigest()[:_FINGERPRINT_CHARACTERS]


def _out_of_range(part: str | int) -> bool:
    """Sequences stay below 2^48 and identifiers are short: nothing else may reach a query."""
    return not 0 <= part < 2**48 if isinstance(part, int) else "\x00" in part
