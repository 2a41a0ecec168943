"""The recordings of LiveKit's double, made with LiveKit's own library: how they end, what they film, where it goes."""

import asyncio
import io

import av
import pytest
from livekit import api
from livekit.protocol.egress import EgressStatus

from media.recordings.tiles import tile_layout
from sandbox.camera import read_clock
from sandbox.livekit import (
    EgressFaults,
    LiveKitDouble,
    LiveKitRoom,
    Outcome,
    S3Target,
    Upload,
    cut_tile,
    read_marker,
)
from tests.sandbox.livekit_calls import (
    PICTURE_US,
    SHOWN,
    SMALL,
    client_of,
    ended,
    into,
    keys_in,
    names,
    read,
    start,
    stop,
)


async def test_whoever_starts_twice_records_twice(livekit: LiveKitDouble, room: LiveKitRoom) -> None:
    room.join("operator")
    assert await start(livekit, "operator") != await start(livekit, "operator")
    assert [one.status for one in livekit.egresses()] == [EgressStatus.EGRESS_ACTIVE] * 2


async def test_an_egress_can_be_found_and_stopped_only_once(
    livekit: LiveKitDouble, room: LiveKitRoom, bucket: S3Target
) -> None:
    room.join("operator")
    egress_id = await start(livekit, "operator", bucket, "once/file.mp4")
    async with client_of(livekit) as client:
        active = await client.egress.list_egress(api.ListEgressRequest(room_name="room", active=True))
        assert [(one.egress_id, one.participant.file_outputs[0].s3.secret) for one in active.items] == [
            (egress_id, "{secret}")
        ]
        assert bucket.secret_key.encode() not in active.SerializeToString()
        assert (await stop(livekit, egress_id)).status == EgressStatus.EGRESS_ENDING
        ended(livekit, egress_id)
        for unstoppable, code in ((egress_id, "failed_precondition"), ("EG_x", "not_found")):
            with pytest.raises(api.ServerError) as refused:
                await stop(livekit, unstoppable)
            assert refused.value.code == code
        assert not (await client.egress.list_egress(api.ListEgressRequest(room_name="room", active=True))).items
        (found,) = (await client.egress.list_egress(api.ListEgressRequest(egress_id=egress_id))).items
        assert found.status == EgressStatus.EGRESS_COMPLETE


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        (Outcome.COMPLETE, EgressStatus.EGRESS_COMPLETE, 0),
        (Outcome.LIMIT_REACHED, EgressStatus.EGRESS_LIMIT_REACHED, 413),
        (Outcome.FAILED, EgressStatus.EGRESS_FAILED, 500),
        (Outcome.ABORTED, EgressStatus.EGRESS_ABORTED, 412),
    ],
)
async def test_an_egress_ends_as_it_was_told_and_only_a_usable_one_leaves_a_file(
    livekit: LiveKitDouble, room: LiveKitRoom, bucket: S3Target, outcome: Outcome, status: int, code: int
) -> None:
    livekit.misbehave(EgressFaults(outcome=outcome, after_seconds=0.01), identity="operator")
    room.join("operator")
    folder = f"outcomes/{outcome}"
    told = ended(livekit, await start(livekit, "operator", bucket, f"{folder}/file.mp4"))
    assert (told.status, told.error_code, bool(told.error)) == (status, code, bool(code))
    (file,) = told.file_results
    usable = outcome in {Outcome.COMPLETE, Outcome.LIMIT_REACHED}
    assert keys_in(bucket, folder) == ([f"{folder}/file.mp4"] if usable else [])
    assert (file.size > 0, bool(file.location)) == (usable, usable)


async def test_an_egress_that_never_ends_takes_the_order_and_goes_on_ending(
    livekit: LiveKitDouble, room: LiveKitRoom
) -> None:
    livekit.misbehave(EgressFaults(outcome=Outcome.NEVER_ENDS))
    room.join("operator")
    egress_id = await start(livekit, "operator")
    assert (await stop(livekit, egress_id)).status == EgressStatus.EGRESS_ENDING
    assert (await stop(livekit, egress_id)).status == EgressStatus.EGRESS_ENDING
    assert names(livekit)[-1] == "egress_updated"


async def test_what_records_somebody_who_is_not_there_fails(livekit: LiveKitDouble, room: LiveKitRoom) -> None:
    assert room.name == "room"
    told = ended(livekit, await start(livekit, "nobody"))
    assert (told.status, told.error) == (EgressStatus.EGRESS_FAILED, "participant nobody not found")


async def test_an_egress_without_anywhere_to_upload_to_fails(livekit: LiveKitDouble, room: LiveKitRoom) -> None:
    room.join("operator")
    egress_id = await start(livekit, "operator")
    await stop(livekit, egress_id)
    assert ended(livekit, egress_id).status == EgressStatus.EGRESS_FAILED


