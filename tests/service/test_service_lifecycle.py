import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from indelible.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from ledger.client import ClientError, LedgerClient, NewEvent
from ledger.service.bundles import MAX_EXPORTS_PER_ORGANISATION
from sandbox.database import Database, Databases
from sandbox.issuer import Issuer
from sandbox.postgres import Postgres
from tests.service.serving import FOREIGN_ORGANISATION, Service, make_directory, running_service
from tests.service.test_service_stopping import _drain, one_event

# Otherwise gRPC lets as much of a bundle be under way unread as it deems the connection to carry: all of it, at times.
_SMALL_WINDOWS = (("grpc.http2.bdp_probe", 0),)
SECRET_WORD = "confidential-witness-name"


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
        async with asyncio.timeout(120):
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
        [answer] = stub.ServerReflectionInfo(iter([request]), timeout=60)
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
                await asyncio.wait_for(_drain(follower), 60)
            assert ended.value.reason == "UNAUTHENTICATED"


async def test_an_outage_of_the_database_is_told_and_passes(
    tmp_path: Path, own_postgres: Postgres, issuer: Issuer
) -> None:
    database = Databases(own_postgres).migrated("ledger")
    with running_service(tmp_path, database, issuer) as service:
        async with service.client() as patient, service.client(timeout_seconds=3) as client:
            await patient.open_chain("outage")
            await asyncio.to_thread(own_postgres.kill)
            for call in (client.get_chain("outage"), client.append_events("outage", one_event(1), idempotency_key="k")):
                with pytest.raises(ClientError) as caught:
                    await call
                assert caught.value.reason in {"DATABASE_UNAVAILABLE", "UNREACHABLE"}
            await _until(lambda: not service.is_healthy())
            await asyncio.to_thread(own_postgres.start)
            await _until(service.is_healthy)
            receipt = await patient.append_events("outage", one_event(1), idempotency_key="k")
            assert receipt.last_sequence == 2
        assert not [line for line in service.log_lines() if line["event"] == "call_failed"]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.1)
