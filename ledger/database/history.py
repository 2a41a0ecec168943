"""A schema's history: Alembic versions that each run one described file of SQL; a released file is never edited."""

from importlib.resources import files


def read_sql(package: str, name: str) -> str:
    """The text of one file of the folder `sql` of `package`, by its name without the ending."""
    return files(package).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def run_sql(package: str, name: str) -> None:
    """Run one file of `package` in the migration that calls this."""
    from alembic import op  # noqa: PLC0415 - services read these texts too, and should not wait for what only migrates

    connection = op.get_bind().connection.driver_connection
    if connection is None:
        raise RuntimeError("migrations run on a live connection only")
    # Past SQLAlchemy, which would take "%" in the text for placeholders.
    connection.execute(read_sql(package, name).encode())
