"""The session's chain while it is recorded: whether it is still open, and that it knows everything so far.

Both within a bound in time: what must be stopped must not wait for the ledger.
"""

import asyncio

import structlog

from ledger.client import ClientError
from media.clips.relay import relay_chain
from media.errors import MediaError, Reason
from media.recordings.control import Control

_OVER = frozenset({"ended", "closed"})

_log = structlog.stdlib.get_logger("evidence.recordings")


async def tell_session(control: Control, organisation_id: str, session_chain_id: str) -> bool:
    """Tell the chain what it has not been told yet; whether it knows everything now, or never will."""
    try:
        async with asyncio.timeout(control.limits.ledger):
            return await relay_chain(control.records, control.ledgers, organisation_id, session_chain_id)
    except TimeoutError:
        # What was sent meanwhile is sent again, under the same keys.
        return False


async def is_session_over(control: Control, organisation_id: str, session_chain_id: str) -> bool:
    """Whether the session has ended. Raises MediaError: CHAIN_NOT_FOUND, LEDGER_UNAVAILABLE."""
    try:
        async with asyncio.timeout(control.limits.ledger):
            chain = await control.ledgers.of(organisation_id).get_chain(session_chain_id)
    except TimeoutError:
        raise MediaError(Reason.LEDGER_UNAVAILABLE, "the ledger did not answer in time; try again") from None
    except ClientError as error:
        if error.reason == Reason.CHAIN_NOT_FOUND:
            raise MediaError(
                Reason.CHAIN_NOT_FOUND,
                f"your organisation has no session chain {session_chain_id!r}",
                {"field": "session_chain_id"},
            ) from None
        _log.warning("session_not_known", organisation_id=organisation_id, reason=error.reason)
        raise MediaError(Reason.LEDGER_UNAVAILABLE, "the ledger cannot be asked about the session now") from error
    return chain.state in _OVER
