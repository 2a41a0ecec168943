"""The same client for programs without asyncio."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from ledger.client.channel import DEFAULT_TIMEOUT_SECONDS, ClientTls
from ledger.client.client import LedgerClient
from ledger.client.values import Anchor, Chain, CheckResult, CreatedLink, Event, NewEvent, Payload, Receipt

Answer = TypeVar("Answer")
_START_SECONDS = 30.0


class BlockingLedgerClient:
    """LedgerClient with blocking methods, which any number of threads may call at once.

    It runs the asyncio client on a thread of its own; `close`, or leaving the context, ends that.
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
        """As LedgerClient. Raises ValueError for an unusable address or key."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ledger-client", daemon=True)
        self._thread.start()

        async def create() -> LedgerClient:
            return LedgerClient(address, token=token, tls=tls, receipt_key=receipt_key, timeout_seconds=timeout_seconds)

        try:
            self._client = self._wait(create())
        except BaseException:
            self._stop_loop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End running calls, the connection and the thread."""
        if self._loop.is_running():
            self._wait(self._client.close())
            self._stop_loop()

    def open_chain(self, chain_id: str, subject: Payload | None = None) -> tuple[Chain, Receipt]:
        """As LedgerClient.open_chain."""
        return self._wait(self._client.open_chain(chain_id, subject))

    def append_events(
        self,
        chain_id: str,
        events: Sequence[NewEvent],
        *,
        idempotency_key: str | None = None,
        expected_sequence: int | None = None,
    ) -> Receipt:
        """As LedgerClient.append_events."""
        return self._wait(
            self._client.append_events(
                chain_id, events, idempotency_key=idempotency_key, expected_sequence=expected_sequence
            )
        )

    def append_event(
        self, chain_id: str, kind: str, payload: Payload, *, idempotency_key: str | None = None
    ) -> Receipt:
        """As LedgerClient.append_event."""
        return self._wait(self._client.append_event(chain_id, kind, payload, idempotency_key=idempotency_key))

    def checkpoint_chain(self, chain_id: str) -> Receipt:
        """As LedgerClient.checkpoint_chain."""
        return self._wait(self._client.checkpoint_chain(chain_id))

    def end_session(
        self, chain_id: str, ending: Payload | None = None, *, wait_seconds: int = 0
    ) -> tuple[Chain, Receipt]:
        """As LedgerClient.end_session."""
        return self._wait(self._client.end_session(chain_id, ending, wait_seconds=wait_seconds))

    def close_chain(self, chain_id: str, closing: Payload | None = None) -> tuple[Chain, Receipt]:
        """As LedgerClient.close_chain."""
        return self._wait(self._client.close_chain(chain_id, closing))

    def get_chain(self, chain_id: str) -> Chain:
        """As LedgerClient.get_chain."""
        return self._wait(self._client.get_chain(chain_id))

    def list_chains(self, *, state: str | None = None) -> Iterator[Chain]:
        """As LedgerClient.list_chains."""
        return self._iterate(self._client.list_chains(state=state))

    def list_events(self, chain_id: str, *, kinds: Sequence[str] = ()) -> Iterator[Event]:
        """As LedgerClient.list_events."""
        return self._iterate(self._client.list_events(chain_id, kinds=kinds))

    def stream_events(self, chain_id: str, *, from_sequence: int = 1, follow: bool = False) -> Iterator[Event]:
        """As LedgerClient.stream_events."""
        return self._iterate(self._client.stream_events(chain_id, from_sequence=from_sequence, follow=follow))

    def list_anchors(self, chain_id: str) -> Iterator[Anchor]:
        """As LedgerClient.list_anchors."""
        return self._iterate(self._client.list_anchors(chain_id))

    def check_chain(self, chain_id: str) -> CheckResult:
        """As LedgerClient.check_chain."""
        return self._wait(self._client.check_chain(chain_id))

    def create_verify_link(self, chain_id: str, *, valid_days: int = 0) -> CreatedLink:
        """As LedgerClient.create_verify_link."""
        return self._wait(self._client.create_verify_link(chain_id, valid_days=valid_days))

    def revoke_verify_link(self, link_id: str) -> datetime:
        """As LedgerClient.revoke_verify_link."""
        return self._wait(self._client.revoke_verify_link(link_id))

    def erase_disclosures(
        self, chain_id: str, sequence: int, *, members: Sequence[str] = (), reason: str
    ) -> tuple[int, Receipt | None]:
        """As LedgerClient.erase_disclosures."""
        return self._wait(self._client.erase_disclosures(chain_id, sequence, members=members, reason=reason))

    def export_bundle(self, chain_id: str, path: Path, *, include_disclosures: bool = False) -> int:
        """As LedgerClient.export_bundle."""
        return self._wait(self._client.export_bundle(chain_id, path, include_disclosures=include_disclosures))

    def stream_linked_bundle(self, token: str) -> Iterator[bytes]:
        """As LedgerClient.stream_linked_bundle."""
        return self._iterate(self._client.stream_linked_bundle(token))

    def _wait(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Run `work` on the client's thread; an interruption of this thread (Ctrl-C) cancels it there."""
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def _iterate(self, items: AsyncGenerator[Answer, None]) -> Iterator[Answer]:
        end = object()

        async def following() -> Any:
            return await anext(items, end)

        try:
            while (item := self._wait(following())) is not end:
                yield item
        finally:
            self._wait(items.aclose())

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)
        self._loop.close()
