"""What the schemas' tests share: a schema as PostgreSQL sees it, and the start-up check of a damaged one."""

import asyncio

import psycopg
from sqlalchemy import MetaData, create_engine
from sqlalchemy.pool import NullPool

from ledger.database.guards import Guards

_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
       pg_get_expr(d.adbin, d.adrelid), a.attcollation::regcollation::text
  FROM pg_attribute AS a
  JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind = 'r' AND c.relname <> 'alembic_version'
  LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relnamespace = %(schema)s::regnamespace AND a.attnum > 0
 ORDER BY c.relname, a.attnum
"""
_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(oid)
  FROM pg_constraint
 WHERE connamespace = %(schema)s::regnamespace AND contype <> 't'
   AND conrelid <> coalesce(to_regclass(%(schema)s || '.alembic_version'), 0)
 ORDER BY 1, 2
"""
_INDEXES = """
SELECT tablename, indexname, indexdef FROM pg_indexes
 WHERE schemaname = %(schema)s AND tablename <> 'alembic_version' ORDER BY 1, 2
"""

Catalogue = dict[str, list[tuple[object, ...]]]


def catalogue(dsn: str, schema: str) -> Catalogue:
    """Columns, constraints and indexes of a schema."""
    with psycopg.connect(dsn) as connection:
        return {
            name: connection.execute(query.encode(), {"schema": schema}).fetchall()
            for name, query in (("columns", _COLUMNS), ("constraints", _CONSTRAINTS), ("indexes", _INDEXES))
        }


def declared_catalogue(empty_dsn: str, metadata: MetaData) -> Catalogue:
    """The catalogue of the tables that `metadata` declares, made in an empty database."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(empty_dsn), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {metadata.schema}")
        metadata.create_all(connection)
    declared = catalogue(empty_dsn, str(metadata.schema))
    assert all(declared.values())
    return declared


def diagnose(admin_dsn: str, guards: Guards, damage: str, *, role: str | None = None, bypasses: bool = False) -> None:
    """Do the damage in a transaction, run the start-up check on it, and undo it."""

    async def check() -> None:
        async with await psycopg.AsyncConnection.connect(admin_dsn) as connection:
            try:
                await connection.execute(damage.encode())
                if role is None:
                    await guards.check(connection)
                else:
                    await connection.execute(f"SET LOCAL ROLE {role}".encode())
                    await guards.check_role(connection, bypasses_row_security=bypasses)
            finally:
                await connection.rollback()

    asyncio.run(check())
