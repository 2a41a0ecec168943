"""The operator's commands: make keys, check settings, serve."""

import base64
import os
import secrets
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ledger.chain.receipt import ReceiptSigner
from ledger.cli.main import REFUSED, UNUSABLE, Failure
from ledger.cli.output import as_json, print_fields
from ledger.settings import LedgerSettings
from ledger.settings_reader import SettingsError


@click.group()
def keys() -> None:
    """Make the keys the service signs with."""


@keys.group("generate")
def generate() -> None:
    """Make a new key file. An existing file is never overwritten."""


@generate.command("receipt")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The file to write (INDELIBLE_RECEIPT_KEY)."
)
@click.option("--name", required=True, help="The key's name (INDELIBLE_RECEIPT_KEY_NAME), e.g. ledger.example.org.")
@as_json
def generate_receipt_key(out: Path, name: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Make the key that signs append receipts, and print what checks them."""
    key = Ed25519PrivateKey.generate()
    try:
        signer = ReceiptSigner(key=key, name=name)
    except ValueError as error:
        raise Failure(str(error), UNUSABLE) from error
    _write_secret(out, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    print_fields({"file": str(out), "name": name, "verifier_key": signer.verifier_key}, as_json=as_json)


@generate.command("links")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to write.")
@as_json
def generate_link_keys(out: Path, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Make a file with one key for verify links."""
    key_id = secrets.token_hex(4)
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    _write_secret(out, f'current = "{key_id}"\n\n[keys]\n{key_id} = "{secret}"\n'.encode())
    print_fields({"file": str(out), "key_id": key_id}, as_json=as_json)


@click.group()
def settings() -> None:
    """Look at the settings."""


@settings.command("check")
@as_json
def check_settings(as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Check the settings and the files they name, without connecting anywhere. Every problem is reported at once."""
    from ledger.service.run import load_materials  # noqa: PLC0415 - a server's libraries take a second to import

    checked = LedgerSettings.from_environment()
    materials = load_materials(checked)
    print_fields(
        {
            "listen": str(checked.listen),
            "tls": "mutual" if checked.tls and checked.tls.client_ca else "yes" if checked.tls else "no",
            "token_issuer": checked.token.issuer,
            "token_audience": checked.token.audience,
            "receipt_verifier_key": materials.signer.verifier_key,
            "authorities": [f"{target.backend}:{target.authority}" for target in materials.authorities.targets],
            "public_url": checked.public_url or None,
            "nats": checked.nats_url is not None,
            "metrics": str(checked.metrics_listen) if checked.metrics_listen else None,
            "checkpoint_seconds": checked.checkpoint_seconds,
            "checkpoint_events": checked.checkpoint_events,
            "tracing": checked.tracing,
        },
        as_json=as_json,
    )


@click.command()
@click.option(
    "--only",
    type=click.Choice(("api", "anchoring", "messaging")),
    multiple=True,
    help="Run only this part, to spread the work over processes. May be given more than once.",
)
def serve(only: tuple[str, ...]) -> None:
    """Run the ledger service until SIGTERM or Ctrl-C."""
    import uvloop  # noqa: PLC0415 - as in check_settings

    from ledger.database.guards import GuardsMissingError  # noqa: PLC0415 - as in check_settings
    from ledger.service import run  # noqa: PLC0415 - as in check_settings
    from ledger.telemetry import configure_logging  # noqa: PLC0415 - as in check_settings

    checked = LedgerSettings.from_environment()
    if set(only) == {"messaging"} and checked.nats_url is None:
        raise SettingsError(("INDELIBLE_NATS_URL: is not set, but messaging needs it; set it to nats://HOST:4222",))
    configure_logging(checked.log)
    try:
        # A tenth less work for each append than asyncio's own loop.
        uvloop.run(run.serve(checked, only or run.PARTS))
    except GuardsMissingError as error:
        raise Failure(str(error), REFUSED) from error


def _write_secret(path: Path, data: bytes) -> None:
    """Create a file only its owner can read. Raises Failure when it exists: a lost key cannot be had back."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}", UNUSABLE) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
