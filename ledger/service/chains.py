"""Opening, checkpointing, closing, reading and re-checking chains."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from indelible.ledger.v1 import ledger_pb2

from ledger.chain.event import Event, is_kind
from ledger.errors import LedgerError, Reason
from ledger.identity import Caller
from ledger.service.convert import anchor_message, chain_message, event_message, receipt_message
from ledger.serving.calls import Session, StoppingError
from ledger.serving.paging import page_size, read_page_token, write_page_token
from ledger.store import LedgerStore
from ledger.store.intake import check_chain_id

# Payload bytes on one page: stays well below the 4 MiB that gRPC clients accept by default.
MAX_PAGE_BYTES = 2 * 1024 * 1024
# Rows read at once until their size is known: 64 of the largest payloads are 16 MiB.
FIRST_ROWS = 64
MAX_KINDS = 16
# As page tokens have it: no chain will ever be that long.
MAX_SEQUENCE = 2**48 - 1
# A full re-check of a long chain is the slowest unary call.
MAX_CHECK_SECONDS = 600.0

_STATES = {
    ledger_pb2.CHAIN_STATE_UNSPECIFIED: None,
    ledger_pb2.CHAIN_STATE_OPEN: "open",
    ledger_pb2.CHAIN_STATE_CLOSED: "closed",
    ledger_pb2.CHAIN_STATE_ENDED: "ended",
}


class Chains:
    """The handlers about chains, their events and their anchors."""

    def __init__(self, store: LedgerStore, stopping: asyncio.Event) -> None:
        self._store = store
        self._stopping = stopping

    async def open_chain(self, request: ledger_pb2.OpenChainRequest, caller: Caller) -> ledger_pb2.OpenChainResponse:
        """Open a session chain."""
        subject = request.subject or b"{}"
        chain, receipt = await self._store.open_chain(caller.organisation_id, request.chain_id, subject)
        return ledger_pb2.OpenChainResponse(chain=chain_message(chain), receipt=receipt_message(receipt))

    async def checkpoint_chain(
        self, request: ledger_pb2.CheckpointChainRequest, caller: Caller
    ) -> ledger_pb2.CheckpointChainResponse:
        """Commit to everything so far, and have that anchored."""
        check_chain_id(request.chain_id)
        receipt = await self._store.checkpoint_chain(caller.organisation_id, request.chain_id)
        return ledger_pb2.CheckpointChainResponse(receipt=receipt_message(receipt))

    async def end_session(self, request: ledger_pb2.EndSessionRequest, caller: Caller) -> ledger_pb2.EndSessionResponse:
        """End a session; with nothing pending, that seals its chain."""
        check_chain_id(request.chain_id)
        chain, receipt = await self._store.end_session(
            caller.organisation_id, request.chain_id, request.ending, wait_seconds=request.wait_seconds
        )
        return ledger_pb2.EndSessionResponse(chain=chain_message(chain), receipt=receipt_message(receipt))

    async def close_chain(self, request: ledger_pb2.CloseChainRequest, caller: Caller) -> ledger_pb2.CloseChainResponse:
        """Seal a session chain for ever."""
        check_chain_id(request.chain_id)
        chain, receipt = await self._store.close_chain(caller.organisation_id, request.chain_id, request.closing)
        return ledger_pb2.CloseChainResponse(chain=chain_message(chain), receipt=receipt_message(receipt))

    async def get_chain(self, request: ledger_pb2.GetChainRequest, caller: Caller) -> ledger_pb2.GetChainResponse:
        """One chain as it stands."""
        check_chain_id(request.chain_id)
        chain = await self._store.get_chain(caller.organisation_id, request.chain_id)
        return ledger_pb2.GetChainResponse(chain=chain_message(chain))

    async def list_chains(self, request: ledger_pb2.ListChainsRequest, caller: Caller) -> ledger_pb2.ListChainsResponse:
        """A page of the organisation's chains, by chain_id."""
        size = page_size(request.page_size)
        if request.state not in _STATES:
            raise LedgerError(Reason.INVALID_ARGUMENT, "state is not one of the known states.", {"field": "state"})
        question = ("ListChains", caller.organisation_id, str(int(request.state)))
        position = read_page_token(request.page_token, question, (str,))
        chains = await self._store.list_chains(
            caller.organisation_id,
            limit=size + 1,
            after=str(position[0]) if position else None,
            state=_STATES[request.state],
        )
        page = chains[:size]
        following = write_page_token(question, [page[-1].chain_id]) if len(chains) > size else ""
        return ledger_pb2.ListChainsResponse(chains=map(chain_message, page), next_page_token=following)

    async def list_events(self, request: ledger_pb2.ListEventsRequest, caller: Caller) -> ledger_pb2.ListEventsResponse:
        """A page of a chain's events, by sequence; large payloads make a page shorter than was asked for."""
        check_chain_id(request.chain_id)
        size = page_size(request.page_size)
        if len(request.kinds) > MAX_KINDS or not all(map(is_kind, request.kinds)):
            raise LedgerError(
                Reason.INVALID_ARGUMENT, f"kinds may name at most {MAX_KINDS} kinds of events.", {"field": "kinds"}
            )
        if request.from_sequence > MAX_SEQUENCE:
            raise LedgerError(
                Reason.INVALID_ARGUMENT, f"from_sequence must be at most {MAX_SEQUENCE}.", {"field": "from_sequence"}
            )
        question = ("ListEvents", caller.organisation_id, request.chain_id, *request.kinds)
        position = read_page_token(request.page_token, question, (int,))
        start = int(position[0]) if position else max(request.from_sequence, 1)
        events, more = await self._read_page(caller.organisation_id, request.chain_id, start, size, request.kinds)
        following = write_page_token(question, [events[-1].sequence + 1]) if more else ""
        return ledger_pb2.ListEventsResponse(events=map(event_message, events), next_page_token=following)

    async def stream_events(
        self, request: ledger_pb2.StreamEventsRequest, session: Session
    ) -> AsyncGenerator[ledger_pb2.StreamEventsResponse, None]:
        """Every event from a sequence on; when following, also those to come, until the chain closes."""
        check_chain_id(request.chain_id)
        batches = self._store.stream_events(
            session.caller.organisation_id,
            request.chain_id,
            from_sequence=max(request.from_sequence, 1),
            follow=request.follow,
        )
        async for batch in _until(self._stopping, batches):
            session.check()
            yield ledger_pb2.StreamEventsResponse(events=map(event_message, batch))

    async def list_anchors(
        self, request: ledger_pb2.ListAnchorsRequest, caller: Caller
    ) -> ledger_pb2.ListAnchorsResponse:
        """A page of a chain's anchors, obtained and pending."""
        check_chain_id(request.chain_id)
        size = page_size(request.page_size)
        question = ("ListAnchors", caller.organisation_id, request.chain_id)
        position = read_page_token(request.page_token, question, (int, str, str))
        anchors = await self._store.list_anchors(
            caller.organisation_id,
            request.chain_id,
            limit=size + 1,
            after=(int(position[0]), str(position[1]), str(position[2])) if position else None,
        )
        page = anchors[:size]
        following = ""
        if len(anchors) > size:
            following = write_page_token(question, [page[-1].sequence, page[-1].backend, page[-1].authority])
        return ledger_pb2.ListAnchorsResponse(anchors=map(anchor_message, page), next_page_token=following)

    async def erase_disclosures(
        self, request: ledger_pb2.EraseDisclosuresRequest, caller: Caller
    ) -> ledger_pb2.EraseDisclosuresResponse:
        """Erase what sealed members of one event say."""
        check_chain_id(request.chain_id)
        erased, receipt = await self._store.erase_disclosures(
            caller.organisation_id,
            request.chain_id,
            request.sequence,
            members=tuple(request.members),
            reason=request.reason,
            erased_by=caller.subject,
        )
        return ledger_pb2.EraseDisclosuresResponse(
            erased_count=erased, receipt=receipt_message(receipt) if receipt else None
        )

    async def check_chain(self, request: ledger_pb2.CheckChainRequest, caller: Caller) -> ledger_pb2.CheckChainResponse:
        """Re-hash the whole chain from what is stored."""
        check_chain_id(request.chain_id)
        result = await self._store.check_chain(caller.organisation_id, request.chain_id)
        return ledger_pb2.CheckChainResponse(
            ok=result.ok,
            event_count=result.event_count,
            head=result.head,
            first_divergent_sequence=result.first_divergent_sequence or 0,
            divergence=result.divergence,
        )

    async def _read_page(
        self, organisation_id: str, chain_id: str, start: int, size: int, kinds: Sequence[str]
    ) -> tuple[list[Event], bool]:
        """At most `size` events and `MAX_PAGE_BYTES` of payload, and whether there are more."""
        events: list[Event] = []
        used = 0
        rows = FIRST_ROWS
        while True:
            limit = min(size + 1 - len(events), rows)
            batch = await self._store.list_events(
                organisation_id, chain_id, from_sequence=start, limit=limit, kinds=list(kinds)
            )
            for event in batch:
                used += len(event.payload)
                if len(events) == size or (events and used > MAX_PAGE_BYTES):
                    return events, True
                events.append(event)
            if len(batch) < limit:
                return events, False
            start = events[-1].sequence + 1
            rows = max(1, (MAX_PAGE_BYTES - used) * len(events) // max(used, 1))


async def _until(stopping: asyncio.Event, batches: AsyncIterator[list[Event]]) -> AsyncGenerator[list[Event], None]:
    """The batches, until there are no more or the service stops. Raises StoppingError."""
    stop = asyncio.create_task(stopping.wait())
    arriving: asyncio.Future[list[Event] | None] | None = None
    try:
        while True:
            arriving = asyncio.ensure_future(anext(batches, None))
            await asyncio.wait({arriving, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not arriving.done():
                raise StoppingError
            batch = arriving.result()
            if batch is None:
                return
            yield batch
    finally:
        stop.cancel()
        if arriving is not None and not arriving.done():
            arriving.cancel()
            await asyncio.wait({arriving})
        if isinstance(batches, AsyncGenerator):
            async with aclosing(batches):
                pass
