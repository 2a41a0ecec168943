"""docs/guides/clips.md and docs/guides/recordings.md say what the code does."""

from pathlib import Path
from typing import Any

import pytest

from ledger.settings_reader import Reader
from media.errors import Reason
from media.recordings.control_settings import read_control
from media.recordings.processing_settings import read_processing
from media.service.errors import CODES
from media.service.permissions import METHOD_SCOPES
from media.settings import EvidenceSettings
from media.storage.client import StoreSettings

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/guides/clips.md").read_text(encoding="utf-8")
RECORDINGS = (ROOT / "docs/guides/recordings.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    return [row for guide in (GUIDE, RECORDINGS) for row in rows_of(guide, heading)]


def rows_of(guide: str, heading: str) -> list[list[str]]:
    section = guide.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
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


def test_the_guide_explains_every_variable_of_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()
    value, optional_file = Reader.value, Reader.optional_file

    def noted(self: Reader, name: str, *given: Any) -> Any:
        asked.add(name)
        return value(self, name, *given)

    def noted_file(self: Reader, name: str) -> Path | None:
        asked.add(name)
        return optional_file(self, name)

    monkeypatch.setattr(Reader, "value", noted)
    monkeypatch.setattr(Reader, "optional_file", noted_file)
    reader = Reader({"INDELIBLE_LIVEKIT_URL": "https://livekit.example.org"})
    assert read_control(reader, StoreSettings(bucket="b", profile="aws")) is not None
    read_processing(reader)
    assert len(asked) > 15
    shown = RECORDINGS.replace("(or `_FILE`)", "")
    missing = {name for name in asked if name not in shown and name.removesuffix("_FILE") not in shown}
    assert missing == set()
