import psycopg
import pytest

from sandbox.database import Database, Databases


def role_of(dsn: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT current_user").fetchone()
        assert row is not None
        return row[0]


def test_each_role_logs_in_with_its_own_password(database: Database) -> None:
    assert role_of(database.runtime_dsn) == "indelible_runtime"
    assert role_of(database.append_dsn) == "indelible_append"
    assert role_of(database.worker_dsn) == "indelible_worker"


def test_a_copy_shares_nothing_with_another_and_goes_away(databases: Databases, migrated_template: Database) -> None:
    with databases.copy(migrated_template) as one, databases.copy(migrated_template) as other:
        with psycopg.connect(one.admin_dsn) as connection:
            connection.execute("INSERT INTO indelible.organisations (organisation_id, name) VALUES ('acme', 'Acme')")
        with psycopg.connect(other.admin_dsn) as connection:
            assert connection.execute("SELECT count(*) FROM indelible.organisations").fetchone() == (0,)
        abandoned = psycopg.connect(one.admin_dsn)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(one.admin_dsn)
    abandoned.close()


def test_migrating_again_changes_nothing(databases: Databases, database: Database) -> None:
    assert databases.migrated(database.name) == database
