"""Create or upgrade the ledger's database."""

import time
from importlib.resources import as_file, files

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from ledger.store.migrations import read_sql

OWNER_ROLE = "indelible_owner"
RUNTIME_ROLE = "indelible_runtime"
APPEND_ROLE = "indelible_append"
WORKER_ROLE = "indelible_worker"

# Virtual generated columns came with PostgreSQL 18.
_OLDEST_SERVER_VERSION = 180000
# Two-part advisory locks are a space of their own, apart from the single numbers that stand for chains.
_MIGRATION_LOCK = (0x1DE1, 1)
# Roles belong to the server, so two databases migrated at once may meet on them; each try takes a millisecond.
_ROLE_ATTEMPTS = 20
_ROLE_RETRY_SECONDS = 0.1


class MigrationError(RuntimeError):
    """The database cannot hold a ledger; the text says why and what to do."""


def migrate(admin_dsn: str, *, runtime_password: str, append_password: str, worker_password: str) -> None:
    """Bring the database to the newest schema and set the login roles' passwords. Repeating it changes nothing.

    `admin_dsn` names a superuser, or a role that may create roles and bypass row-level security. Two migrations of one
    database wait for each other. Raises MigrationError, psycopg.Error.
    """
    passwords = {RUNTIME_ROLE: runtime_password, APPEND_ROLE: append_password, WORKER_ROLE: worker_password}
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        _require_suitable(connection)
        connection.execute("SELECT pg_advisory_lock(%s, %s)", _MIGRATION_LOCK)
        _prepare_roles(connection, passwords)
        connection.execute(
            sql.SQL("CREATE SCHEMA IF NOT EXISTS indelible AUTHORIZATION {}").format(sql.Identifier(OWNER_ROLE))
        )
        _upgrade(admin_dsn)


def _require_suitable(connection: psycopg.Connection) -> None:
    if connection.info.server_version < _OLDEST_SERVER_VERSION:
        raise MigrationError(
            f"PostgreSQL 18 or newer is needed; this server is {connection.info.parameter_status('server_version')}"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise MigrationError(f"the database's encoding must be UTF8, it is {encoding}: create it with ENCODING 'UTF8'")


def _prepare_roles(connection: psycopg.Connection, passwords: dict[str, str]) -> None:
    for attempt in range(1, _ROLE_ATTEMPTS + 1):
        try:
            connection.execute(read_sql("roles").encode())
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


def _upgrade(admin_dsn: str) -> None:
    engine = _engine(admin_dsn)
    with as_file(files("ledger.store.migrations")) as location, engine.connect() as connection:
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
