"""The operator's commands for the database: create or upgrade it, register organisations."""

from importlib.metadata import entry_points

import click
from psycopg.conninfo import conninfo_to_dict

from ledger.cli.main import REFUSED, Failure
from ledger.cli.output import as_json, print_fields, print_rows
from ledger.roles import APPEND_ROLE, RUNTIME_ROLE, WORKER_ROLE
from ledger.settings import DatabaseSettings, MigrationSettings, read_optional_dsns
from ledger.settings_reader import SettingsError
from ledger.store import admin
from ledger.store.migrate import MigrationError, Schema
from ledger.store.migrate import migrate as migrate_database


@click.command()
def migrate() -> None:
    """Create or upgrade the ledger's database.

    INDELIBLE_ADMIN_DSN must name an administrator. The roles the service logs in with are created, with the passwords
    that stand in INDELIBLE_RUNTIME_DSN, INDELIBLE_APPEND_DSN and INDELIBLE_WORKER_DSN. The evidence service's part is
    made too where INDELIBLE_EVIDENCE_DSN and INDELIBLE_EVIDENCE_WORKER_DSN are set, and the gateway's where
    INDELIBLE_GATEWAY_DSN and INDELIBLE_GATEWAY_WORKER_DSN are.
    """
    admin_dsn = MigrationSettings.from_environment().admin_dsn
    database = DatabaseSettings.from_environment()
    schemas: list[Schema] = []
    roles = [
        (RUNTIME_ROLE, "INDELIBLE_RUNTIME_DSN", database.runtime_dsn),
        (APPEND_ROLE, "INDELIBLE_APPEND_DSN", database.append_dsn),
        (WORKER_ROLE, "INDELIBLE_WORKER_DSN", database.worker_dsn),
    ]
    for entry in entry_points(group="indelible.schemas"):
        schema: Schema = entry.load()
        dsns = read_optional_dsns(schema.LOGIN_ROLES.values())
        if dsns:
            schemas.append(schema)
            roles += [(role, variable, dsns[variable]) for role, variable in schema.LOGIN_ROLES.items()]
    problems: list[str] = []
    passwords = {role: _password(variable, dsn, role, problems) for role, variable, dsn in roles}
    if problems:
        raise SettingsError(tuple(problems))
    try:
        migrate_database(admin_dsn, passwords, schemas)
    except MigrationError as error:
        raise Failure(str(error), REFUSED) from error
    click.echo("The database has the newest schema.")


@click.group()
def organisation() -> None:
    """Register organisations. They own the chains; nothing crosses from one to another."""


@organisation.command("add")
@click.argument("organisation_id", metavar="ID")
@click.option("--name", required=True, help="The full name, as it will stand in every chain. It can never change.")
@as_json
def add_organisation(organisation_id: str, name: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Register an organisation. Doing it again with the same name changes nothing."""
    admin.add_organisation(MigrationSettings.from_environment().admin_dsn, organisation_id, name)
    print_fields({"organisation_id": organisation_id, "name": name}, as_json=as_json)


@organisation.command("list")
@as_json
def list_organisations(as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Show the registered organisations."""
    rows = [
        {"organisation_id": organisation_id, "name": name, "created_at": created_at.isoformat()}
        for organisation_id, name, created_at in admin.list_organisations(
            MigrationSettings.from_environment().admin_dsn
        )
    ]
    print_rows(
        ("organisation_id", "name", "created_at"), rows, as_json=as_json, empty="No organisation is registered yet."
    )


def _password(variable: str, dsn: str, role: str, problems: list[str]) -> str:
    """The password a DSN holds for `role`, which it must name."""
    parts = conninfo_to_dict(dsn)
    password = parts.get("password")
    if parts.get("user") != role:
        problems.append(f"{variable}: names another user; the service logs in here as {role}")
    if not password:
        problems.append(f"{variable}: holds no password; the role {role} is given the one that stands there")
    return str(password)
