"""What reading any [authorities.NAME] table takes: known keys, numbers in bounds, and every problem told at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

N = TypeVar("N", int, float)


class TableProblem(ValueError):  # noqa: N818  # it carries problems for another error to tell
    """What is wrong with a table: `lines`, each to be appended to the table's name."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class Table:
    """One table, read key by key. `directory` is where relative paths begin."""

    def __init__(self, name: str, content: Mapping[str, object], *, directory: Path) -> None:
        self._name = name
        self._content = content
        self._directory = directory
        self._problems: list[str] = []

    def _require_known_keys(self, keys: frozenset[str]) -> None:
        for key in sorted(set(self._content) - keys):
            self._note(key, f"unknown key; the keys are {', '.join(sorted(keys))}")

    def _note(self, key: str, text: str) -> None:
        self._problems.append(f", {key}: {text}")

    def _raise_problems(self) -> None:
        if self._problems:
            raise TableProblem(self._problems)

    def _number(self, key: str, default: N, least: float, most: float) -> N:
        """The number at `key`, a whole one where the default is."""
        value = self._content.get(key, default)
        whole = isinstance(default, int)
        if (
            isinstance(value, bool)
            or not isinstance(value, int if whole else int | float)
            or not least <= value <= most
        ):
            self._note(key, f"must be a {'whole ' if whole else ''}number from {least:g} to {most:g}")
            return default
        return type(default)(value)
