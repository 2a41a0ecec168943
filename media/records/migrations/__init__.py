"""The schema's history. Each version runs one described file of `sql`; a released file is never edited."""

from importlib.resources import files

from alembic import op


def read_sql(name: str) -> str:
    """The text of one file of `sql`, by its name without the ending."""
    return files(__name__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def run_sql(name: str) -> None:
    """Run one file of `sql` in the migration that calls this."""
    connection = op.get_bind().connection.driver_connection
    if connection is None:
        raise RuntimeError("migrations run on a live connection only")
    # Past SQLAlchemy, which would take "%" in the text for placeholders.
    connection.execute(read_sql(name).encode())
