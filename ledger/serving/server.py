"""A gRPC server: where it listens, what it refuses to carry, and how it stops."""

import asyncio
from collections.abc import Sequence
from typing import cast

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ledger.address import Address
from ledger.settings_reader import SettingsError, TlsFiles

# 1,000 events of 256 KiB would be 256 MiB; larger payloads go in smaller appends.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# Tokens have up to 8 KiB (identity/tokens.py); tracing headers need the rest.
MAX_METADATA_BYTES = 16 * 1024
MAX_STREAMS_PER_CONNECTION = 1_024
# Over all connections; beyond it calls are refused with RESOURCE_EXHAUSTED and clients back off.
MAX_CALLS = 4_096
KEEPALIVE_SECONDS = 60
KEEPALIVE_TIMEOUT_SECONDS = 20
# Clients may ping this often without being cut off.
MIN_CLIENT_PING_SECONDS = 10
# What is running when the service is told to stop may take this long to finish.
GRACE_SECONDS = 20.0

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.max_concurrent_streams", MAX_STREAMS_PER_CONNECTION),
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", MIN_CLIENT_PING_SECONDS * 1000),
    # Two services that share a port by accident would each get half of the calls.
    ("grpc.so_reuseport", 0),
)


class GrpcServer:
    """Serves the methods of one service, gRPC health and reflection at one address."""

    def __init__(
        self, service: str, handler: grpc.GenericRpcHandler, listen: Address, tls: TlsFiles | None, *, variable: str
    ) -> None:
        """Bind `listen`, which the setting `variable` names.

        Raises SettingsError when the address or the certificate cannot be used.
        """
        self._service = service
        self._server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS)
        self._server.add_generic_rpc_handlers((handler,))
        self.health = health.aio.HealthServicer()
        # All that the generated functions call of a server.
        methods = cast(grpc.aio.Server, _GenericMethods(self._server))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, methods)
        names = (service, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, methods)
        try:
            if tls is None:
                port = self._server.add_insecure_port(str(listen))
            else:
                port = self._server.add_secure_port(str(listen), _credentials(tls))
        except RuntimeError as error:
            raise SettingsError((f"{variable}: cannot listen on {listen}; is another program using it?",)) from error
        self.address = Address(host=listen.host, port=port)

    async def start(self) -> None:
        """Begin to answer; health says SERVICE_UNKNOWN or NOT_SERVING until `report` says otherwise."""
        await self.report(serving=False)
        await self._server.start()

    async def report(self, *, serving: bool) -> None:
        """Tell health checks whether calls can succeed at present."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self.health.set("", status)
        await self.health.set(self._service, status)

    async def drain(self, stopping: asyncio.Event, grace_seconds: float = GRACE_SECONDS) -> None:
        """Turn new calls away, let running ones finish, end long-lived streams at a good place."""
        await self.health.enter_graceful_shutdown()
        stopping.set()
        await self._server.stop(grace_seconds)


class _GenericMethods:
    """Takes generated handlers in their generic form only.

    For each registered method grpc.aio waits on one more future with every call, also with those of other methods.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Pass the handlers on."""
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, _service: str, _handlers: object) -> None:
        """Leave the second form of the same handlers out."""


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    """What TLS needs. gRPC says nothing of files it cannot use, so they are read here first. Raises SettingsError."""
    key_pem, certificate_pem = tls.key.read_bytes(), tls.certificate.read_bytes()
    client_ca = tls.client_ca.read_bytes() if tls.client_ca else None
    try:
        certificate = x509.load_pem_x509_certificates(certificate_pem)[0]
    except ValueError as error:
        raise SettingsError((f"INDELIBLE_TLS_CERTIFICATE: {tls.certificate} is not a certificate in PEM",)) from error
    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError((f"INDELIBLE_TLS_KEY: {tls.key} is not an unencrypted private key in PEM",)) from error
    if key.public_key() != certificate.public_key():
        raise SettingsError((f"INDELIBLE_TLS_KEY: {tls.key} does not belong to the certificate {tls.certificate}",))
    if client_ca is not None:
        try:
            x509.load_pem_x509_certificates(client_ca)
        except ValueError as error:
            raise SettingsError((f"INDELIBLE_TLS_CLIENT_CA: {tls.client_ca} is not a certificate in PEM",)) from error
    return grpc.ssl_server_credentials([(key_pem, certificate_pem)], client_ca, require_client_auth=bool(client_ca))
