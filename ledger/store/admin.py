"""What the operator does as administrator: register organisations. Everything else is done by the service."""

import re
from datetime import datetime

import psycopg

from ledger.errors import LedgerError, Reason

_ORGANISATION_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)
MAX_NAME_CHARACTERS = 200


def add_organisation(admin_dsn: str, organisation_id: str, name: str) -> None:
    """Register an organisation. Doing it again with the same name changes nothing; the name can never change.

    The name is written into the first event of every chain. Raises `LedgerError` INVALID_ARGUMENT, psycopg.Error.
    """
    if _ORGANISATION_ID.fullmatch(organisation_id) is None:
        raise _invalid("organisation_id", "1 to 64 of a-z, 0-9 and '-', beginning and ending with a letter or digit")
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS or not name.isprintable() or name != name.strip():
        raise _invalid("name", f"1 to {MAX_NAME_CHARACTERS} printable characters without spaces at either end")
    with psycopg.connect(admin_dsn) as connection:
        connection.execute(
            "INSERT INTO indelible.organisations (organisation_id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (organisation_id, name),
        )
        row = connection.execute(
            "SELECT name FROM indelible.organisations WHERE organisation_id = %s", (organisation_id,)
        ).fetchone()
    if row is None or row[0] != name:
        raise _invalid("name", "another one: this organisation is registered already, and a name never changes")


def list_organisations(admin_dsn: str) -> list[tuple[str, str, datetime]]:
    """Id, name and time of registration of every organisation, in order of id."""
    with psycopg.connect(admin_dsn) as connection:
        return connection.execute(
            'SELECT organisation_id, name, created_at FROM indelible.organisations ORDER BY organisation_id COLLATE "C"'
        ).fetchall()


def _invalid(field: str, expected: str) -> LedgerError:
    return LedgerError(Reason.INVALID_ARGUMENT, f"{field} must be {expected}", {"field": field})
