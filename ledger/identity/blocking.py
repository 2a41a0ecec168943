"""The check of bearer tokens for programs without asyncio."""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, Self, TypeVar

from ledger.identity.keys import KeySource
from ledger.identity.opening import Identity
from ledger.identity.tokens import Caller, UnauthenticatedError
from ledger.settings_reader import TokenSettings

Answer = TypeVar("Answer")

# Reading or fetching all keys at the start; each address has a shorter limit of its own.
OPEN_SECONDS = 30.0
# A caller with a key that is not known waits so long for the issuer's answer, then it is refused.
REFRESH_SECONDS = 6.0
# So many may wait for it at once. Others are refused directly: made-up keys must not tie up every thread of a server.
MAX_WAITING = 4


class BlockingIdentity:
    """Identity with a blocking check, which any number of threads may ask at once.

    The keys are kept fresh on a thread of its own; `close`, or leaving the context, ends that.
    """

    def __init__(self, settings: TokenSettings, *, known: Sequence[tuple[TokenSettings, KeySource]] = ()) -> None:
        """As Identity.open. Raises SettingsError."""
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._waiting = threading.BoundedSemaphore(MAX_WAITING)
        self._thread = threading.Thread(target=self._loop.run_forever, name="token-keys", daemon=True)
        self._thread.start()
        try:
            self._identity = self._wait(Identity.open(settings, known=known), OPEN_SECONDS)
        except BaseException:
            self._end()
            raise
        self._running = asyncio.run_coroutine_threadsafe(self._identity.run(self._stop), self._loop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop looking for newer keys."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._running.result(REFRESH_SECONDS)
            self._end()

    def authenticate(self, token: str) -> Caller:
        """The caller `token` speaks for; a key that is not known is looked for once.

        Raises UnauthenticatedError (a LedgerError) for anything else.
        """
        authenticator = self._identity.authenticator
        try:
            return authenticator.authenticate(token)
        except UnauthenticatedError as refusal:
            if refusal.issuer is None:
                raise
            issuer = refusal.issuer
        if not self._waiting.acquire(blocking=False):
            raise UnauthenticatedError
        try:
            self._wait(authenticator.refresh(issuer), REFRESH_SECONDS)
        except TimeoutError:
            raise UnauthenticatedError from None
        finally:
            self._waiting.release()
        return authenticator.authenticate(token)

    def _wait(self, work: Coroutine[Any, Any, Answer], seconds: float) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
