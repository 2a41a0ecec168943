"""The operator's commands for the gateway's signing keys and for an organisation's first credential.

What a command needs is imported when it runs, as in gateway/cli.py.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.auth.actions import Scope
from gateway.auth.values import Role
from ledger.cli.main import REFUSED, UNREACHABLE, UNUSABLE, Failure
from ledger.cli.output import as_json, print_fields

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

OPERATOR = "operator"

_file = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))


@contextmanager
def clear_refusals() -> Iterator[None]:
    """A database that does not guard its records is told of in one line, as every command tells of what it refuses."""
    from ledger.database.guards import GuardsMissingError  # noqa: PLC0415 - see above

    try:
        yield
    except GuardsMissingError as error:
        raise Failure(str(error), REFUSED) from error


@click.group()
def credential() -> None:
    """Give an organisation its first credential; the others are made through the API."""


@credential.command("create")
@click.option("--org", "organisation_id", required=True, help="The organisation it belongs to.")
@click.option("--name", default="first credential", show_default=True, help="What people know it by.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice([role.value for role in Role]),
    default=(Role.ORG_ADMIN.value,),
    show_default=True,
    help="May be repeated.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="May be repeated.  [default: every scope]",
)
@click.option(
    "--token-seconds",
    type=click.IntRange(60, 3600),
    default=600,
    show_default=True,
    help="How long its tokens last.",
)
@as_json
def create_credential(  # noqa: PLR0913, PLR0917 - click's calling style
    organisation_id: str,
    name: str,
    roles: tuple[str, ...],
    scopes: tuple[str, ...],
    token_seconds: int,
    as_json: bool,  # noqa: FBT001 - click's calling style
) -> None:
    """Create a credential. Its secret is shown this once and kept nowhere."""
    from gateway.auth.credentials import add_credential  # noqa: PLC0415 - see above
    from gateway.problems import Code, Problem  # noqa: PLC0415 - see above
    from gateway.records.records import Records  # noqa: PLC0415 - see above
    from gateway.settings import OperatorSettings  # noqa: PLC0415 - see above

    with clear_refusals():
        records = Records.open(OperatorSettings.from_environment().records_dsn)
    try:
        created = add_credential(
            records,
            organisation_id,
            by=OPERATOR,
            name=name,
            roles=roles,
            scopes=scopes or [scope.value for scope in Scope],
            token_seconds=token_seconds,
        )
    except Problem as problem:
        code = UNREACHABLE if problem.code is Code.DATABASE_UNAVAILABLE else REFUSED
        raise Failure(problem.detail, code) from problem
    finally:
        records.close()
    print_fields(
        {
            "client_id": created.client_id,
            "client_secret": created.client_secret,
            "roles": created.credential.roles if as_json else " ".join(created.credential.roles),
            "scopes": created.credential.scopes if as_json else " ".join(created.credential.scopes),
        },
        as_json=as_json,
    )


@click.group()
def key() -> None:
    """Look after the keys the gateway signs its tokens with (INDELIBLE_GATEWAY_KEYS).

    To change keys: `add` one, wait until whoever checks tokens has read it (ten minutes), `use` it, and `retire` the
    old one after an hour.
    """


@key.command("add")
@_file
@as_json
def add_key(file: Path, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Add a key to FILE, or make FILE with its first one. It is published at once; `use` makes it sign."""
    from gateway.auth.signing import MAX_KEYS, make_key  # noqa: PLC0415 - see above

    keys = _read(file) if file.exists() else []
    if len(keys) >= MAX_KEYS:
        raise Failure(f"{file} holds {MAX_KEYS} keys already; retire one first", REFUSED)
    made = make_key()
    _write(file, [*keys, made])
    print_fields({"file": str(file), "key_id": str(made.kid), "signs": not keys}, as_json=as_json)


@key.command("use")
@_file
@click.argument("key_id")
def use_key(file: Path, key_id: str) -> None:
    """Sign with the key KEY_ID from now on."""
    keys = _read(file)
    chosen = [one for one in keys if one.kid == key_id]
    if not chosen:
        raise Failure(f"{file} holds no key {key_id}", REFUSED)
    _write(file, [*chosen, *(one for one in keys if one.kid != key_id)])
    click.echo(f"Tokens are signed with {key_id} from now on.")


@key.command("retire")
@_file
@click.argument("key_id")
def retire_key(file: Path, key_id: str) -> None:
    """Remove the key KEY_ID: tokens that it signed are no longer believed."""
    keys = _read(file)
    if keys[0].kid == key_id:
        raise Failure(f"{key_id} is the key that signs; use another one first", REFUSED)
    kept = [one for one in keys if one.kid != key_id]
    if len(kept) == len(keys):
        raise Failure(f"{file} holds no key {key_id}", REFUSED)
    _write(file, kept)
    click.echo(f"{key_id} is retired.")


@key.command("publish")
@_file
def publish_keys(file: Path) -> None:
    """Print the public keys: what the ledger and the evidence service read as INDELIBLE_GATEWAY_JWKS."""
    from gateway.auth.signing import public_set  # noqa: PLC0415 - see above

    click.echo(json.dumps(public_set(_read(file)), indent=1))


def _read(file: Path) -> "list[OKPKey]":
    from gateway.auth.signing import KeysError, read_keys  # noqa: PLC0415 - see above

    try:
        return read_keys(file)
    except (OSError, KeysError) as error:
        raise Failure(str(error), UNUSABLE) from error


def _write(file: Path, keys: "list[OKPKey]") -> None:
    from gateway.auth.signing import write_keys  # noqa: PLC0415 - see above

    try:
        write_keys(file, keys)
    except OSError as error:
        raise Failure(f"{file} cannot be written ({error.strerror})", UNUSABLE) from error