@pytest.mark.parametrize("way", list(Upload))
async def test_the_file_reaches_the_bucket_as_it_was_told(
    livekit: LiveKitDouble, room: LiveKitRoom, bucket: S3Target, way: Upload
) -> None:
    livekit.misbehave(EgressFaults(upload=way, upload_seconds=5))
    room.join("operator")
    key = f"uploads/{way}/file.mp4"
    egress_id = await start(livekit, "operator", bucket, key)
    livekit.advance(1)
    await stop(livekit, egress_id)
    assert ended(livekit, egress_id).status == EgressStatus.EGRESS_COMPLETE
    there = keys_in(bucket, key) == [key]
    assert there == (way in {Upload.NORMAL, Upload.TWICE})
    first = read(bucket, key) if there else b""
    if way in {Upload.LATE, Upload.TWICE}:
        async with asyncio.timeout(120):
            while keys_in(bucket, key) != [key] or read(bucket, key) == first:  # noqa: ASYNC110 - S3 tells nobody
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (EgressFaults(), ["started", "updated", "updated", "ended"]),
        (EgressFaults(lost=frozenset({"egress_ended"})), ["started", "updated", "updated"]),
        (EgressFaults(duplicated=frozenset({"egress_ended"})), ["started", "updated", "updated", "ended", "ended"]),
        (EgressFaults(out_of_order=True), ["ended", "started", "updated", "updated"]),
        (EgressFaults(replayed=True), ["started", "updated", "updated", "ended", "started"]),
        (EgressFaults(forged=True), ["started", "updated", "updated", "ended", "ended", "ended"]),
    ],
)
async def test_reports_of_an_egress_are_lost_doubled_mixed_up_replayed_and_forged(
    livekit: LiveKitDouble, room: LiveKitRoom, faults: EgressFaults, expected: list[str]
) -> None:
    livekit.misbehave(faults)
    room.join("operator")
    egress_id = await start(livekit, "operator")
    await stop(livekit, egress_id)
    await asyncio.to_thread(livekit.wait_until_ended, egress_id)
    deliveries = [one for one in livekit.webhooks() if one.about == egress_id]
    assert [one.event.removeprefix("egress_") for one in deliveries] == expected
    assert [one.genuine for one in deliveries].count(False) == (2 if faults.forged else 0)
    if faults.duplicated:
        assert deliveries[-1] == deliveries[-2]


async def test_a_file_tells_whose_it_is_and_when_every_picture_was_taken(
    livekit: LiveKitDouble, room: LiveKitRoom, bucket: S3Target
) -> None:
    room.join("operator")
    room.join("field-1")
    egress_id = await start(livekit, "field-1", bucket, "film/file.mp4")
    livekit.advance(1.5)
    await stop(livekit, egress_id)
    told = ended(livekit, egress_id)
    (file,) = told.file_results
    assert file.started_at > told.started_at
    data = read(bucket, "film/file.mp4")
    assert len(data) == file.size
    with av.open(io.BytesIO(data), "r") as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac"]
        frames = list(container.decode(video=0))
    assert len(frames) == pytest.approx(file.duration / 1e9 * SMALL.rate, abs=1)
    for number, frame in enumerate(frames):
        assert read_marker(frame) == 1
        taken = file.started_at // 1000 + number * PICTURE_US
        assert abs(read_clock(frame) - taken) < 1000


async def test_a_composite_shows_whoever_may_be_shown_from_when_they_may(
    livekit: LiveKitDouble, room: LiveKitRoom, bucket: S3Target
) -> None:
    room.join("operator", attributes=SHOWN)
    room.join("field-1")
    egress_id = await start(livekit, "", bucket, "room/file.mp4")
    livekit.advance(1)
    room.join("field-2", attributes={**SHOWN, "indelible.tile": "1"})
    livekit.advance(1)
    room.leave("field-2")
    livekit.advance(1)
    await stop(livekit, egress_id)
    ended(livekit, egress_id)
    with av.open(io.BytesIO(read(bucket, "room/file.mp4")), "r") as container:
        frames = list(container.decode(video=0))
    assert read_marker(frames[5]) == 0
    pair = tile_layout([0, 1], 320, 180)
    while_both = frames[15]
    assert [read_marker(cut_tile(while_both, pair[tile])) for tile in (0, 1)] == [0, 2]
    assert read_clock(cut_tile(while_both, pair[0])) == read_clock(cut_tile(while_both, pair[1]))
    with pytest.raises(ValueError, match="no marker"):
        read_marker(cut_tile(frames[-3], pair[1]))


async def test_a_closed_room_ends_everything_that_records_it(livekit: LiveKitDouble, room: LiveKitRoom) -> None:
    for number in range(8):
        room.join(f"field-{number}")
    started = [await start(livekit, identity) for identity in ("field-0", "field-7", "")]
    room.close()
    assert {ended(livekit, egress_id).room_name for egress_id in started} == {"room"}
    async with client_of(livekit) as client:
        with pytest.raises(api.ServerError, match="requested room does not exist"):
            await client.egress.start_room_composite_egress(
                api.RoomCompositeEgressRequest(room_name="room", file_outputs=into(None))
            )


async def test_a_manifest_lies_beside_the_file_unless_nobody_wants_one(
    livekit: LiveKitDouble, room: LiveKitRoom, bucket: S3Target
) -> None:
    room.join("operator")
    output = into(bucket, "manifest/file.mp4")[0]
    output.disable_manifest = False
    async with client_of(livekit) as client:
        request = api.ParticipantEgressRequest(room_name="room", identity="operator", file_outputs=[output])
        egress_id = (await client.egress.start_participant_egress(request)).egress_id
    await stop(livekit, egress_id)
    ended(livekit, egress_id)
    assert keys_in(bucket, "manifest/") == [f"manifest/{egress_id}.json", "manifest/file.mp4"]
