"""Who is anchored where: `default` and the [organisations.ID] tables of the authorities file.

default = ["freetsa", "notary"]

[organisations.acme]
authorities = ["notary", "tezos"]
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ledger.anchoring.table import TableProblem

# More than anyone writes by hand; each closing looks only at its own organisation's set.
MAX_ORGANISATIONS = 10_000

# As `indelible organisation add` takes it.
_ORGANISATION_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)
_KEY = "authorities"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """Names of authorities, in order: those of each organisation that has its own set, and of all others."""

    default: tuple[str, ...] = ()
    organisations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class ChoicesReader:
    """Reads who is anchored where, given the names of all authorities; every problem is kept and told at once."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._problems: list[str] = []

    def read(self, content: Mapping[str, object]) -> Choices:
        """The choices of a whole file. A set that is missing or empty is the default, and that is everyone.

        Raises TableProblem with everything that is wrong.
        """
        default = self._names(content.get("default", []), "default")
        organisations = self._organisations(content.get("organisations", {}))
        if self._problems:
            raise TableProblem(self._problems)
        return Choices(default=default or tuple(sorted(self._known)), organisations=organisations)

    def _organisations(self, tables: object) -> dict[str, tuple[str, ...]]:
        if not isinstance(tables, dict) or len(tables) > MAX_ORGANISATIONS:
            self._problems.append(f", organisations: must be at most {MAX_ORGANISATIONS} tables [organisations.ID]")
            return {}
        sets = {organisation_id: self._own_set(organisation_id, tables[organisation_id]) for organisation_id in tables}
        return {organisation_id: names for organisation_id, names in sets.items() if names}

    def _own_set(self, organisation_id: str, table: object) -> tuple[str, ...]:
        where = f"[organisations.{organisation_id}]"
        if _ORGANISATION_ID.fullmatch(organisation_id) is None:
            self._problems.append(f", {where}: no organisation can have this id; see `indelible organisation list`")
        if not isinstance(table, dict):
            self._problems.append(f", {where}: must be a table")
            return ()
        self._problems.extend(
            f", {where}, {key}: unknown key; the only key is {_KEY}" for key in sorted(set(table) - {_KEY})
        )
        if _KEY not in table:
            self._problems.append(f", {where}, {_KEY}: missing; list the names of this organisation's authorities")
            return ()
        return self._names(table[_KEY], f"{where}, {_KEY}")

    def _names(self, value: object, where: str) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self._problems.append(f', {where}: must be a list of names of authorities, such as ["a", "b"]')
            return ()
        self._problems.extend(
            f", {where}: names {name!r}, but there is no table [authorities.{name}]"
            for name in dict.fromkeys(value)
            if name not in self._known
        )
        if len(set(value)) < len(value):
            self._problems.append(f", {where}: names an authority twice")
        return tuple(sorted(value))
