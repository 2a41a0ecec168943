"""Who is anchored where, and what becomes of that when the operator changes the file."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.chain.receipt import ReceiptSigner
from ledger.store import LedgerStore
from ledger.store.admin import add_organisation
from ledger.store.values import AnchorSets, AnchorTarget, NewEvent
from sandbox.database import Database
from tests.anchoring.ledger_under_test import PATIENCE_SECONDS, Ledger, working
from tests.anchoring.paper import OTHER, TARGET, Backend, Source

THIRD = AnchorTarget(backend="stone", authority="tablet")


@contextlib.asynccontextmanager
async def configured(
    database: Database,
    organisation: str,
    *targets: AnchorTarget,
    default: Sequence[AnchorTarget],
    organisations: Mapping[str, tuple[AnchorTarget, ...]] | None = None,
) -> AsyncIterator[Ledger]:
    """A ledger that was started with these settings."""
    await asyncio.to_thread(add_organisation, database.admin_dsn, organisation, "Acme Security")
    store = await LedgerStore.open(
        runtime_dsn=database.runtime_dsn,
        append_dsn=database.append_dsn,
        worker_dsn=database.worker_dsn,
        signer=ReceiptSigner(key=Ed25519PrivateKey.generate(), name="ledger.test"),
        anchor_targets=targets,
        anchor_sets=AnchorSets(default=tuple(default), organisations=organisations or {}),
    )
    try:
        yield Ledger(store=store, database=database, organisation=organisation)
    finally:
        await store.close()


async def test_each_organisation_is_anchored_at_its_own_authorities(database: Database) -> None:
    own = {"acme": (OTHER, THIRD)}
    everyone = (TARGET, OTHER, THIRD)
    async with configured(database, "acme", *everyone, default=[TARGET], organisations=own) as ledger:
        await ledger.closed_session("s1")
        assert sorted(await ledger.anchors("s1")) == ["herald", "tablet"]
    async with configured(database, "other", *everyone, default=[TARGET], organisations=own) as ledger:
        await ledger.closed_session("s1")
        assert sorted(await ledger.anchors("s1")) == ["gazette"]


async def test_a_change_of_the_file_is_for_what_comes_later_and_what_was_asked_for_before_is_still_done(
    database: Database,
) -> None:
    async with configured(database, "acme", TARGET, OTHER, default=[TARGET, OTHER]) as ledger:
        await ledger.store.open_chain("acme", "s1", b"{}")
        await ledger.store.append_events("acme", "s1", [NewEvent(kind="door.opened", payload=b"{}")], "one")
        first = await ledger.store.checkpoint_chain("acme", "s1")
    changed = {"acme": (TARGET,)}
    async with configured(database, "acme", TARGET, OTHER, default=[OTHER], organisations=changed) as ledger:
        await ledger.store.close_chain("acme", "s1")
        async with working(ledger.store, Source(Backend(TARGET), Backend(OTHER))):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await ledger.sql("SELECT 1 FROM indelible.anchor_jobs"):  # noqa: ASYNC110 - the worker has no event to wait for
                    await asyncio.sleep(0.05)
        listed = await ledger.store.list_anchors("acme", "s1", limit=10)
    assert [(status.sequence, status.authority) for status in listed] == [
        (first.last_sequence, "gazette"),
        (first.last_sequence, "herald"),
        (first.last_sequence + 1, "gazette"),
    ]


async def test_what_waits_for_an_authority_that_is_no_longer_configured_says_so_and_is_not_late(
    database: Database,
) -> None:
    async with configured(database, "acme", TARGET, OTHER, default=[TARGET, OTHER]) as ledger:
        await ledger.closed_session("s1")
        await ledger.sql("UPDATE indelible.anchor_jobs SET last_error = 'no answer' WHERE authority = 'herald'")
        await ledger.sql("UPDATE indelible.anchor_jobs SET requested_at = now() - interval '9 days'")
        assert set(await ledger.store.oldest_unanchored()) == {TARGET, OTHER}
    async with (
        configured(database, "acme", TARGET, default=[TARGET]) as ledger,
        working(ledger.store, Source(Backend(TARGET))) as registry,
    ):
        await ledger.wait_for("s1", TARGET.authority, state="obtained")
        status = (await ledger.anchors("s1"))[OTHER.authority]
        assert (status.state, status.next_attempt_at) == ("pending", None)
        assert status.last_error == (
            "this authority is no longer configured, so it is not asked; the last attempt said: no answer"
        )
        assert await ledger.store.oldest_unanchored() == {}
        # Counted still, beside the age: nothing that was asked for is hidden.
        labels = {"backend": OTHER.backend, "authority": OTHER.authority}
        assert registry.get_sample_value("indelible_anchoring_pending", labels) == 1
        assert registry.get_sample_value("indelible_anchoring_oldest_unanchored_seconds") is not None
    async with configured(database, "acme", TARGET, OTHER, default=[TARGET]) as ledger:
        assert (await ledger.store.oldest_unanchored())[OTHER] < datetime.now(tz=UTC)
        async with working(ledger.store, Source(Backend(OTHER))):
            await ledger.wait_for("s1", OTHER.authority, state="obtained")


async def test_an_authority_configured_later_is_asked_about_a_closed_chain_when_somebody_wants_that(
    database: Database,
) -> None:
    async with configured(database, "acme", TARGET, default=[TARGET]) as ledger:
        await ledger.closed_session("s1")
        chain = await ledger.store.get_chain("acme", "s1")
        async with working(ledger.store, Source(Backend(TARGET))):
            await ledger.wait_for("s1", TARGET.authority, state="obtained")
    async with configured(database, "acme", TARGET, OTHER, default=[TARGET, OTHER]) as ledger:
        assert set(await ledger.anchors("s1")) == {TARGET.authority}
        for _ in range(2):
            receipt = await ledger.store.checkpoint_chain("acme", "s1")
            assert (receipt.last_sequence, receipt.replayed) == (chain.event_count, True)
            assert (await ledger.anchors("s1"))[OTHER.authority].state == "pending"
        assert len(await ledger.sql("SELECT 1 FROM indelible.anchor_jobs WHERE sequence = %s", chain.event_count)) == 1
        async with working(ledger.store, Source(Backend(TARGET), Backend(OTHER))):
            status = await ledger.wait_for("s1", OTHER.authority, state="obtained")
        await ledger.store.checkpoint_chain("acme", "s1")
        assert await ledger.sql("SELECT 1 FROM indelible.anchor_jobs") == []
    assert (status.digest, status.sequence) == (chain.head, chain.event_count)
