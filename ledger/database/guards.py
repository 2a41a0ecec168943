"""Refuses to serve from a database that does not guard itself.

Guards in a database (each schema's migrations/sql) stop everyone but the tables' owner and a superuser, who could
disable a trigger or replace a function. That is noticed here, before a service takes its first request: triggers
present, enabled under every replication role and unchanged; row-level security on; roles without ownership or rights
they must not have; commits durable.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

# The policy under which a role sees the rows of the organisation its transaction names, as PostgreSQL writes it.
OWN_ORGANISATION = (
    "(organisation_id = ( SELECT current_setting('indelible.organisation'::text, true) AS current_setting))"
)
_SETTING = re.compile(r"SET (\w+) = (.+)")

_FIND_TRIGGERS = """
SELECT c.relname, t.tgname, t.tgenabled::text, pg_get_triggerdef(t.oid)
  FROM pg_trigger AS t
  JOIN pg_class AS c ON c.oid = t.tgrelid
 WHERE c.relnamespace = %s::regnamespace AND NOT t.tgisinternal
"""
_FIND_FUNCTIONS = """
SELECT proname, prosrc, prosecdef, coalesce(proconfig, '{}')
  FROM pg_proc WHERE pronamespace = %s::regnamespace
"""
_FIND_TABLES = """
SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity, pg_get_userbyid(c.relowner),
       ARRAY(SELECT pg_get_expr(p.polqual, p.polrelid) FROM pg_policy AS p WHERE p.polrelid = c.oid)
  FROM pg_class AS c
 WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind IN ('r', 'p')
"""
_FIND_INDEXES = """
SELECT i.relname
  FROM pg_index AS x
  JOIN pg_class AS i ON i.oid = x.indexrelid
 WHERE i.relnamespace = %s::regnamespace AND x.indisunique AND x.indisvalid AND x.indisready
"""
_FIND_ROLE = """
SELECT rolname, rolsuper, rolbypassrls, rolcreaterole,
       ARRAY(SELECT o.rolname FROM pg_roles AS o
              WHERE o.oid <> r.oid AND pg_has_role(r.oid, o.oid, 'MEMBER')
                AND EXISTS (SELECT FROM pg_class AS c WHERE c.relowner = o.oid
                               AND c.relnamespace = %s::regnamespace))
  FROM pg_roles AS r
 WHERE rolname = current_user
"""
_HAS_PRIVILEGE = """
SELECT t.name, t.privilege
  FROM unnest(%s::text[], %s::text[]) AS t (name, privilege)
 WHERE has_table_privilege(format('%%I.%%I', %s::text, t.name), t.privilege)
"""
_DURABILITY = "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes')"


class GuardsMissingError(RuntimeError):
    """The database does not guard the record; each of `faults` is a sentence for the operator."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(
            "the database does not guard its record, so nothing is served from it: "
            + "; ".join(self.faults)
            + ". Run `indelible migrate`; if that does not help, someone has changed the database"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Guards:
    """How one schema guards itself, as migrated. Definitions are written as PostgreSQL writes them.

    `policies` has an entry for every table: the row-level security policies on it, perhaps none. `functions` is the
    text of the migration that creates them. `forbidden` is what no login role may do: table and privilege.
    """

    schema: str
    policies: Mapping[str, tuple[str, ...]]
    triggers: Mapping[tuple[str, str], str]
    functions: str
    unique: frozenset[str]
    forbidden: tuple[tuple[str, str], ...]

    async def check(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Check everything that does not depend on who asks. Raises GuardsMissingError."""
        tables = await self._rows(connection, _FIND_TABLES)
        missing = self.policies.keys() - {row[0] for row in tables}
        if missing:
            raise GuardsMissingError([f"table {name} is missing" for name in sorted(missing)])
        faults = [
            *self._table_faults(tables),
            *self._trigger_faults(await self._rows(connection, _FIND_TRIGGERS)),
            *self._function_faults(await self._rows(connection, _FIND_FUNCTIONS)),
        ]
        indexes = {row[0] for row in await self._rows(connection, _FIND_INDEXES)}
        faults += [f"unique index {name} is missing or not valid" for name in sorted(self.unique - indexes)]
        faults += [
            f"{name} is off, so a commit could be lost"
            for name, setting in await (await connection.execute(_DURABILITY)).fetchall()
            if setting == "off"
        ]
        if faults:
            raise GuardsMissingError(faults)

    async def check_role(self, connection: psycopg.AsyncConnection[Any], *, bypasses_row_security: bool) -> None:
        """Check that the connection's role can do no more than it must. Raises GuardsMissingError."""
        ((role, is_superuser, bypasses, creates_roles, owners),) = await self._rows(connection, _FIND_ROLE)
        faults = []
        if is_superuser:
            faults.append(f"role {role} is a superuser")
        if creates_roles:
            faults.append(f"role {role} may create roles")
        if bypasses != bypasses_row_security:
            faults.append(f"role {role} {'is under' if bypasses_row_security else 'bypasses'} row-level security")
        owned = [row[0] for row in await self._rows(connection, _FIND_TABLES) if row[2] == role]
        if owned or owners:
            faults.append(f"role {role} owns tables or may act for {', '.join(owners) or 'their owner'}")
        parameters = [list(column) for column in zip(*self.forbidden, strict=True)]
        privileges = await (await connection.execute(_HAS_PRIVILEGE, (*parameters, self.schema))).fetchall()
        faults += [f"role {role} has {privilege} on table {table}" for table, privilege in privileges]
        if faults:
            raise GuardsMissingError(faults)

    def _table_faults(self, found: list[tuple[Any, ...]]) -> list[str]:
        return [
            f"row-level security of table {name} is not as migrated"
            for name, has_row_security, _, policies in found
            if name in self.policies and (not has_row_security or tuple(policies) != self.policies[name])
        ]

    def _trigger_faults(self, found: list[tuple[Any, ...]]) -> list[str]:
        triggers = {(table, name): (enabled, definition) for table, name, enabled, definition in found}
        faults = []
        for (table, name), wanted in self.triggers.items():
            enabled, definition = triggers.pop((table, name), (None, ""))
            if enabled is None:
                faults.append(f"trigger {name} on table {table} is missing")
            elif enabled != "A":  # "A" is ENABLE ALWAYS; "O" would not fire under session_replication_role = replica
                faults.append(f"trigger {name} on table {table} is disabled or not enabled always")
            elif definition != wanted:
                faults.append(f"trigger {name} on table {table} is not the one migrated")
        return faults + [f"trigger {name} on table {table} is not ours" for table, name in triggers]

    def _function_faults(self, found: list[tuple[Any, ...]]) -> list[str]:
        functions = {name: (source, is_definer, settings) for name, source, is_definer, settings in found}
        created = re.findall(
            rf"CREATE FUNCTION {self.schema}\.(\w+)\(\)(.*?)AS \$function\$(.*?)\$function\$", self.functions, re.DOTALL
        )
        return [
            f"function {name} is missing or not the one migrated"
            for name, head, source in created
            if functions.get(name) != (source, False, ["=".join(setting) for setting in _SETTING.findall(head)])
        ]

    async def _rows(self, connection: psycopg.AsyncConnection[Any], query: str) -> list[tuple[Any, ...]]:
        return await (await connection.execute(query.encode(), (self.schema,))).fetchall()
