"""Bundles and the verify links that point at them."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import IO, BinaryIO, cast

from indelible.ledger.v1 import ledger_pb2

from ledger.bundle import write_bundle
from ledger.errors import LedgerError, Reason
from ledger.identity import Caller, require_scope
from ledger.service.convert import timestamp
from ledger.service.permissions import DISCLOSE
from ledger.serving.calls import Session
from ledger.store import LedgerStore
from ledger.store.intake import check_chain_id
from ledger.telemetry import Metrics
from ledger.verify_links import LinkKeys, make_token, open_link

CHUNK_BYTES = 64 * 1024
# Writing a bundle keeps a core busy, so appends must not have to share with many of them.
MAX_WRITING = 2
# Written bundles that are being sent or wait to be written; each may hold a file on disk while its reader dawdles.
MAX_EXPORTS = 32
# So that one organisation's readers, however slow, leave room for everybody else's.
MAX_EXPORTS_PER_ORGANISATION = 16
MAX_EXPORT_SECONDS = 900.0
# Below this a bundle stays in memory; most sessions do.
SPOOL_BYTES = 1024 * 1024

DEFAULT_LINK_DAYS = 90
MAX_LINK_DAYS = 366


class Bundles:
    """The handlers about bundles and verify links."""

    def __init__(self, store: LedgerStore, keys: LinkKeys, public_url: str, metrics: Metrics) -> None:
        self._store = store
        self._keys = keys
        self._public_url = public_url
        self._metrics = metrics
        self._writing = asyncio.Semaphore(MAX_WRITING)
        self._exports: Counter[str] = Counter()

    async def export_bundle(
        self, request: ledger_pb2.ExportBundleRequest, session: Session
    ) -> AsyncGenerator[ledger_pb2.ExportBundleResponse, None]:
        """The bundle of a chain of the caller's organisation."""
        check_chain_id(request.chain_id)
        if request.include_disclosures:
            require_scope(session.caller, DISCLOSE)
        organisation_id = session.caller.organisation_id
        async with self._bundle(organisation_id, request.chain_id, disclosures=request.include_disclosures) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield ledger_pb2.ExportBundleResponse(data=chunk)

    async def export_linked_bundle(
        self, request: ledger_pb2.ExportLinkedBundleRequest
    ) -> AsyncGenerator[ledger_pb2.ExportLinkedBundleResponse, None]:
        """The bundle a verify link points at, never with what sealed members say."""
        link = await open_link(self._store, request.token, self._keys, now=datetime.now(UTC))
        async with self._bundle(link.organisation_id, link.chain_id, disclosures=False) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield ledger_pb2.ExportLinkedBundleResponse(data=chunk)

    async def create_verify_link(
        self, request: ledger_pb2.CreateVerifyLinkRequest, caller: Caller
    ) -> ledger_pb2.CreateVerifyLinkResponse:
        """A link that shows the chain as it is now, or as it will have grown."""
        check_chain_id(request.chain_id)
        if not 0 <= request.valid_days <= MAX_LINK_DAYS:
            raise LedgerError(
                Reason.INVALID_ARGUMENT, f"valid_days must be 1 to {MAX_LINK_DAYS}.", {"field": "valid_days"}
            )
        # Whole seconds, so that the link and its token, which counts in them, end at the same moment.
        now = datetime.now(UTC).replace(microsecond=0)
        expires_at = now + timedelta(days=request.valid_days or DEFAULT_LINK_DAYS)
        link = await self._store.create_verify_link(
            caller.organisation_id, request.chain_id, expires_at, caller.subject
        )
        token = make_token(link, self._keys)
        return ledger_pb2.CreateVerifyLinkResponse(
            link_id=link.link_id,
            token=token,
            url=f"{self._public_url}/v/{token}" if self._public_url else "",
            expires_at=timestamp(link.expires_at),
            head=link.head,
        )

    async def revoke_verify_link(
        self, request: ledger_pb2.RevokeVerifyLinkRequest, caller: Caller
    ) -> ledger_pb2.RevokeVerifyLinkResponse:
        """End a link before its time; revoking it again gives the first answer."""
        revoked_at = await self._store.revoke_verify_link(caller.organisation_id, request.link_id, caller.subject)
        return ledger_pb2.RevokeVerifyLinkResponse(revoked_at=timestamp(revoked_at))

    @asynccontextmanager
    async def _bundle(self, organisation_id: str, chain_id: str, *, disclosures: bool) -> AsyncIterator[IO[bytes]]:
        """The written bundle, at its beginning. It is complete before its first byte is sent."""
        if self._exports.total() >= MAX_EXPORTS or self._exports[organisation_id] >= MAX_EXPORTS_PER_ORGANISATION:
            raise LedgerError(Reason.OVERLOADED, "Too many bundles are being exported. Try again in a while.")
        self._exports[organisation_id] += 1
        self._metrics.exports_running.inc()
        try:
            with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES, prefix="indelible-export-") as file:
                async with asyncio.timeout(MAX_EXPORT_SECONDS):
                    async with self._writing:
                        await write_bundle(
                            self._store,
                            organisation_id,
                            chain_id,
                            include_disclosures=disclosures,
                            # typeshed does not know that it has every method of a file since Python 3.11.
                            target=cast(BinaryIO, file),
                        )
                    file.seek(0)
                    yield file
        finally:
            self._exports[organisation_id] -= 1
            if not self._exports[organisation_id]:
                del self._exports[organisation_id]
            self._metrics.exports_running.dec()
