import asyncio
import json
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from indelible.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from ledger.address import Address
from ledger.client import ClientError, ClientTls, Event, LedgerClient, NewEvent
from ledger.service.bundles import MAX_EXPORTS_PER_ORGANISATION
from ledger.serving.server import GrpcServer
from ledger.settings_reader import SettingsError, TlsFiles
from sandbox.database import Database, Databases
from sandbox.issuer import Issuer
from sandbox.postgres import Postgres
from sandbox.processes import StartError
from tests.service.certificates import make_certificate
from tests.service.serving import FOREIGN_ORGANISATION, Service, make_directory, running_service

# Otherwise gRPC lets as much of a bundle be under way unread as it deems the connection to carry: all of it, at times.
_SMALL_WINDOWS = (("grpc.http2.bdp_probe", 0),)
SECRET_WORD = "confidential-witness-name"


@pytest.fixture
def own_service(tmp_path: Path, database: Database, issuer: Issuer) -> Iterator[Service]:
    """A service of one test, which may stop it."""
    with running_service(tmp_path, database, issuer) as running:
        yield running


def one_event(number: int) -> list[NewEvent]:
    return [NewEvent(kind="door.opened", payload={"number": number})]


async def test_stopping_under_load_loses_no_acknowledged_append(own_service: Service) -> None:
    acknowledged: dict[str, bytes] = {}
    async with own_service.client(timeout_seconds=1) as client:
        for number in range(8):
            await client.open_chain(f"busy-{number}")

        async def append(worker: int) -> None:
            number = 0
            while True:
                number += 1
                key = f"{worker}-{number}"
                try:
                    receipt = await client.append_events(f"busy-{worker}", one_event(number), idempotency_key=key)
                except ClientError:
                    return
                acknowledged[f"busy-{worker}/{receipt.first_sequence}"] = receipt.event_hashes[0]

        workers = [asyncio.create_task(append(worker)) for worker in range(8)]
        await asyncio.sleep(0.5)
        await asyncio.to_thread(own_service.stop)
        await asyncio.gather(*workers)
    assert own_service.process is not None
    assert own_service.process.exit_code == 0
    assert len(acknowledged) > 20
    await asyncio.to_thread(own_service.start)
    async with own_service.client() as client:
        stored = {
            f"busy-{worker}/{event.sequence}": event.hash
            for worker in range(8)
            async for event in client.list_events(f"busy-{worker}")
        }
        assert acknowledged.items() <= stored.items()
        for worker in range(8):
            assert (await client.check_chain(f"busy-{worker}")).ok


async def test_stopping_answers_what_a_stream_has_sent_and_ends_followers_in_a_way_they_can_resume(
    own_service: Service,
) -> None:
    async with own_service.client() as client:
        await client.open_chain("streamed")
        follower = asyncio.create_task(_follow(client, "streamed", 41))
        async with client.append_stream() as stream:
            promises = [await stream.send("streamed", one_event(number)) for number in range(20)]
            await asyncio.wait(promises, return_when=asyncio.FIRST_COMPLETED)
            stopping = asyncio.create_task(asyncio.to_thread(own_service.stop))
            promises += [await stream.send("streamed", one_event(number)) for number in range(20, 40)]
            await stopping
            assert own_service.process is not None
            assert own_service.process.exit_code == 0
            await asyncio.to_thread(own_service.start)
            receipts = await asyncio.wait_for(asyncio.gather(*promises), 30)
        # What was unanswered was sent again under the same keys: everything is there once, in order.
        assert [receipt.first_sequence for receipt in receipts] == list(range(2, 42))
        assert await asyncio.wait_for(follower, 30) == list(range(1, 42))


async def _drain(events: AsyncIterator[Event]) -> None:
    async for event in events:
        assert event.sequence < 3


async def _follow(client: LedgerClient, chain_id: str, last: int) -> list[int]:
    seen = []
    async for event in client.stream_events(chain_id, follow=True):
        seen.append(event.sequence)
        if event.sequence == last:
            break
    return seen


