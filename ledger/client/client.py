"""The asyncio client of the ledger."""

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import grpc
from indelible.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from ledger.chain.receipt import InvalidReceiptError, ReceiptVerifier
from ledger.client import convert
from ledger.client.batcher import Batcher
from ledger.client.channel import DEFAULT_TIMEOUT_SECONDS, ClientTls, Connection
from ledger.client.errors import from_rpc_error
from ledger.client.files import write_atomically
from ledger.client.following import stream_events
from ledger.client.pipeline import AppendStream
from ledger.client.values import Anchor, Chain, CheckResult, CreatedLink, Event, NewEvent, Payload, Receipt

# A bundle may be large and is written completely before it is sent.
EXPORT_TIMEOUT_SECONDS = 1_800.0
CHECK_TIMEOUT_SECONDS = 600.0
PAGE_SIZE = 1_000

_STATES = {
    None: ledger_pb2.CHAIN_STATE_UNSPECIFIED,
    "open": ledger_pb2.CHAIN_STATE_OPEN,
    "ended": ledger_pb2.CHAIN_STATE_ENDED,
    "closed": ledger_pb2.CHAIN_STATE_CLOSED,
}


class LedgerClient:
    """Talks to one ledger as one caller; use it as `async with LedgerClient(...) as ledger`.

    `token` is the bearer token, or a function that gives the current one; None
    will do for methods that need none. `receipt_key` is the ledger's verifier key
    (NAME+KEYID+BASE64): with it every receipt's signature is checked, and one that does not hold raises
    InvalidReceiptError. Every method raises ClientError when the call fails; what fails in passing is tried again until
    `timeout_seconds` are over. Appends get an idempotency key, so that no repetition writes anything twice.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | Callable[[], str] | None,
        tls: ClientTls | None = None,
        receipt_key: str | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        """Raises ValueError for an unusable address or key. Nothing is sent before the first call."""
        self._receipts = ReceiptVerifier(receipt_key) if receipt_key else None
        self._connection = Connection(address, token, tls, timeout_seconds)
        self._stub: ledger_pb2_grpc.LedgerServiceAsyncStub = ledger_pb2_grpc.LedgerServiceStub(self._connection.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End running calls and the connection."""
        await self._connection.close()

    async def open_chain(self, chain_id: str, subject: Payload | None = None) -> tuple[Chain, Receipt]:
        """Open a session chain; opening it again with the same subject gives the first answer."""
        request = ledger_pb2.OpenChainRequest(chain_id=chain_id, subject=convert.payload_bytes(subject or {}))
        answer = await self._connection.call(self._stub.OpenChain, request)
        return convert.chain(answer.chain), self._checked(answer.receipt)

    async def append_events(
        self,
        chain_id: str,
        events: Sequence[NewEvent],
        *,
        idempotency_key: str | None = None,
        expected_sequence: int | None = None,
    ) -> Receipt:
        """Append 1 to 1,000 events, all or none. With `expected_sequence` the first must get that sequence.

        Raises ValueError for a payload that is not JSON.
        """
        request = convert.append_request(chain_id, events, idempotency_key, expected_sequence)
        answer = await self._connection.call(self._stub.AppendEvents, request)
        return self._checked(answer.receipt)

    async def append_event(
        self, chain_id: str, kind: str, payload: Payload, *, idempotency_key: str | None = None
    ) -> Receipt:
        """Append one event."""
        return await self.append_events(
            chain_id, [NewEvent(kind=kind, payload=payload)], idempotency_key=idempotency_key
        )

    def append_stream(self) -> AppendStream:
        """A pipeline of appends over one stream, for the highest throughput; see AppendStream."""
        return AppendStream(self._connection, self._stub.AppendEventStream, self._checked)

    def batcher(self, chain_id: str, *, max_events: int = 1_000, max_wait_seconds: float = 0.01) -> Batcher:
        """Collects single events into appends of up to `max_events`; see Batcher."""
        return Batcher(self.append_events, chain_id, max_events=max_events, max_wait_seconds=max_wait_seconds)

    async def checkpoint_chain(self, chain_id: str) -> Receipt:
        """Commit to every event so far and have that anchored."""
        request = ledger_pb2.CheckpointChainRequest(chain_id=chain_id)
        answer = await self._connection.call(self._stub.CheckpointChain, request)
        return self._checked(answer.receipt)

    async def end_session(
        self, chain_id: str, ending: Payload | None = None, *, wait_seconds: int = 0
    ) -> tuple[Chain, Receipt]:
        """End a session whose recordings or clips may still be in the making; ending it again gives the first receipt.

        From then on the chain only takes events about what is pending. It closes by itself when nothing is, or after
        `wait_seconds` (60 to 604,800; a day when 0); at once when nothing is pending now.
        """
        request = ledger_pb2.EndSessionRequest(
            chain_id=chain_id,
            ending=b"" if ending is None else convert.payload_bytes(ending),
            wait_seconds=wait_seconds,
        )
        answer = await self._connection.call(self._stub.EndSession, request)
        return convert.chain(answer.chain), self._checked(answer.receipt)

    async def close_chain(self, chain_id: str, closing: Payload | None = None) -> tuple[Chain, Receipt]:
        """Seal a session chain for ever; closing it again gives the first answer.

        Refused (PROCESSING_PENDING) while recordings or clips of the session are in the making: see `end_session`.
        """
        request = ledger_pb2.CloseChainRequest(
            chain_id=chain_id, closing=b"" if closing is None else convert.payload_bytes(closing)
        )
        answer = await self._connection.call(self._stub.CloseChain, request)
        return convert.chain(answer.chain), self._checked(answer.receipt)

    async def get_chain(self, chain_id: str) -> Chain:
        """The chain as it stands."""
        answer = await self._connection.call(self._stub.GetChain, ledger_pb2.GetChainRequest(chain_id=chain_id))
        return convert.chain(answer.chain)

    async def list_chains(self, *, state: str | None = None) -> AsyncGenerator[Chain, None]:
        """Every chain of the organisation, or those "open", "ended" or "closed", in order of chain_id."""
        request = ledger_pb2.ListChainsRequest(page_size=PAGE_SIZE, state=_STATES[state])
        while True:
            answer = await self._connection.call(self._stub.ListChains, request)
            for message in answer.chains:
                yield convert.chain(message)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def list_events(self, chain_id: str, *, kinds: Sequence[str] = ()) -> AsyncGenerator[Event, None]:
        """Every event of the chain so far, or those of the given kinds."""
        request = ledger_pb2.ListEventsRequest(chain_id=chain_id, page_size=PAGE_SIZE, kinds=kinds)
        while True:
            answer = await self._connection.call(self._stub.ListEvents, request)
            for event in convert.events(answer.events):
                yield event
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    def stream_events(
        self, chain_id: str, *, from_sequence: int = 1, follow: bool = False
    ) -> AsyncGenerator[Event, None]:
        """Every event from a sequence on; when following, also those to come, until the chain closes.

        A broken connection is taken up again where it broke: no event is missed, none comes twice.
        """
        return stream_events(
            self._connection, self._stub.StreamEvents, chain_id, from_sequence=from_sequence, follow=follow
        )

    async def list_anchors(self, chain_id: str) -> AsyncGenerator[Anchor, None]:
        """Every anchor of the chain, obtained or still asked for."""
        request = ledger_pb2.ListAnchorsRequest(chain_id=chain_id, page_size=PAGE_SIZE)
        while True:
            answer = await self._connection.call(self._stub.ListAnchors, request)
            for message in answer.anchors:
                yield convert.anchor(message)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def check_chain(self, chain_id: str) -> CheckResult:
        """Have the service re-hash the whole chain."""
        request = ledger_pb2.CheckChainRequest(chain_id=chain_id)
        return convert.check_result(
            await self._connection.call(self._stub.CheckChain, request, timeout_seconds=CHECK_TIMEOUT_SECONDS)
        )

    async def create_verify_link(self, chain_id: str, *, valid_days: int = 0) -> CreatedLink:
        """A link that shows the chain to whoever holds it, for 90 days unless said otherwise.

        Not repeated by itself: the second of two links nobody asked for would stay open.
        """
        request = ledger_pb2.CreateVerifyLinkRequest(chain_id=chain_id, valid_days=valid_days)
        return convert.created_link(await self._connection.call(self._stub.CreateVerifyLink, request, retry=False))

    async def revoke_verify_link(self, link_id: str) -> datetime:
        """End a link before its time; the moment it was first revoked."""
        request = ledger_pb2.RevokeVerifyLinkRequest(link_id=link_id)
        answer = await self._connection.call(self._stub.RevokeVerifyLink, request)
        return convert.moment(answer.revoked_at)

    async def erase_disclosures(
        self, chain_id: str, sequence: int, *, members: Sequence[str] = (), reason: str
    ) -> tuple[int, Receipt | None]:
        """Erase for ever what sealed members of an event say: the named ones, or all of them.

        How many were still there, and the receipt of the operations chain's note, if there were any. `reason` stays on
        that chain.
        """
        request = ledger_pb2.EraseDisclosuresRequest(
            chain_id=chain_id, sequence=sequence, members=members, reason=reason
        )
        answer = await self._connection.call(self._stub.EraseDisclosures, request)
        return answer.erased_count, self._checked(answer.receipt) if answer.HasField("receipt") else None

    async def export_bundle(self, chain_id: str, path: Path, *, include_disclosures: bool = False) -> int:
        """Write the chain's bundle to `path` and give its size in bytes. The file appears whole or not at all."""
        request = ledger_pb2.ExportBundleRequest(chain_id=chain_id, include_disclosures=include_disclosures)
        chunks = self._chunks(self._stub.ExportBundle, request)
        return await write_atomically(chunks, path)

    def stream_linked_bundle(self, token: str) -> AsyncGenerator[bytes, None]:
        """The bundle a verify link points at, in pieces. The link is the permission."""
        return self._chunks(self._stub.ExportLinkedBundle, ledger_pb2.ExportLinkedBundleRequest(token=token))

    async def _chunks(self, method: Callable[..., Any], request: Any) -> AsyncGenerator[bytes, None]:
        call = method(request, timeout=EXPORT_TIMEOUT_SECONDS, metadata=self._connection.metadata())
        try:
            async for message in call:
                yield message.data
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self._connection.name) from None
        finally:
            call.cancel()

    def _checked(self, message: ledger_pb2.Receipt) -> Receipt:
        """The receipt, after its signature is found to be the pinned key's and about these very events."""
        receipt = convert.receipt(message)
        if self._receipts is not None:
            stated = self._receipts.verify(receipt.signed_note)
            accepted = (receipt.chain_id, receipt.last_sequence, receipt.event_hashes[-1:])
            if (stated.chain_id, stated.sequence, (stated.hash,)) != accepted:
                raise InvalidReceiptError("the receipt is about other events than those that were appended")
        return receipt
