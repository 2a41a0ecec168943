import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ledger.client import ClientError
from sandbox.database import Database
from sandbox.issuer import Issuer
from tests.service.calling import call, request_of
from tests.service.serving import running_service

SECRET_WORD = "confidential-witness-name"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """An OpenTelemetry collector that keeps what it is sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def spans(self) -> dict[str, str]:
        """Each span's name and the trace it belongs to."""
        return {
            span.name: span.trace_id.hex()
            for body in self.bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


def test_traces_follow_the_caller_and_hold_no_payload(
    tmp_path: Path, database: Database, issuer: Issuer, collector: Collector
) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_METRICS_EXPORTER": "none",
    }
    with running_service(tmp_path, database, issuer, environment) as service:
        with service.blocking_client() as client:
            client.open_chain("traced", {"about": SECRET_WORD})
            client.append_event("traced", "person.named", {"name": SECRET_WORD})
            with pytest.raises(ClientError):
                client.append_event("traced", "person.named", b'{"name":"' + SECRET_WORD.encode() + b'"')
            list(client.stream_events("traced"))
        headers = (*service.headers(), ("traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-01"))
        call(service.address, "GetChain", request_of("GetChain", chain_id="traced"), headers)
        service.stop()
    spans = collector.spans()
    prefix = "indelible.ledger.v1.LedgerService"
    assert {f"{prefix}/{method}" for method in ("OpenChain", "AppendEvents", "StreamEvents")} <= spans.keys()
    assert spans[f"{prefix}/GetChain"] == TRACE_ID
    assert SECRET_WORD.encode() not in b"".join(collector.bodies)
