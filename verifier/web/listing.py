"""The events of a bundle as a page shows them: read as a stream, one page in memory, hostile text made harmless."""

import base64
import json
import unicodedata
from dataclasses import dataclass
from typing import Any

from verifier.bundle import DISCLOSURES, Bundle, UnusableBundle

EVENTS_PER_PAGE = 50
# One line of a table.
MAX_PREVIEW_CHARACTERS = 140
# Longer payloads have a page of their own: 50 of these keep a page under half a megabyte.
MAX_INLINE_CHARACTERS = 4_000
# A kind has at most 64; the rest is damage.
MAX_KIND_CHARACTERS = 100
# Formatted, a payload of the largest size may grow by its indentation; the rest is in the bundle.
MAX_PAYLOAD_CHARACTERS = 1_000_000
# An event has a handful; the rest is in the bundle.
MAX_DISCLOSURES_SHOWN = 100
# docs/spec/bundle.md, section 5.
MAX_DISCLOSURE_BYTES = 393_216
TOO_DEEP = "nested too deeply to be shown"
# Controls, invisible format characters (among them those that turn the writing direction round), separators.
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRow:
    """One event, ready to be shown.

    `preview` is its payload in a line, `payload` the same as formatted JSON; `cut` says that it was too long to show
    whole; `sealed` counts the members of which the chain holds only digests.
    """

    sequence: int
    kind: str
    occurred_at: str
    hash: str
    prev_hash: str
    preview: str
    payload: str
    cut: bool
    sealed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EventPage:
    """A page of events: `number` of `count` pages (from 1) over `total` events of one kind or of all."""

    rows: tuple[EventRow, ...]
    number: int
    count: int
    total: int
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Disclosed:
    """A sealed member that the bundle discloses: its name and its value as formatted JSON."""

    name: str
    value: str


class NoSuchPageError(LookupError):
    """The list has no such page, kind or event."""


def list_events(bundle: Bundle, *, number: int, kind: str, total: int) -> EventPage:
    """Page `number` of the events of `kind` ("" for all), of which the bundle is known to list `total`.

    Raises `NoSuchPageError`.
    """
    count = max(1, -(-total // EVENTS_PER_PAGE))
    if not 1 <= number <= count:
        raise NoSuchPageError
    to_skip = (number - 1) * EVENTS_PER_PAGE
    start, to_skip = (1 + to_skip, 0) if not kind else (1, to_skip)
    rows: list[EventRow] = []
    wanted = min(EVENTS_PER_PAGE, total - (number - 1) * EVENTS_PER_PAGE)
    try:
        for sequence, (event, _) in enumerate(bundle.iter_events(start=start), start=start):
            if len(rows) >= wanted:
                break
            if kind and kind_of(event) != kind:
                continue
            if to_skip:
                to_skip -= 1
                continue
            rows.append(_row(sequence, event, limit=MAX_INLINE_CHARACTERS))
    except UnusableBundle:
        # Damage ends the list early; the report above it says what and where.
        pass
    return EventPage(rows=tuple(rows), number=number, count=count, total=total, kind=kind)


def find_event(bundle: Bundle, sequence: int) -> tuple[EventRow, bytes]:
    """The event in line `sequence` (from 1) and its line as it is in the bundle. Raises `NoSuchPageError`."""
    try:
        for event, line in bundle.iter_events(start=sequence):
            return _row(sequence, event, limit=MAX_PAYLOAD_CHARACTERS), line
    except UnusableBundle:
        pass
    raise NoSuchPageError


def find_disclosures(bundle: Bundle, sequence: int) -> tuple[Disclosed, ...]:
    """The disclosed members of event `sequence`, at most `MAX_DISCLOSURES_SHOWN`, from a bundle that did not fail.

    Only then has the verifier matched each of them to a digest in the chain.
    """
    found: list[Disclosed] = []
    if DISCLOSURES not in bundle.sizes:
        return ()
    for line in bundle.iter_lines(DISCLOSURES, limit=MAX_DISCLOSURE_BYTES):
        entry = json.loads(line)
        # The lines are in the order of the events (docs/spec/bundle.md, section 5).
        if entry["sequence"] > sequence or len(found) == MAX_DISCLOSURES_SHOWN:
            break
        if entry["sequence"] == sequence:
            text = entry["disclosure"]
            try:
                _, name, value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
                formatted = visible(json.dumps(value, ensure_ascii=False, indent=2))
            except RecursionError:
                name, formatted = "", TOO_DEEP
            found.append(Disclosed(name=visible(name), value=formatted[:MAX_PAYLOAD_CHARACTERS]))
    return tuple(found)


def kind_of(event: dict[str, Any]) -> str:
    """The kind that an event states; cut, since a forged one may be of any length or cannot be written to a page."""
    return str(event.get("kind"))[:MAX_KIND_CHARACTERS].encode("utf-8", "backslashreplace").decode("utf-8")


def visible(text: str) -> str:
    """`text` with every character that cannot be seen written as its code point, so nothing can hide or reorder it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"⟨U+{ord(character):04X}⟩"
        if unicodedata.category(character) in _UNSEEN_CATEGORIES and character != "\n"
        else character
        for character in text
    )


def _row(sequence: int, event: dict[str, Any], *, limit: int) -> EventRow:
    content = event.get("payload")
    try:
        payload, sealed = visible(json.dumps(content, ensure_ascii=False, indent=2)), _sealed(content)
        preview = _preview(content)
    except RecursionError:
        # Hundreds of levels: no payload a ledger writes, but a forged one must not break the page.
        payload, sealed, preview = TOO_DEEP, 0, TOO_DEEP
    return EventRow(
        sequence=sequence,
        kind=visible(kind_of(event)),
        occurred_at=visible(str(event.get("occurred_at"))),
        hash=visible(str(event.get("hash"))),
        prev_hash=visible(str(event.get("prev_hash"))),
        preview=preview,
        payload=payload[:limit],
        cut=len(payload) > limit,
        sealed=sealed,
    )


def _preview(payload: Any) -> str:
    members = payload.items() if isinstance(payload, dict) else ()
    parts: list[str] = []
    room = MAX_PREVIEW_CHARACTERS
    for name, value in members:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        parts.append(visible(f"{name}: {text[: MAX_PREVIEW_CHARACTERS + 1]}").replace("\n", " "))
        room -= len(parts[-1]) + 2
        if room < 0:
            break
    preview = ", ".join(parts)
    return preview if len(preview) <= MAX_PREVIEW_CHARACTERS else preview[:MAX_PREVIEW_CHARACTERS] + "…"


def _sealed(value: Any) -> int:
    """How many members of a payload stand there only as digests (docs/spec/chain.md, section 6)."""
    if isinstance(value, dict):
        digests = value.get("_sd")
        here = len(digests) if isinstance(digests, list) else 0
        return here + sum(_sealed(member) for name, member in value.items() if name != "_sd")
    return sum(_sealed(item) for item in value) if isinstance(value, list) else 0