def test_a_second_signal_is_not_needed_and_ctrl_c_stops_as_well(own_service: Service) -> None:
    assert own_service.process is not None
    own_service.process.signal(signal.SIGINT)
    assert own_service.process.wait(20) == 0
    assert own_service.log_lines()[-1]["event"] == "stopped"


def test_logs_and_metrics_tell_what_happened_and_never_a_payload_or_a_token(own_service: Service) -> None:
    token = own_service.token()
    with own_service.blocking_client() as client:
        client.open_chain("logged", {"about": SECRET_WORD})
        client.append_event("logged", "person.named", {"name": SECRET_WORD})
        with pytest.raises(ClientError):
            client.append_event("logged", "person.named", b'{"name":"' + SECRET_WORD.encode() + b'","name":1}')
        with pytest.raises(ClientError) as caught:
            client.get_chain("absent")
        list(client.list_events("logged"))
    metrics = own_service.metrics()
    own_service.stop()
    text = own_service.log.read_text()
    assert SECRET_WORD not in text + metrics
    assert token.split(".")[2] not in text
    assert "Bearer" not in text
    lines = [line for line in own_service.log_lines() if line.get("method") == "GetChain"]
    assert lines[0]["request_id"] == caught.value.request_id
    assert (lines[0]["organisation_id"], lines[0]["subject"], lines[0]["code"]) == ("acme", "tester", "NOT_FOUND")
    assert 'indelible_requests_total{code="OK",method="AppendEvents"} 1.0' in metrics
    assert 'indelible_requests_total{code="INVALID_ARGUMENT",method="AppendEvents"} 1.0' in metrics
    assert "indelible_append_events_count 1.0" in metrics
    assert "indelible_database_up 1.0" in metrics
    assert "indelible_append_queue_depth 0.0" in metrics
    assert "indelible_anchoring_oldest_unanchored_seconds" in metrics


def test_the_parts_of_the_service_may_run_as_processes_of_their_own(
    tmp_path: Path, database: Database, issuer: Issuer
) -> None:
    api = Service(make_directory(tmp_path), database, issuer)
    anchoring = Service(make_directory(tmp_path), database, issuer)
    api.arguments, anchoring.arguments = ("--only", "api"), ("--only", "anchoring")
    try:
        api.start()
        anchoring.start(probe=lambda: "indelible_anchoring" in _metrics_of(anchoring))
        with api.blocking_client() as client:
            client.open_chain("apart")
        assert not anchoring.is_healthy()
        assert "indelible_anchoring" not in api.metrics()
    finally:
        for service in (api, anchoring):
            service.stop()
    assert [service.process.exit_code for service in (api, anchoring) if service.process] == [0, 0]


def _metrics_of(service: Service) -> str:
    try:
        return service.metrics()
    except OSError:
        return ""


async def test_one_organisations_slow_readers_leave_room_for_others(own_service: Service) -> None:
    async with own_service.client() as client, own_service.client(FOREIGN_ORGANISATION) as other:
        await client.open_chain("slowly-read")
        noise = [NewEvent(kind="noise.heard", payload={"noise": os.urandom(2_000).hex()}) for _ in range(500)]
        for _ in range(4):
            await client.append_events("slowly-read", noise)
        link = await client.create_verify_link("slowly-read")
        channel = grpc.aio.insecure_channel(own_service.address, options=_SMALL_WINDOWS)
        request = ledger_pb2.ExportLinkedBundleRequest(token=link.token)
        export = ledger_pb2_grpc.LedgerServiceStub(channel).ExportLinkedBundle
        slow = [export(request) for _ in range(MAX_EXPORTS_PER_ORGANISATION)]
        for reader in slow:
            assert await reader.read()
        with pytest.raises(ClientError) as caught:
            await anext(client.stream_linked_bundle(link.token))
        assert (caught.value.reason, caught.value.retryable) == ("OVERLOADED", True)
        await other.open_chain("elsewhere")
        assert await other.export_bundle("elsewhere", own_service.directory / "elsewhere.zip") > 0
        await channel.close()
        async with asyncio.timeout(30):
            while not await _starts(client, link.token):  # noqa: ASYNC110 - another process has no event to wait for
                await asyncio.sleep(0.05)


