"""Indelible's database on a sandbox server: migrated once, then copied as often as needed."""

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from gateway.records import schema as gateway
from ledger.store.migrate import migrate
from media.records import schema as evidence
from sandbox.postgres import Postgres

RUNTIME_ROLE = "indelible_runtime"
APPEND_ROLE = "indelible_append"
WORKER_ROLE = "indelible_worker"
EVIDENCE_ROLE = "indelible_evidence"
EVIDENCE_WORKER_ROLE = "indelible_evidence_worker"
_ROLES = (
    RUNTIME_ROLE,
    APPEND_ROLE,
    WORKER_ROLE,
    EVIDENCE_ROLE,
    EVIDENCE_WORKER_ROLE,
    gateway.DOOR_ROLE,
    gateway.WORKER_ROLE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Database:
    """Connection strings of one migrated database: the superuser's, and those of the login roles."""

    name: str
    admin_dsn: str
    runtime_dsn: str
    append_dsn: str
    worker_dsn: str
    evidence_dsn: str
    evidence_worker_dsn: str
    gateway_dsn: str
    gateway_worker_dsn: str


class Databases:
    """The databases of one server. The login roles' passwords belong to the server, and are kept beside its data."""

    def __init__(self, server: Postgres) -> None:
        """Use `server`, which must be running."""
        self._server = server
        self._passwords = _load_or_make_passwords(server.directory.parent / "role-passwords.json")

    def migrated(self, name: str) -> Database:
        """The database `name`, created if it is missing, with the newest schema."""
        with self._connect() as connection:
            exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
            if exists is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        database = self._describe(name)
        migrate(database.admin_dsn, self._passwords, [evidence, gateway])
        return database

    @contextlib.contextmanager
    def copy(self, template: Database) -> Iterator[Database]:
        """A fresh copy of `template`, dropped afterwards whoever is still connected to it.

        Nobody may be connected to the template.
        """
        name = sql.Identifier(made := f"{template.name}_{secrets.token_hex(6)}")
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(template.name)))
        try:
            yield self._describe(made)
        finally:
            with self._connect() as connection:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def _describe(self, name: str) -> Database:
        def dsn_of(role: str) -> str:
            return self._server.dsn(name, user=role, password=self._passwords[role])

        return Database(
            name=name,
            admin_dsn=self._server.dsn(name),
            runtime_dsn=dsn_of(RUNTIME_ROLE),
            append_dsn=dsn_of(APPEND_ROLE),
            worker_dsn=dsn_of(WORKER_ROLE),
            evidence_dsn=dsn_of(EVIDENCE_ROLE),
            evidence_worker_dsn=dsn_of(EVIDENCE_WORKER_ROLE),
            gateway_dsn=dsn_of(gateway.DOOR_ROLE),
            gateway_worker_dsn=dsn_of(gateway.WORKER_ROLE),
        )

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self._server.dsn(), autocommit=True)


def _load_or_make_passwords(file: Path) -> dict[str, str]:
    passwords: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    missing = [role for role in _ROLES if role not in passwords]
    if missing:
        passwords |= {role: secrets.token_urlsafe(24) for role in missing}
        file.touch(mode=0o600)
        file.write_text(json.dumps(passwords))
    return passwords
