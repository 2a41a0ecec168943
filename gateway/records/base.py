"""The metadata every table of the gateway is declared on, and what their columns share."""

from sqlalchemy import CheckConstraint, Column

from gateway.records.schema import SCHEMA
from ledger.database.tables import IDENTIFIER, schema_metadata

metadata = schema_metadata(SCHEMA)

_ORGANISATION = "organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'"
NAME = "^[a-z0-9][a-z0-9_-]{0,62}$"


def organisation_column(*, primary_key: bool = False) -> "Column[str]":
    """The organisation a row belongs to."""
    return Column("organisation_id", IDENTIFIER, nullable=False, primary_key=primary_key)


def organisation_check() -> CheckConstraint:
    """The form of an organisation's identifier."""
    return CheckConstraint(_ORGANISATION, name="organisation_id")


def named(column: str) -> CheckConstraint:
    """An identifier that people chose."""
    return CheckConstraint(f"{column} ~ '{NAME}'", name=column)


def somebody(column: str) -> CheckConstraint:
    """Someone who did something: never nobody."""
    return CheckConstraint(rf"btrim({column}, E' \t\r\n') <> ''", name=column)
