"""What the worker promises to every backend, present and future, shown with backends made for the purpose."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import pytest

from ledger.anchoring.port import InProgress, Obtained, UnavailableError
from ledger.anchoring.worker import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, pause_seconds, presentable
from sandbox.database import Database
from tests.anchoring.ledger_under_test import PATIENCE_SECONDS, Ledger, open_ledger, working
from tests.anchoring.paper import OTHER, TARGET, Backend, Source, obtained


@pytest.fixture
async def ledger(module_database: Database) -> AsyncIterator[Ledger]:
    async with open_ledger(module_database, [TARGET, OTHER]) as opened:
        yield opened


async def test_evidence_that_takes_long_is_resumed_where_it_was(ledger: Ledger) -> None:
    class Slow(Backend):
        async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained | InProgress:
            self.calls.append((digest, state, time.monotonic()))
            if state is None:
                return InProgress(state={"operation": "op1"}, again_at=datetime.now(tz=UTC))
            return obtained(digest)

    backend = Slow()
    await ledger.closed_session("s1")
    async with working(ledger.store, Source(backend)):
        await ledger.wait_for("s1", "gazette", state="obtained")
    assert [state for _, state, _ in backend.calls] == [None, {"operation": "op1"}]


async def test_a_defect_in_a_backend_costs_neither_the_job_nor_other_authorities(ledger: Ledger) -> None:
    class Defective(Backend):
        async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained | InProgress:
            await super().anchor(digest, state)
            raise KeyError("what only a log should see")

    await ledger.closed_session("s1")
    async with working(ledger.store, Source(Defective(), Backend(OTHER))):
        await ledger.wait_for("s1", "herald", state="obtained")
        status = await ledger.wait_for_failure("s1", "gazette")
    assert status.last_error == "a defect in the ledger (KeyError)"


async def test_an_attempt_is_cut_off_after_its_time(ledger: Ledger) -> None:
    class Endless(Backend):
        attempt_seconds = 0.3

        async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained | InProgress:
            await super().anchor(digest, state)
            await asyncio.Event().wait()
            raise AssertionError

    await ledger.closed_session("s1")
    async with working(ledger.store, Source(Endless())):
        status = await ledger.wait_for_failure("s1", "gazette")
    assert status.last_error == "it took longer than 0.3 seconds"


async def test_the_pause_an_authority_wants_is_kept(ledger: Ledger) -> None:
    class Leisurely(Backend):
        min_interval_seconds = 2.0

    backend = Leisurely()
    for chain_id in ("s1", "s2", "s3"):
        await ledger.closed_session(chain_id)
    async with working(ledger.store, Source(backend)):
        for chain_id in ("s1", "s2", "s3"):
            await ledger.wait_for(chain_id, "gazette", state="obtained")
    begun = sorted(at for _, _, at in backend.calls)
    # The lane looks at the clock a moment before the backend does, which on a busy machine may last.
    assert min(later - earlier for earlier, later in itertools.pairwise(begun)) > 1.0


async def test_no_more_than_its_room_is_asked_at_once(ledger: Ledger) -> None:
    class Crowded(Backend):
        concurrency = 2
        inside = most = 0

        async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained | InProgress:
            self.inside += 1
            self.most = max(self.most, self.inside)
            await asyncio.sleep(0.1)
            self.inside -= 1
            return await super().anchor(digest, state)

    backend = Crowded()
    chains = [f"s{number}" for number in range(5)]
    for chain_id in chains:
        await ledger.closed_session(chain_id)
    async with working(ledger.store, Source(backend)):
        for chain_id in chains:
            await ledger.wait_for(chain_id, "gazette", state="obtained")
    assert backend.most == 2


async def test_what_is_under_way_is_finished_when_the_worker_is_told_to_stop(ledger: Ledger) -> None:
    asked = asyncio.Event()

    class Thoughtful(Backend):
        async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained | InProgress:
            asked.set()
            await asyncio.sleep(0.5)
            return await super().anchor(digest, state)

    await ledger.closed_session("s1")
    async with working(ledger.store, Source(Thoughtful())):
        await asked.wait()
    assert (await ledger.anchors("s1"))["gazette"].state == "obtained"


async def test_a_pause_that_is_asked_for_is_kept_up_to_an_hour(ledger: Ledger) -> None:
    class Busy(Backend):
        async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained | InProgress:
            await super().anchor(digest, state)
            raise UnavailableError("come back tomorrow", retry_after_seconds=86_400.0)

    await ledger.closed_session("s1")
    async with working(ledger.store, Source(Busy())):
        status = await ledger.wait_for_failure("s1", "gazette")
    assert status.next_attempt_at is not None
    wait = (status.next_attempt_at - datetime.now(tz=UTC)).total_seconds()
    assert LONGEST_PAUSE_SECONDS - 60 < wait <= LONGEST_PAUSE_SECONDS


async def test_a_database_that_is_away_for_a_moment_does_not_cost_the_answer(ledger: Ledger) -> None:
    class Severing(Backend):
        """Ends every connection of the ledger at the moment the answer is there."""

        severed = asyncio.Event()

        async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained | InProgress:
            answer = await super().anchor(digest, state)
            await ledger.sever()
            self.severed.set()
            return answer

    backend = Severing()
    await ledger.closed_session("s1")
    async with working(ledger.store, Source(backend)) as registry:
        await backend.severed.wait()
        await asyncio.sleep(1.0)
        await ledger.reconnect()
        await ledger.wait_for("s1", "gazette", state="obtained")
    # Counted when the worker has heard of the commit, which the test may see first.
    outcomes = registry.get_sample_value(
        "indelible_anchoring_attempts_total",
        {"backend": "paper", "authority": "gazette", "outcome": "obtained"},
    )
    assert outcomes == 1
    assert len(backend.calls) == 1, "the answer was thrown away and asked for again"


async def test_the_oldest_waiting_checkpoint_shows_in_the_metrics(ledger: Ledger) -> None:
    seen = asyncio.Event()

    class Waiting(Backend):
        """Answers when the checkpoint has been seen to wait."""

        attempt_seconds = PATIENCE_SECONDS

        async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained | InProgress:
            await seen.wait()
            return await super().anchor(digest, state)

    await ledger.closed_session("s1")
    await ledger.sql("UPDATE indelible.anchor_jobs SET requested_at = now() - interval '1 hour'")
    async with working(ledger.store, Source(Waiting())) as registry:
        age = None
        while not age:
            await asyncio.sleep(0.05)
            age = registry.get_sample_value("indelible_anchoring_oldest_unanchored_seconds")
        seen.set()
        labels = {"backend": TARGET.backend, "authority": TARGET.authority}
        assert registry.get_sample_value("indelible_anchoring_oldest_pending_seconds", labels) == age
    assert 3600 <= age < 3700


@pytest.mark.parametrize("attempts", [0, 1, 2, 5, 12, 13, 1_000_000])
def test_pauses_double_up_to_an_hour_and_are_shortened_by_at_most_half(attempts: int) -> None:
    full = min(FIRST_PAUSE_SECONDS * 2 ** min(max(attempts, 1) - 1, 30), LONGEST_PAUSE_SECONDS)
    for _ in range(50):
        assert full / 2 <= pause_seconds(attempts, LONGEST_PAUSE_SECONDS) <= full


def test_a_strangers_text_is_shown_on_one_line_without_control_characters() -> None:
    assert presentable("bad\x1b[31m\r\nnews\x00\u202e") == "bad [31m  news  "
    assert len(presentable("x" * 10_000)) == 500
