"""Checkpoints and closings on a schedule.

Long sessions and operations chains are anchored while they grow. The chain of a session that was ended is closed here
when nothing is pending on it and whoever appended the last event could not close it, or when its deadline has passed.

A chain is due when the oldest event that no checkpoint covers is older than the interval, or when there are as many as
the limit. What does not count is the operations chain's note that its own checkpoint was anchored
(`ledger.anchor_obtained` for the chain "operations"): each checkpoint would cause the next one, for ever. Such notes
are covered by the next checkpoint that anything else causes. Notes about other chains' anchors do count; each was
caused by an event outside the operations chain, so they end by themselves.
"""

import asyncio
import contextlib
import random
from datetime import timedelta
from typing import Protocol

import structlog

from ledger.errors import LedgerError
from ledger.store.values import Chain, Receipt

DEFAULT_INTERVAL = timedelta(hours=1)
DEFAULT_MAX_EVENTS = 10_000
LOOK_SECONDS = 15.0  # how often due chains are looked for; adds at most this to the interval

_log = structlog.get_logger()


class CheckpointStore(Protocol):
    """What the schedule needs of the ledger's store."""

    async def due_checkpoints(self, *, max_age: timedelta, max_events: int) -> list[tuple[str, str]]:
        """Organisation and chain of every chain that is due."""

    async def checkpoint_chain(self, organisation_id: str, chain_id: str) -> Receipt:
        """Append a checkpoint and ask every authority to anchor it, in one commit."""

    async def due_closings(self) -> list[tuple[str, str]]:
        """Organisation and chain of every ended session that waits for nothing any more."""

    async def close_chain(self, organisation_id: str, chain_id: str) -> tuple[Chain, Receipt]:
        """Close a chain and ask every authority to anchor that, in one commit; a closed one stays as it is."""


async def run_schedule(
    store: CheckpointStore,
    stop: asyncio.Event,
    *,
    interval: timedelta = DEFAULT_INTERVAL,
    max_events: int = DEFAULT_MAX_EVENTS,
    look_seconds: float = LOOK_SECONDS,
) -> None:
    """Checkpoint and close whatever is due until `stop` is set.

    Several may run: a chain that two find due at the same moment is closed once; or it gets two checkpoints, which is
    harmless.
    """

    async def due_checkpoints() -> list[tuple[str, str]]:
        return await store.due_checkpoints(max_age=interval, max_events=max_events)

    while not stop.is_set():
        for find, settle in ((store.due_closings, _close), (due_checkpoints, _checkpoint)):
            try:
                due = await find()
            except LedgerError as error:
                _log.warning("due_chains_unknown", error=str(error))
                due = []
            for organisation_id, chain_id in due:
                if stop.is_set():
                    return
                await settle(store, organisation_id, chain_id)
        with contextlib.suppress(TimeoutError):
            # The jitter keeps several schedulers from looking at the same moment.
            await asyncio.wait_for(stop.wait(), look_seconds * random.uniform(0.5, 1.0))  # noqa: S311  # no secret


async def _close(store: CheckpointStore, organisation_id: str, chain_id: str) -> None:
    try:
        _, receipt = await store.close_chain(organisation_id, chain_id)
    except LedgerError as error:
        _log.warning("closing_failed", organisation_id=organisation_id, chain_id=chain_id, error=str(error))
        return
    _log.info("closed", organisation_id=organisation_id, chain_id=chain_id, sequence=receipt.last_sequence)


async def _checkpoint(store: CheckpointStore, organisation_id: str, chain_id: str) -> None:
    try:
        receipt = await store.checkpoint_chain(organisation_id, chain_id)
    except LedgerError as error:
        # Closed meanwhile, or the database is away: it is looked for again, and only if it is still due.
        _log.warning("checkpoint_failed", organisation_id=organisation_id, chain_id=chain_id, error=str(error))
        return
    _log.info("checkpointed", organisation_id=organisation_id, chain_id=chain_id, sequence=receipt.last_sequence)
