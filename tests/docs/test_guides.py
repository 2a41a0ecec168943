"""The guides name every setting and only metrics that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
OPERATE = (ROOT / "docs/guides/operate.md").read_text(encoding="utf-8")


def code_of(*packages: str) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for name in packages for path in (ROOT / name).rglob("*.py"))


def test_the_operators_guide_explains_every_setting_and_no_other() -> None:
    settings = re.compile(r"INDELIBLE_[A-Z_]*[A-Z]")
    assert set(settings.findall(OPERATE)) == set(settings.findall(code_of("ledger", "gateway")))


def test_every_metric_the_guides_mention_exists() -> None:
    existing = set(re.findall(r'"(indelible_[a-z_]+)"', code_of("ledger", "gateway", "media")))
    for guide in (ROOT / "docs/guides").glob("*.md"):
        for name in re.findall(r"indelible_[a-z_]+(?![a-z_-])", guide.read_text(encoding="utf-8")):
            assert {name, name.removesuffix("_total")} & existing, f"{guide.name} mentions {name}"


def test_the_changelog_names_the_version_that_is_built() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
