"""One clip for an organisation, source and incident, whoever asks how often; and reading clips back."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from media.errors import MediaError, Reason
from media.records.records import Records
from media.records.values import Clip, ClipFilter
from sandbox.database import Database
from tests.media.records.recording import EVENT_AT, asked, hold, make_clip, several_records

SECOND = 1_000_000


async def test_two_hundred_requests_at_once_for_twenty_incidents_make_twenty_clips(database: Database) -> None:
    async with several_records(database, 2) as services:

        async def ask(number: int) -> tuple[Clip, bool]:
            """As a caller does: what could not be answered is asked again."""
            while True:
                try:
                    return await services[number % 2].request(asked(f"inc-{number % 20}"))
                except MediaError as error:
                    assert error.reason in {Reason.OVERLOADED, Reason.DATABASE_UNAVAILABLE}  # noqa: PT017 - of many

        answers = await asyncio.gather(*(ask(number) for number in range(200)))
        replayed = await asyncio.gather(*(ask(number) for number in range(20)))
        clips = await services[0].list_clips("acme", ClipFilter(), limit=1_000)
    assert len(clips) == 20
    assert sum(created for _, created in answers) == 20
    assert not any(created for _, created in replayed)
    assert {clip.clip_id for clip, _ in answers} == {clip.clip_id for clip in clips}


async def test_the_first_request_decides_whatever_later_ones_say(records: Records) -> None:
    first, _ = await records.request(asked())
    again, created = await records.request(
        asked(event_at=EVENT_AT + SECOND, asked_to=EVENT_AT + 5 * SECOND, requested_by="somebody else")
    )
    assert (again, created) == (first, False)


async def test_the_same_incident_is_another_clip_for_another_camera_or_organisation(records: Records) -> None:
    first, _ = await records.request(asked())
    for changes in ({"source_id": "yard", "camera_id": "yard"}, {"organisation_id": "zenith"}):
        other, created = await records.request(asked(**changes))
        assert created
        assert other.clip_id != first.clip_id
        assert other.key_prefix != first.key_prefix


async def test_two_sources_of_one_camera_cannot_share_the_keys_of_an_incident(records: Records) -> None:
    await records.request(asked())
    with pytest.raises(MediaError) as caught:
        await records.request(asked(source_id="gate-low"))
    assert caught.value.reason is Reason.IDEMPOTENCY_CONFLICT


@pytest.mark.parametrize(
    "changes",
    [
        {"organisation_id": "../zenith"},
        {"organisation_id": ""},
        {"source_id": "a/b"},
        {"camera_id": ".."},
        {"camera_id": "Gate"},
        {"incident_id": "a\x00b"},
        {"incident_id": "x" * 64},
        {"incident_id": "٣"},
        {"event_at": EVENT_AT + 100 * SECOND},
        {"asked_to": EVENT_AT - 30 * SECOND, "event_at": EVENT_AT - 30 * SECOND},
        {"event_at": 2**62, "asked_from": 2**62 - 1, "asked_to": 2**62 + 1},
    ],
)
async def test_a_request_that_has_no_proper_place_is_refused(records: Records, changes: dict[str, Any]) -> None:
    with pytest.raises(MediaError) as caught:
        await records.request(asked(**changes))
    assert caught.value.reason is Reason.INVALID_ARGUMENT


async def test_another_organisations_clip_does_not_exist(records: Records) -> None:
    clip, _ = await records.request(asked())
    for wrong in (("zenith", clip.clip_id), ("acme", uuid4())):
        with pytest.raises(MediaError) as caught:
            await records.get_clip(*wrong)
        assert caught.value.reason is Reason.CLIP_NOT_FOUND
    assert await records.list_clips("zenith", ClipFilter()) == []


async def test_clips_are_listed_by_pages_newest_event_first_each_once(records: Records) -> None:
    for number in range(7):
        moment = EVENT_AT + number // 2 * SECOND
        await records.request(asked(f"inc-{number}", event_at=moment))
    seen, after = [], None
    while page := await records.list_clips("acme", ClipFilter(), after=after, limit=3):
        seen += page
        after = (page[-1].event_at, page[-1].clip_id)
    assert len(seen) == len({clip.clip_id for clip in seen}) == 7
    assert [clip.event_at for clip in seen] == sorted((clip.event_at for clip in seen), reverse=True)


async def test_lists_are_narrowed_by_camera_incident_time_state_and_hold(records: Records) -> None:
    held = await make_clip(records, "held")
    await hold(records, held)
    await records.request(asked("yard", source_id="yard", camera_id="yard"))
    await records.request(asked("late", event_at=EVENT_AT + 10 * SECOND))

    async def found(wanted: ClipFilter) -> set[str]:
        return {clip.incident_id for clip in await records.list_clips("acme", wanted)}

    assert await found(ClipFilter(camera_id="yard")) == {"yard"}
    assert await found(ClipFilter(incident_id="late")) == {"late"}
    assert await found(ClipFilter(event_from=EVENT_AT + SECOND)) == {"late"}
    assert await found(ClipFilter(event_to=EVENT_AT + 10 * SECOND)) == {"held", "yard"}
    assert await found(ClipFilter(states=("PRESERVED",))) == {"held"}
    assert await found(ClipFilter(held=True)) == {"held"}
    assert await found(ClipFilter(held=False)) == {"yard", "late"}
    assert await found(ClipFilter(camera_id="gate", held=True, incident_id="late")) == set()


async def test_a_clip_reads_back_with_everything_it_was_finished_with(records: Records) -> None:
    clip = await make_clip(records)
    assert clip.state == "PRESERVED"
    assert {artefact.name: artefact.stored.sha256 for artefact in clip.artefacts} == dict.fromkeys(
        ("native.mp4", "clip.mp4", "thumbnail.jpg", "preview.webm", "metadata.json", "custody.json"), "ab" * 32
    )
    assert clip.facts == {"codec": "hevc"}
    assert clip.gaps == ({"starts_at": 1, "ends_at": 2, "why": "missing"},)
    assert clip.ended_at is not None
    assert clip.retain_until == clip.ended_at + 2_557 * 86_400 * SECOND
    assert replace(clip, holds=()) == clip
