"""Sealed members: salted digests in payloads and the disclosures beside the chain (`docs/spec/chain.md`, section 6)."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from verifier.canonical import NotCanonicalError, parse_canonical, parse_strict
from verifier.event import MAX_SEQUENCE, is_integer

MAX_DISCLOSURE_LINE_BYTES = 384 * 1024
"""A sealed member may be as large as a payload; base64url makes it a third larger. One line is read into memory."""

_DISCLOSURE_PARTS = 3
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}")
_RESERVED_NAMES = frozenset({"_sd", "_sd_alg", "..."})


class DisclosureError(ValueError):
    """A disclosure, or the file of them, is not what the format asks for; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disclosure:
    """One line of `data/disclosures.jsonl`."""

    sequence: int
    text: str

    @property
    def digest(self) -> str:
        """The digest under which the payload holds this disclosure."""
        hashed = hashlib.sha256(self.text.encode("ascii")).digest()
        return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode("ascii")


def sealed_digests(value: Any) -> Iterator[str]:
    """Yield every digest in `_sd` arrays of a parsed value, at any depth."""
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            stated = current.get("_sd")
            if isinstance(stated, list):
                yield from (text for text in stated if isinstance(text, str) and _DIGEST.fullmatch(text))
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)


def read_disclosure(line: bytes) -> Disclosure:
    """Read one line without its line end; raise `DisclosureError`."""
    try:
        members = parse_canonical(line)
    except NotCanonicalError as error:
        raise DisclosureError(f"its line is not canonical JSON: {error}") from error
    if not isinstance(members, dict) or sorted(members) != ["disclosure", "sequence"]:
        raise DisclosureError("its line does not have exactly the members disclosure and sequence")
    text, sequence = members["disclosure"], members["sequence"]
    if not isinstance(text, str) or not _BASE64URL.fullmatch(text) or not is_integer(sequence, 1, MAX_SEQUENCE):
        raise DisclosureError("its disclosure is not base64url or its sequence is not a positive integer")
    return Disclosure(sequence=sequence, text=text)


def disclosed_value(disclosure: Disclosure) -> Any:
    """Return the value a disclosure reveals; raise `DisclosureError` when it is not `[salt, name, value]`."""
    padded = disclosure.text + "=" * (-len(disclosure.text) % 4)
    try:
        parts = parse_strict(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, NotCanonicalError) as error:
        raise DisclosureError(f"it cannot be decoded: {error}") from error
    if not isinstance(parts, list) or len(parts) != _DISCLOSURE_PARTS:
        raise DisclosureError("it is not a list of salt, name and value")
    if not all(isinstance(part, str) for part in parts[:2]) or parts[1] in _RESERVED_NAMES:
        raise DisclosureError("its salt or name is not allowed")
    return parts[2]


def match_disclosures(digests: Iterable[str], disclosures: Iterable[Disclosure]) -> tuple[int, list[str]]:
    """Match the disclosures of one event against its sealed digests.

    Returns how many digests stay undisclosed, and what is wrong with disclosures that match nothing or cannot be read.
    """
    due = list(dict.fromkeys(digests))
    sealed = set(due)
    waiting = {disclosure.digest: disclosure for disclosure in disclosures}
    problems: list[str] = []
    opened: set[str] = set()
    # A disclosed value may hold further digests, so go on until nothing new opens. Every digest is looked at once.
    while due:
        digest = due.pop()
        if digest not in waiting:
            continue
        opened.add(digest)
        try:
            inner = set(sealed_digests(disclosed_value(waiting.pop(digest)))) - sealed
        except DisclosureError as error:
            problems.append(f"a disclosure is unusable: {error}")
        else:
            sealed |= inner
            due.extend(inner)
    problems.extend(f"the disclosure with digest {digest} matches nothing in the event" for digest in waiting)
    return len(sealed - opened), problems
