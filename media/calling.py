"""Calling a running evidence service, for the commands: one caller, errors as the ledger's client raises them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.message import Message
from indelible.evidence.v1 import evidence_pb2, evidence_pb2_grpc

from ledger.client import ClientTls
from ledger.client.channel import Connection
from ledger.client.errors import from_rpc_error
from ledger.client.files import write_atomically
from ledger.settings_reader import SettingsError
from media.settings import CallerSettings

# Waiting for an unreachable service longer than this helps nobody at a terminal.
TIMEOUT_SECONDS = 10.0
# Reading a whole clip back, or exporting it, takes as long as it takes.
LONG_SECONDS = 1_800.0


class EvidenceCaller:
    """The service as one caller; use it as `async with EvidenceCaller(...) as service`."""

    def __init__(self, settings: CallerSettings) -> None:
        """Nothing is sent yet. Raises SettingsError for an address or a certificate that cannot be used."""
        tls = None
        if settings.certificate_authority is not None:
            try:
                tls = ClientTls(certificate_authority=settings.certificate_authority.read_bytes())
            except ValueError as error:
                raise SettingsError((f"INDELIBLE_EVIDENCE_CA: {error}",)) from error
        try:
            self._connection = Connection(
                settings.address, settings.token, tls, TIMEOUT_SECONDS, service="evidence service"
            )
        except ValueError as error:
            raise SettingsError((f"INDELIBLE_EVIDENCE: {error}; set INDELIBLE_EVIDENCE_CA",)) from error
        self._stub = evidence_pb2_grpc.EvidenceServiceStub(self._connection.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def call(self, method: str, request: Message, *, long: bool = False) -> Any:
        """The answer of a unary method. Raises ClientError."""
        seconds = LONG_SECONDS if long else TIMEOUT_SECONDS
        # Every method may be repeated, but one that makes something nobody would ask for twice.
        retry = method not in {"CreateDownloadLink", "CreateRecordingLink", "VerifyStoredClip", "VerifyStoredRecording"}
        return await self._connection.call(getattr(self._stub, method), request, timeout_seconds=seconds, retry=retry)

    async def export(self, request: Message, path: Path) -> int:
        """Write an export to `path`, whole or not at all; its size in bytes. Raises ClientError, OSError."""
        return await write_atomically(self._chunks(request), path)

    async def _chunks(self, request: Message) -> AsyncIterator[bytes]:
        is_recording = isinstance(request, evidence_pb2.ExportRecordingRequest)
        method: Any = self._stub.ExportRecording if is_recording else self._stub.ExportClip
        call = method(request, timeout=LONG_SECONDS, metadata=self._connection.metadata())
        try:
            async for message in call:
                yield message.data
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self._connection.name) from None
        finally:
            call.cancel()
