"""Create or upgrade the ledger's database, and the schemas that other packages keep in it."""

import time
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from typing import Protocol

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from ledger.database.history import read_sql
from ledger.roles import APPEND_ROLE, OWNER_ROLE, RUNTIME_ROLE, WORKER_ROLE
from ledger.store.tables import SCHEMA

_LOGIN_ROLES = (RUNTIME_ROLE, APPEND_ROLE, WORKER_ROLE)
_MIGRATIONS = "ledger.store.migrations"

# Virtual generated columns came with PostgreSQL 18.
_OLDEST_SERVER_VERSION = 180000
# Two-part advisory locks are a space of their own, apart from the single numbers that stand for chains.
_MIGRATION_LOCK = (0x1DE1, 1)
# Roles belong to the server, so two databases migrated at once may meet on them; each try takes a millisecond.
_ROLE_ATTEMPTS = 20
_ROLE_RETRY_SECONDS = 0.1


class Schema(Protocol):
    """A schema with a history of its own: what it is called, the package of its versions, and its login roles.

    Other packages name a module with these three in the entry-point group `indelible.schemas`.
    """

    SCHEMA: str
    MIGRATIONS: str
    # Each login role, and the variable whose address holds its password.
    LOGIN_ROLES: Mapping[str, str]


class MigrationError(RuntimeError):
    """The database cannot hold a ledger; the text says why and what to do."""


def migrate(admin_dsn: str, passwords: Mapping[str, str], schemas: Sequence[Schema] = ()) -> None:
    """Bring the database to the newest schema and set the login roles' passwords. Repeating it changes nothing.

    `passwords` has one for each login role, those of `schemas` included. `admin_dsn` names a superuser, or a role that
    may create roles and bypass row-level security. Two migrations of one database wait for each other. Raises
    MigrationError, psycopg.Error.
    """
    histories: list[tuple[str, str, Sequence[str]]] = [(SCHEMA, _MIGRATIONS, _LOGIN_ROLES)]
    histories += [(other.SCHEMA, other.MIGRATIONS, tuple(other.LOGIN_ROLES)) for other in schemas]
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        _require_suitable(connection)
        connection.execute("SELECT pg_advisory_lock(%s, %s)", _MIGRATION_LOCK)
        for schema, package, roles in histories:
            _prepare_roles(connection, package, {role: passwords[role] for role in roles})
            connection.execute(
                sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(
                    sql.Identifier(schema), sql.Identifier(OWNER_ROLE)
                )
            )
            _upgrade(admin_dsn, package)


def _require_suitable(connection: psycopg.Connection) -> None:
    if connection.info.server_version < _OLDEST_SERVER_VERSION:
        raise MigrationError(
            f"PostgreSQL 18 or newer is needed; this server is {connection.info.parameter_status('server_version')}"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise MigrationError(f"the database's encoding must be UTF8, it is {encoding}: create it with ENCODING 'UTF8'")


def _prepare_roles(connection: psycopg.Connection, package: str, passwords: Mapping[str, str]) -> None:
    for attempt in range(1, _ROLE_ATTEMPTS + 1):
        try:
            connection.execute(read_sql(package, "roles").encode())
            for role, password in passwords.items():
                # Hashed here, so that the password appears in no server log.
                verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))
                )
        except psycopg.errors.InternalError_:  # "tuple concurrently updated", by the migration of another database
            if attempt == _ROLE_ATTEMPTS:
                raise
            time.sleep(_ROLE_RETRY_SECONDS)
        else:
            return


def _upgrade(admin_dsn: str, package: str) -> None:
    engine = _engine(admin_dsn)
    with as_file(files(package)) as location, engine.connect() as connection:
        connection.exec_driver_sql(f"SET ROLE {OWNER_ROLE}")
        connection.commit()
        config = Config()
        config.set_main_option("script_location", str(location).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    engine.dispose()


def _engine(dsn: str) -> Engine:
    return create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)
