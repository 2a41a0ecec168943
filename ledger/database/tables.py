"""How every schema here names its constraints and compares its identifiers."""

from sqlalchemy import MetaData, Text

# Byte order: the same on every machine and for ever. An index in a language's order is silently wrong after an upgrade
# of the system's locales, and a unique key that fails is a broken promise.
IDENTIFIER = Text(collation="C")


def schema_metadata(schema: str) -> MetaData:
    """A place for the tables of one schema to be declared in."""
    return MetaData(
        schema=schema,
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        },
    )