async def _starts(client: LedgerClient, token: str) -> bool:
    try:
        await anext(client.stream_linked_bundle(token))
    except ClientError:
        return False
    return True


def test_reflection_describes_the_service(own_service: Service) -> None:
    with grpc.insecure_channel(own_service.address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        [answer] = stub.ServerReflectionInfo(iter([request]), timeout=10)
    names = {found.name for found in answer.list_services_response.service}
    assert {"indelible.ledger.v1.LedgerService", "grpc.health.v1.Health"} <= names


async def test_a_stream_ends_when_the_callers_token_is_withdrawn(
    tmp_path: Path, database: Database, issuer: Issuer
) -> None:
    shutil.copytree(issuer.jwks_file.parent, tmp_path / "issuer")
    own = Issuer(tmp_path / "issuer")
    with running_service(tmp_path, database, own) as service:
        async with service.client() as client:
            await client.open_chain("watched")
            follower = client.stream_events("watched", follow=True)
            assert (await anext(follower)).sequence == 1
            async with client.append_stream() as stream:
                await (await stream.send("watched", one_event(1)))
                keys = json.loads(own.jwks_file.read_text())["keys"]
                own.jwks_file.write_text(json.dumps({"keys": [key for key in keys if key["alg"] != "Ed25519"]}))
                await asyncio.sleep(1.2)
                with pytest.raises(ClientError) as caught:
                    await (await stream.send("watched", one_event(2)))
                assert caught.value.reason == "UNAUTHENTICATED"
            with pytest.raises(ClientError):
                await client.get_chain("watched")
            other = LedgerClient(service.address, token=own.mint("acme", algorithm="ES256"))
            async with other:
                assert (await other.get_chain("watched")).event_count == 2
                await other.append_events("watched", one_event(3))
            # The second event may have been on its way before; the third came after.
            with pytest.raises(ClientError) as ended:
                await asyncio.wait_for(_drain(follower), 10)
            assert ended.value.reason == "UNAUTHENTICATED"


async def test_an_outage_of_the_database_is_told_and_passes(
    tmp_path: Path, own_postgres: Postgres, issuer: Issuer
) -> None:
    database = Databases(own_postgres).migrated("ledger")
    with running_service(tmp_path, database, issuer) as service:
        async with service.client(timeout_seconds=3) as client:
            await client.open_chain("outage")
            await asyncio.to_thread(own_postgres.kill)
            for call in (client.get_chain("outage"), client.append_events("outage", one_event(1), idempotency_key="k")):
                with pytest.raises(ClientError) as caught:
                    await call
                assert caught.value.reason in {"DATABASE_UNAVAILABLE", "UNREACHABLE"}
            await _until(lambda: not service.is_healthy())
            await asyncio.to_thread(own_postgres.start)
            await _until(service.is_healthy)
            receipt = await client.append_events("outage", one_event(1), idempotency_key="k")
            assert receipt.last_sequence == 2
        assert not [line for line in service.log_lines() if line["event"] == "call_failed"]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.1)


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

    async def ask(tls: ClientTls | None) -> str:
        async with service.client(tls=tls, timeout_seconds=2) as client:
            chain, _ = await client.open_chain("encrypted")
            return chain.chain_id

    ca = certificate.read_bytes()
    try:
        known = ClientTls(
            certificate_authority=ca, certificate=client_certificate.read_bytes(), key=client_key.read_bytes()
        )
        assert await ask(known) == "encrypted"
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
