"""docs/guides/clips.md says what the code does."""

from pathlib import Path

from media.errors import Reason
from media.service.errors import CODES
from media.service.permissions import METHOD_SCOPES
from media.settings import EvidenceSettings

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/guides/clips.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    section = GUIDE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_the_guide_lists_every_method_with_its_scope() -> None:
    assert {row[0]: row[1] for row in rows("Who may call")} == dict(METHOD_SCOPES)


def test_the_guide_lists_every_reason_with_its_status() -> None:
    assert {row[0]: row[1] for row in rows("Errors")} == {reason.value: CODES[reason].name for reason in Reason}


def test_the_guide_explains_every_variable() -> None:
    settings = (ROOT / "media/settings.py").read_text(encoding="utf-8")
    assert EvidenceSettings.__module__ == "media.settings"
    named = {word.strip('"') for word in settings.replace("(", " ").replace(",", " ").split() if "INDELIBLE_EV" in word}
    named = {name for name in named if name.isidentifier()}
    assert len(named) > 10
    assert [name for name in sorted(named) if name not in GUIDE] == []
