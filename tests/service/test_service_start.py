"""What a service does not start with, and what protects it once it runs."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import psycopg
import pytest

from ledger.address import Address
from ledger.client import ClientError, ClientTls
from ledger.serving.server import GrpcServer
from ledger.settings_reader import SettingsError, TlsFiles
from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.processes import StartError
from tests.service.certificates import make_certificate
from tests.service.serving import Service, make_directory
from tests.service.test_service_lifecycle import _until


def test_services_start_without_what_only_migrations_and_some_backends_need() -> None:
    script = "import sys, ledger.service.run, media.service.run, gateway.app, gateway.worker; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "ledger" in loaded
    assert not loaded & {"alembic", "sqlalchemy", "pytezos", "rfc3161ng", "requests"}


def test_a_service_refuses_to_start_on_a_database_without_its_guards(
    tmp_path: Path, database: Database, issuer: Issuer
) -> None:
    service = Service(make_directory(tmp_path), database, issuer)
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("ALTER TABLE indelible.events DISABLE TRIGGER ALL")
    with pytest.raises(StartError, match="guard"):
        service.start()
    assert service.process is not None
    assert service.process.exit_code == 1
    assert "Traceback" not in service.log.read_text()


def test_guards_that_are_taken_away_later_end_the_serving(own_service: Service) -> None:
    assert own_service.is_healthy()
    with psycopg.connect(own_service.database.admin_dsn) as connection:
        connection.execute("ALTER TABLE indelible.events DISABLE TRIGGER ALL")
    asyncio.run(_until(lambda: not own_service.is_healthy()))


def test_an_address_in_use_is_one_clear_line(tmp_path: Path, database: Database, issuer: Issuer) -> None:
    service = Service(make_directory(tmp_path), database, issuer)
    port = int(service.address.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)), pytest.raises(StartError, match="INDELIBLE_LISTEN"):
        service.start(probe=lambda: False)
    assert service.process is not None
    assert service.process.exit_code == 2
    assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize(
    ("variable", "content"),
    [
        ("INDELIBLE_TLS_CERTIFICATE", "no certificate"),
        ("INDELIBLE_TLS_KEY", "no key"),
        ("INDELIBLE_TLS_KEY", None),
        ("INDELIBLE_TLS_CLIENT_CA", "no certificate"),
    ],
)
async def test_a_certificate_that_cannot_be_used_is_told_by_its_variable(
    tmp_path: Path, variable: str, content: str | None
) -> None:
    certificate, key = make_certificate(tmp_path)
    _, foreign_key = make_certificate(tmp_path, "foreign")
    bad = tmp_path / "bad.pem"
    bad.write_text(foreign_key.read_text() if content is None else content)
    files = {
        "INDELIBLE_TLS_CERTIFICATE": certificate,
        "INDELIBLE_TLS_KEY": key,
        "INDELIBLE_TLS_CLIENT_CA": certificate,
        variable: bad,
    }
    tls = TlsFiles(
        certificate=files["INDELIBLE_TLS_CERTIFICATE"],
        key=files["INDELIBLE_TLS_KEY"],
        client_ca=files["INDELIBLE_TLS_CLIENT_CA"],
    )
    nothing = grpc.method_handlers_generic_handler("nothing", {})
    with pytest.raises(SettingsError, match=f"^{variable}: "):
        GrpcServer("nothing", nothing, Address(host="127.0.0.1", port=0), tls, variable="INDELIBLE_LISTEN")


async def test_tls_protects_the_service_and_mutual_tls_knows_its_callers(
    tmp_path: Path, database: Database, issuer: Issuer
) -> None:
    certificate, key = make_certificate(tmp_path)
    client_certificate, client_key = make_certificate(tmp_path, "client")
    stranger_certificate, stranger_key = make_certificate(tmp_path, "stranger")
    service = Service(
        make_directory(tmp_path),
        database,
        issuer,
        {
            "INDELIBLE_TLS_CERTIFICATE": str(certificate),
            "INDELIBLE_TLS_KEY": str(key),
            "INDELIBLE_TLS_CLIENT_CA": str(client_certificate),
        },
    )
    service.start(probe=lambda: '"event": "serving"' in service.log.read_text())

    async def ask(tls: ClientTls | None, seconds: float = 2) -> str:
        async with service.client(tls=tls, timeout_seconds=seconds) as client:
            chain, _ = await client.open_chain("encrypted")
            return chain.chain_id

    ca = certificate.read_bytes()
    try:
        known = ClientTls(
            certificate_authority=ca, certificate=client_certificate.read_bytes(), key=client_key.read_bytes()
        )
        assert await ask(known, seconds=60) == "encrypted"
        stranger = ClientTls(
            certificate_authority=ca, certificate=stranger_certificate.read_bytes(), key=stranger_key.read_bytes()
        )
        elsewhere = ClientTls(
            certificate_authority=stranger_certificate.read_bytes(),
            certificate=client_certificate.read_bytes(),
            key=client_key.read_bytes(),
        )
        for refused in (None, ClientTls(certificate_authority=ca), stranger, elsewhere):
            with pytest.raises(ClientError) as caught:
                await ask(refused)
            assert caught.value.unreachable
    finally:
        service.stop()
