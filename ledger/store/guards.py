"""Refuses to serve from a database that does not guard itself.

The guards (migrations/sql) stop everyone but the tables' owner and a superuser, who could disable a trigger or replace
a function. That is noticed here, before the service takes its first request: triggers present, enabled under every
replication role and unchanged; row-level security on; roles without ownership or rights they must not have; commits
durable.
"""

import re
from collections.abc import Iterable
from typing import Any

import psycopg

from ledger.store.migrations import read_sql
from ledger.store.tables import metadata

_RECORD = (
    "organisations",
    "chains",
    "events",
    "anchors",
    "anchor_evidence",
    "verify_links",
    "verify_link_revocations",
)
_OF_ONE_ORGANISATION = (
    "chains",
    "disclosures",
    "anchor_jobs",
    "anchors",
    "anchor_evidence",
    "verify_links",
    "verify_link_revocations",
)
# Hidden from everyone under row-level security: the worker's own notes, in which organisations are not told apart.
_OF_THE_WORKER = ("tezos_batches", "tezos_attempts", "tezos_heads")
# Table, trigger: the definition as PostgreSQL writes it.
_TRIGGERS = {
    ("events", "guard_events"): (
        "CREATE TRIGGER guard_events AFTER INSERT ON indelible.events REFERENCING NEW TABLE AS inserted "
        "FOR EACH STATEMENT EXECUTE FUNCTION indelible.guard_events()"
    ),
    ("events", "queue_events"): (
        "CREATE TRIGGER queue_events AFTER INSERT ON indelible.events REFERENCING NEW TABLE AS inserted "
        "FOR EACH STATEMENT EXECUTE FUNCTION indelible.queue_events()"
    ),
    **{
        (table, "refuse_change"): (
            f"CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE OR TRUNCATE ON indelible.{table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION indelible.refuse_change()"
        )
        for table in _RECORD
    },
    **{
        (table, "refuse_change_of_row"): (
            f"CREATE TRIGGER refuse_change_of_row BEFORE DELETE OR UPDATE ON indelible.{table} "
            "FOR EACH ROW EXECUTE FUNCTION indelible.refuse_change()"
        )
        for table in _RECORD
    },
    **{
        (table, "guard_organisation"): (
            f"CREATE TRIGGER guard_organisation BEFORE INSERT ON indelible.{table} "
            "FOR EACH ROW EXECUTE FUNCTION indelible.guard_organisation()"
        )
        for table in _OF_ONE_ORGANISATION
    },
}
_POLICY = "(organisation_id = ( SELECT current_setting('indelible.organisation'::text, true) AS current_setting))"
_FUNCTION = re.compile(r"CREATE FUNCTION indelible\.(\w+)\(\)(.*?)AS \$function\$(.*?)\$function\$", re.DOTALL)
_SETTING = re.compile(r"SET (\w+) = (.+)")
# What no login role of the ledger may do to a table of the record.
_FORBIDDEN = ("UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "REFERENCES")

_FIND_TRIGGERS = """
SELECT c.relname, t.tgname, t.tgenabled::text, pg_get_triggerdef(t.oid)
  FROM pg_trigger AS t
  JOIN pg_class AS c ON c.oid = t.tgrelid
 WHERE c.relnamespace = 'indelible'::regnamespace AND NOT t.tgisinternal
"""
_FIND_FUNCTIONS = """
SELECT proname, prosrc, prosecdef, coalesce(proconfig, '{}')
  FROM pg_proc WHERE pronamespace = 'indelible'::regnamespace
"""
_FIND_TABLES = """
SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity, pg_get_userbyid(c.relowner),
       ARRAY(SELECT pg_get_expr(p.polqual, p.polrelid) FROM pg_policy AS p WHERE p.polrelid = c.oid)
  FROM pg_class AS c
 WHERE c.relnamespace = 'indelible'::regnamespace AND c.relkind IN ('r', 'p')
"""
_FIND_INDEXES = """
SELECT i.relname
  FROM pg_index AS x
  JOIN pg_class AS i ON i.oid = x.indexrelid
 WHERE x.indrelid = 'indelible.events'::regclass AND x.indisunique AND x.indisvalid AND x.indisready
"""
_UNIQUE = {"events_chain_key_sequence_key", "events_chain_key_prev_hash_key", "events_chain_key_idempotency_key_key"}
_FIND_ROLE = """
SELECT rolname, rolsuper, rolbypassrls, rolcreaterole,
       ARRAY(SELECT o.rolname FROM pg_roles AS o
              WHERE o.oid <> r.oid AND pg_has_role(r.oid, o.oid, 'MEMBER')
                AND EXISTS (SELECT FROM pg_class AS c WHERE c.relowner = o.oid
                               AND c.relnamespace = 'indelible'::regnamespace))
  FROM pg_roles AS r
 WHERE rolname = current_user
"""
_HAS_PRIVILEGE = """
SELECT t.name, p.name
  FROM unnest(%s::text[]) AS t (name) CROSS JOIN unnest(%s::text[]) AS p (name)
 WHERE has_table_privilege(format('indelible.%%I', t.name), p.name)
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


async def check_guards(connection: psycopg.AsyncConnection[Any]) -> None:
    """Check everything that does not depend on who asks. Raises GuardsMissingError."""
    found = await _rows(connection, _FIND_TABLES)
    missing = {table.name for table in metadata.tables.values()} - {row[0] for row in found}
    if missing:
        raise GuardsMissingError([f"table {name} is missing" for name in sorted(missing)])
    faults = [
        *_table_faults(found),
        *_trigger_faults(await _rows(connection, _FIND_TRIGGERS)),
        *_function_faults(await _rows(connection, _FIND_FUNCTIONS)),
    ]
    indexes = {row[0] for row in await _rows(connection, _FIND_INDEXES)}
    faults += [f"unique index {name} is missing or not valid" for name in sorted(_UNIQUE - indexes)]
    faults += [
        f"{name} is off, so a commit could be lost"
        for name, setting in await _rows(connection, _DURABILITY)
        if setting == "off"
    ]
    if faults:
        raise GuardsMissingError(faults)


async def check_role(connection: psycopg.AsyncConnection[Any], *, bypasses_row_security: bool) -> None:
    """Check that the connection's role can do no more than it must. Raises GuardsMissingError."""
    ((role, is_superuser, bypasses, creates_roles, owners),) = await _rows(connection, _FIND_ROLE)
    faults = []
    if is_superuser:
        faults.append(f"role {role} is a superuser")
    if creates_roles:
        faults.append(f"role {role} may create roles")
    if bypasses != bypasses_row_security:
        faults.append(f"role {role} {'is under' if bypasses_row_security else 'bypasses'} row-level security")
    owned = [row[0] for row in await _rows(connection, _FIND_TABLES) if row[2] == role]
    if owned or owners:
        faults.append(f"role {role} owns tables or may act for {', '.join(owners) or 'their owner'}")
    privileges = await (await connection.execute(_HAS_PRIVILEGE, (list(_RECORD), list(_FORBIDDEN)))).fetchall()
    faults += [f"role {role} has {privilege} on table {table}" for table, privilege in privileges]
    if faults:
        raise GuardsMissingError(faults)


def _table_faults(found: list[tuple[Any, ...]]) -> list[str]:
    declared = {table.name for table in metadata.tables.values()}
    return [
        f"row-level security of table {name} is not as migrated"
        for name, has_row_security, _, policies in found
        if name in declared and (not has_row_security or policies != ([] if name in _OF_THE_WORKER else [_POLICY]))
    ]


def _trigger_faults(found: list[tuple[Any, ...]]) -> list[str]:
    triggers = {(table, name): (enabled, definition) for table, name, enabled, definition in found}
    faults = []
    for (table, name), wanted in _TRIGGERS.items():
        enabled, definition = triggers.pop((table, name), (None, ""))
        if enabled is None:
            faults.append(f"trigger {name} on table {table} is missing")
        elif enabled != "A":  # "A" is ENABLE ALWAYS; "O" would not fire under session_replication_role = replica
            faults.append(f"trigger {name} on table {table} is disabled or not enabled always")
        elif definition != wanted:
            faults.append(f"trigger {name} on table {table} is not the one migrated")
    return faults + [f"trigger {name} on table {table} is not ours" for table, name in triggers]


def _function_faults(found: list[tuple[Any, ...]]) -> list[str]:
    functions = {name: (source, is_definer, settings) for name, source, is_definer, settings in found}
    return [
        f"function {name} is missing or not the one migrated"
        for name, head, source in _FUNCTION.findall(read_sql("0002_guards"))
        if functions.get(name) != (source, False, ["=".join(setting) for setting in _SETTING.findall(head)])
    ]


async def _rows(connection: psycopg.AsyncConnection[Any], query: str) -> list[tuple[Any, ...]]:
    return await (await connection.execute(query.encode())).fetchall()
