"""Retention and disposal: due when the organisation says, begun once, resumed after every step."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from media.errors import Reason
from media.records.kept import CLIP
from media.records.records import Records
from media.records.values import DAY_US, Retention
from sandbox.database import Database
from tests.media.records.recording import (
    DISPOSAL,
    asked,
    dispose,
    hold,
    lift,
    make_clip,
    noted,
    now_us,
    reason_of,
    retention_of,
)


async def test_clips_are_due_for_disposal_when_their_organisation_says_and_nothing_holds_them(
    records: Records,
) -> None:
    clip, held = await make_clip(records), await make_clip(records, "inc-2")
    await make_clip(records, "inc-3", organisation_id="zenith")
    await records.request(asked("inc-4"))
    placed = await hold(records, held)
    in_eleven_days = now_us() + 11 * DAY_US

    async def due() -> set[str]:
        found = await records.due_for_disposal(CLIP, now=in_eleven_days, limit=10)
        return {(await records.get_clip(*one)).incident_id for one in found}

    assert await due() == set()
    await retention_of(records)
    assert await due() == {"inc-1"}
    await retention_of(records, organisation_id="zenith")
    assert await due() == {"inc-1", "inc-3"}
    await retention_of(records, organisation_id="zenith", days=3_000)
    await lift(records, held, placed)
    assert await due() == {"inc-1", "inc-2"}
    await retention_of(records, days=12)
    assert await due() == set()
    assert (await records.get_clip("acme", clip.clip_id)).retain_until == (clip.ended_at or 0) + 12 * DAY_US


async def test_a_disposal_is_resumed_after_every_step_and_the_digests_stay(records: Records) -> None:
    clip = await make_clip(records)
    assert await records.disposing(10) == []
    await dispose(records, clip)
    assert (await dispose(records, clip)).state == "DISPOSING"  # decided twice is decided
    (found,) = await records.disposing(10)  # a worker died after the decision
    assert found.stored == clip.stored
    assert found.disposal == DISPOSAL
    await records.postpone_disposal(found, error="locked", again_at=datetime.now(UTC) + timedelta(hours=1))
    assert await records.disposing(10) == []
    # A worker died after deleting: the next one deletes nothing, and says so.
    assert await records.finish_disposal(found, disposed_at=7, notes=noted("clip.disposed", clip.clip_id))
    assert not await records.finish_disposal(found, disposed_at=8, notes=noted("clip.disposed", clip.clip_id))
    disposed = await records.get_clip("acme", clip.clip_id)
    assert (disposed.state, disposed.disposed_at) == ("DISPOSED", 7)
    assert disposed.artefacts == clip.artefacts
    assert await reason_of(dispose(records, clip)) is Reason.CLIP_DISPOSED


async def test_a_clip_that_is_still_being_made_is_not_disposed_of(records: Records) -> None:
    clip, _ = await records.request(asked())
    assert await reason_of(dispose(records, clip)) is Reason.CLIP_NOT_PRESERVED


async def test_retention_is_the_default_until_it_is_set_and_every_change_stays(
    records: Records, database: Database
) -> None:
    await make_clip(records)
    await make_clip(records, organisation_id="zenith")
    assert await records.retention("acme") == Retention(organisation_id="acme")
    await retention_of(records, days=1)
    newest = await retention_of(records, days=3_650, lock_mode="COMPLIANCE")
    assert await records.retention("acme") == newest
    assert await records.retention("zenith") == Retention(organisation_id="zenith")
    assert await records.retentions() == [newest, Retention(organisation_id="zenith")]
    with psycopg.connect(database.admin_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM evidence.retention_changes").fetchone() == (2,)


@pytest.mark.parametrize(
    "changes",
    [
        {"days": 0},
        {"days": 36_501},
        {"lock_mode": "FOREVER"},
        {"reason": " "},
        {"reason": "x" * 1_001},
        {"changed_by": ""},
    ],
)
async def test_a_retention_that_means_nothing_is_refused(records: Records, changes: dict[str, object]) -> None:
    assert await reason_of(retention_of(records, **changes)) is Reason.INVALID_ARGUMENT
