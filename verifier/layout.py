"""How reports are laid out for people: the same for a bundle, a time-stamp, a receipt and a proof.

The verdict and what it means come first, then facts, then each check with what it shows, then findings.
"""

from collections.abc import Iterable, Iterator
from textwrap import wrap

from verifier.findings import Finding, Severity

_WIDTH = 96
_TITLE = 15
_MARKS = {Severity.ERROR: "WRONG", Severity.WARNING: "NOTE", Severity.INFO: "note"}


def opening(verdict: str, meaning: str) -> Iterator[str]:
    """The first lines of a report."""
    yield verdict
    yield from wrapped(meaning)
    yield ""


def fact(title: str, text: str) -> str:
    """A line with something about what was checked."""
    return f"{title:<{_TITLE}}{text}"


def check(name: str, outcome: str, text: str) -> Iterator[str]:
    """One check: how it ended, and what it shows."""
    yield f"  {name:<{_TITLE}}{outcome}"
    yield from wrapped(text, indent=_TITLE + 2)


def findings(found: Iterable[Finding], *, indent: int = 2) -> Iterator[str]:
    """Findings, each with its weight and, for whoever looks it up, its code."""
    for finding in found:
        first = f"{' ' * indent}{_MARKS[finding.severity]:<7}"
        yield from wrapped(f"{safe(finding.message)} [{finding.code}]", indent=indent + 7, first=first)


def not_proved(texts: Iterable[str]) -> Iterator[str]:
    """What nobody should conclude from the report."""
    yield ""
    yield "What this does not prove"
    for text in texts:
        yield from wrapped(text, indent=4, first="  - ")


def wrapped(text: str, *, indent: int = 0, first: str | None = None) -> list[str]:
    """`text` in lines. Codes and hashes stay in one piece, for whoever searches for them."""
    space = " " * indent
    return wrap(
        text,
        _WIDTH,
        initial_indent=space if first is None else first,
        subsequent_indent=space,
        break_on_hyphens=False,
        break_long_words=False,
    )


def safe(text: str) -> str:
    """Names in a bundle are a stranger's: nothing in them may move the cursor or turn the writing direction round."""
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)
