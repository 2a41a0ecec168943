"""The double of LiveKit, as LiveKit's own library sees it: its client, its tokens and its receiver of reports."""

import asyncio
import base64
import http.client
import io
import json
import secrets
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import av
import boto3
import pytest
from livekit import api
from livekit.protocol.egress import EgressInfo, EgressStatus, EncodedFileOutput, S3Upload
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.webhook import WebhookEvent

from media.recordings.tiles import tile_layout
from sandbox.camera import read_clock
from sandbox.doubles import DoubleHandler, DoubleServer
from sandbox.livekit import (
    ApiFaults,
    Delivery,
    EgressFaults,
    Filming,
    LiveKitDouble,
    LiveKitError,
    LiveKitRoom,
    LiveKitSandbox,
    Outcome,
    S3Target,
    Upload,
    cut_tile,
    read_marker,
    start_livekit,
)
from sandbox.objects import Objects

SHOWN = {"indelible.recording": "yes"}
SMALL = Filming(width=160, height=90, composite_width=320, composite_height=180, rate=10)
PICTURE_US = 1_000_000 // SMALL.rate


@pytest.fixture
def livekit() -> Iterator[LiveKitDouble]:
    with LiveKitDouble(filming=SMALL) as double:
        yield double


@pytest.fixture
def room(livekit: LiveKitDouble) -> LiveKitRoom:
    return livekit.open_room("room")


@pytest.fixture(scope="module")
def bucket(objects: Objects) -> S3Target:
    target = S3Target(
        endpoint_url=objects.url,
        bucket=f"egress-{secrets.token_hex(6)}",
        access_key=objects.access_key,
        secret_key=objects.secret_key,
    )
    store(target).create_bucket(Bucket=target.bucket)
    return target


def store(target: S3Target) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=target.endpoint_url,
        aws_access_key_id=target.access_key,
        aws_secret_access_key=target.secret_key,
        region_name=target.region,
    )


def keys_in(target: S3Target, folder: str) -> list[str]:
    return [
        one["Key"] for one in store(target).list_objects_v2(Bucket=target.bucket, Prefix=folder).get("Contents", [])
    ]


def read(target: S3Target, key: str) -> bytes:
    body: bytes = store(target).get_object(Bucket=target.bucket, Key=key)["Body"].read()
    return body


def into(target: S3Target | None, key: str = "file.mp4") -> list[EncodedFileOutput]:
    if target is None:
        return [EncodedFileOutput(filepath=key, disable_manifest=True)]
    upload = S3Upload(
        access_key=target.access_key,
        secret=target.secret_key,
        region=target.region,
        endpoint=target.endpoint_url,
        bucket=target.bucket,
        force_path_style=True,
    )
    return [EncodedFileOutput(filepath=key, s3=upload, disable_manifest=True)]


def client_of(livekit: LiveKitDouble, secret: str | None = None) -> api.LiveKitAPI:
    return api.LiveKitAPI(livekit.url, livekit.api_key, secret or livekit.api_secret)


async def start(livekit: LiveKitDouble, identity: str, target: S3Target | None = None, key: str = "file.mp4") -> str:
    """Record a participant, or the room for an empty identity, with the library; the id."""
    async with client_of(livekit) as client:
        if identity:
            request = api.ParticipantEgressRequest(room_name="room", identity=identity, file_outputs=into(target, key))
            return (await client.egress.start_participant_egress(request)).egress_id
        whole = api.RoomCompositeEgressRequest(room_name="room", file_outputs=into(target, key))
        return (await client.egress.start_room_composite_egress(whole)).egress_id


async def stop(livekit: LiveKitDouble, egress_id: str) -> EgressInfo:
    async with client_of(livekit) as client:
        return await client.egress.stop_egress(api.StopEgressRequest(egress_id=egress_id))


def ended(livekit: LiveKitDouble, egress_id: str) -> EgressInfo:
    """What the report of the end says, as the library reads it."""
    return received(livekit, livekit.wait_for_webhook("egress_ended", egress_id=egress_id)).egress_info


def received(livekit: LiveKitDouble, delivery: Delivery) -> WebhookEvent:
    receiver = api.WebhookReceiver(api.TokenVerifier(livekit.api_key, livekit.api_secret))
    return receiver.receive(delivery.body.decode(), delivery.authorization)


def names(livekit: LiveKitDouble) -> list[str]:
    return [delivery.event for delivery in livekit.webhooks()]


def post(livekit: LiveKitDouble | LiveKitSandbox, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(livekit.url.rpartition(":")[2]), timeout=10)
    try:
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def bearer(livekit: LiveKitDouble, grants: api.VideoGrants, ttl: timedelta = timedelta(minutes=1)) -> str:
    token = api.AccessToken(livekit.api_key, livekit.api_secret).with_grants(grants).with_ttl(ttl)
    return f"Bearer {token.to_jwt()}"


async def test_the_library_sees_who_is_in_a_room_and_sets_their_attributes(
    livekit: LiveKitDouble, room: LiveKitRoom
) -> None:
    room.join("operator", name="Olga", attributes=SHOWN)
    room.join("field-1")
    room.share_screen("field-1")
    async with client_of(livekit) as client:
        listed = await client.room.list_participants(api.ListParticipantsRequest(room="room"))
        assert [(one.identity, one.name, len(one.tracks)) for one in listed.participants] == [
            ("operator", "Olga", 2),
            ("field-1", "field-1", 3),
        ]
        changed = api.UpdateParticipantRequest(room="room", identity="operator", attributes={"a": "b"})
        await client.room.update_participant(changed)
        assert livekit.attributes("room", "operator") == {**SHOWN, "a": "b"}
        emptied = api.UpdateParticipantRequest(room="room", identity="operator", attributes={"a": ""})
        await client.room.update_participant(emptied)
        assert livekit.attributes("room", "operator") == SHOWN
        one = await client.room.get_participant(api.RoomParticipantIdentity(room="room", identity="field-1"))
        assert one.state == ParticipantInfo.ACTIVE
        await client.room.remove_participant(api.RoomParticipantIdentity(room="room", identity="field-1"))
        rooms = await client.room.list_rooms(api.ListRoomsRequest())
        assert [(one.name, one.num_participants) for one in rooms.rooms] == [("room", 1)]
        await client.room.create_room(api.CreateRoomRequest(name="second"))
        await client.room.delete_room(api.DeleteRoomRequest(room="room"))
        rooms = await client.room.list_rooms(api.ListRoomsRequest(names=["room", "second"]))
        assert [one.name for one in rooms.rooms] == ["second"]


async def test_nobody_is_in_a_room_that_does_not_exist(livekit: LiveKitDouble) -> None:
    async with client_of(livekit) as client:
        listed = await client.room.list_participants(api.ListParticipantsRequest(room="nowhere"))
        assert list(listed.participants) == []
        with pytest.raises(api.ServerError) as refused:
            await client.room.update_participant(api.UpdateParticipantRequest(room="nowhere", identity="x"))
        assert (refused.value.code, refused.value.status) == ("not_found", HTTPStatus.NOT_FOUND)


@pytest.mark.parametrize(
    ("grants", "permitted"),
    [
        (api.VideoGrants(room_admin=True, room="room"), True),
        (api.VideoGrants(room_admin=True, room="another"), False),
        (api.VideoGrants(room_join=True, room="room"), False),
        (api.VideoGrants(room_record=True), False),
    ],
)
def test_only_a_token_for_the_very_room_opens_it(
    livekit: LiveKitDouble, grants: api.VideoGrants, *, permitted: bool
) -> None:
    request = api.ListParticipantsRequest(room="room").SerializeToString()
    token = api.AccessToken(livekit.api_key, livekit.api_secret).with_identity("somebody").with_grants(grants).to_jwt()
    headers = {"Content_Type": "application/protobuf", "Authorization": f"Bearer {token}"}
    status, answer = post(livekit, "/twirp/livekit.RoomService/ListParticipants", request, **headers)
    assert status == (HTTPStatus.OK if permitted else HTTPStatus.UNAUTHORIZED)
    assert permitted or json.loads(answer)["code"] == "unauthenticated"


@pytest.mark.parametrize("make", ["none", "garbage", "stranger", "unknown-key", "expired", "bare", "unsigned"])
def test_a_token_that_is_none_opens_nothing(livekit: LiveKitDouble, make: str) -> None:
    grants = api.VideoGrants(room_record=True)
    good = bearer(livekit, grants)
    header, claims, _ = good.split(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    tokens = {
        "none": {},
        "garbage": {"Authorization": "Bearer x.y.z"},
        "stranger": {"Authorization": f"{header}.{claims}.{base64.urlsafe_b64encode(bytes(32)).decode()}"},
        "unknown-key": {"Authorization": f"Bearer {api.AccessToken('else', 's' * 32).with_grants(grants).to_jwt()}"},
        "expired": {"Authorization": bearer(livekit, grants, timedelta(minutes=-5))},
        "bare": {"Authorization": good.removeprefix("Bearer ")},
        "unsigned": {"Authorization": f"Bearer {unsigned}.{claims}."},
    }
    headers = {"Content_Type": "application/protobuf", **tokens[make]}
    status, _ = post(livekit, "/twirp/livekit.Egress/ListEgress", b"", **headers)
    assert status == HTTPStatus.UNAUTHORIZED


def test_calls_in_json_are_answered_in_json(livekit: LiveKitDouble, room: LiveKitRoom) -> None:
    room.join("operator")
    headers = {
        "Content_Type": "application/json",
        "Authorization": bearer(livekit, api.VideoGrants(room_admin=True, room="room")),
    }
    path = "/twirp/livekit.RoomService/ListParticipants"
    status, answer = post(livekit, path, b'{"room":"room"}', **headers)
    assert (status, json.loads(answer)["participants"][0]["identity"]) == (HTTPStatus.OK, "operator")
    assert post(livekit, path, b"{", **headers)[0] == HTTPStatus.BAD_REQUEST
    assert post(livekit, "/twirp/livekit.Egress/StartWebEgress", b"{}", **headers)[0] == HTTPStatus.NOT_FOUND
    assert post(livekit, path, b"{}", Content_Type="text/plain")[0] == HTTPStatus.NOT_FOUND


async def test_the_library_believes_every_report_of_a_session_and_none_of_a_forger(
    livekit: LiveKitDouble, room: LiveKitRoom
) -> None:
    room.join("operator")
    room.share_screen("operator")
    room.stop_sharing("operator")
    egress_id = await start(livekit, "operator")
    room.leave("operator")
    ended(livekit, egress_id)
    room.close()
    assert names(livekit) == [
        "room_started",
        "participant_joined",
        *["track_published"] * 3,
        "track_unpublished",
        "egress_started",
        "egress_updated",
        "participant_left",
        "egress_updated",
        "egress_ended",
        "room_finished",
    ]
    events = [received(livekit, delivery) for delivery in livekit.webhooks()]
    assert len({event.id for event in events}) == len(events)
    assert all(event.id.startswith("EV_") and event.created_at for event in events)
    livekit.forge(livekit.webhooks()[-2])
    for forgery in livekit.webhooks()[-2:]:
        with pytest.raises(Exception, match=r"mismatch|Signature"):
            received(livekit, forgery)


def test_a_report_is_the_json_that_livekit_sends(livekit: LiveKitDouble, room: LiveKitRoom) -> None:
    room.join("operator", kind=ParticipantInfo.SIP)
    body = json.loads(livekit.wait_for_webhook("participant_joined").body)
    assert body["event"] == "participant_joined"
    assert body["participant"]["kind"] == "SIP"
    assert body["participant"]["joinedAt"].isdecimal()
    assert body["createdAt"].isdecimal()


class Receiver(DoubleServer):
    """Takes reports, and answers what it was told to."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(_Receiving)
        self.statuses = list(statuses)
        self.taken: list[tuple[bytes, str, str]] = []


class _Receiving(DoubleHandler):
    server: Receiver
    max_request_bytes = 1024 * 1024

    def answer_post(self, body: bytes) -> None:
        self.server.taken.append((body, self.headers["Authorization"], self.headers["Content-Type"]))
        status = self.server.statuses.pop(0) if self.server.statuses else HTTPStatus.OK
        if status:
            self.reply(HTTPStatus(status), b"", media_type="text/plain")
        else:
            self.hang_up()


@pytest.mark.parametrize(
    ("statuses", "tries"), [([], 1), ([503, 0, 429], 4), ([500] * 9, 5), ([403], 1), ([404, 200], 1)]
)
def test_a_report_is_sent_again_in_the_same_bytes_until_somebody_takes_it(
    livekit: LiveKitDouble, statuses: list[int], tries: int
) -> None:
    receiver = Receiver(*statuses)
    receiver.serve_in_thread(notices_end_seconds=0.02)
    livekit.send_webhooks_to(f"{receiver.url}/hook")
    livekit.open_room("room")
    livekit.flush_webhooks()
    receiver.shutdown()
    receiver.server_close()
    (delivery,) = livekit.webhooks()
    assert receiver.taken == [(delivery.body, delivery.authorization, "application/webhook+json")] * tries
    assert livekit.webhook_statuses() == ([*statuses, 200] if len(statuses) < tries else statuses)[:tries]


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
    livekit.misbehave(EgressFaults(upload=way, upload_seconds=0.2))
    room.join("operator")
    key = f"uploads/{way}/file.mp4"
    egress_id = await start(livekit, "operator", bucket, key)
    livekit.advance(1)
    await stop(livekit, egress_id)
    assert ended(livekit, egress_id).status == EgressStatus.EGRESS_COMPLETE
    there = keys_in(bucket, key) == [key]
    assert there == (way in {Upload.NORMAL, Upload.TWICE})
    first = read(bucket, key) if there else b""
    await asyncio.sleep(0.4)
    assert (keys_in(bucket, key) == [key]) == (way is not Upload.NEVER)
    if way in {Upload.NORMAL, Upload.TWICE}:
        assert (read(bucket, key) == first) == (way is Upload.NORMAL)


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


async def test_who_comes_back_is_somebody_else_under_the_same_name(livekit: LiveKitDouble, room: LiveKitRoom) -> None:
    first = room.join("field-1", attributes={"a": "b"})
    egress_id = await start(livekit, "field-1")
    second = room.reconnect("field-1")
    ended(livekit, egress_id)
    assert first != second
    assert livekit.attributes("room", "field-1") == {"a": "b"}
    kept = await start(livekit, "field-1")
    assert room.reconnect("field-1", egress_ends=False) not in {first, second}
    assert [one.status for one in livekit.egresses() if one.egress_id == kept] == [EgressStatus.EGRESS_ACTIVE]
    room.join("field-1")
    assert names(livekit).count("participant_left") == 3


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


async def test_troubles_of_the_api_last_as_long_as_they_were_told(livekit: LiveKitDouble, room: LiveKitRoom) -> None:
    room.join("operator")
    livekit.trouble(ApiFaults(method="StartParticipantEgress", status=503, times=1))
    with pytest.raises(api.ServerError) as refused:
        await start(livekit, "operator")
    assert refused.value.status == HTTPStatus.SERVICE_UNAVAILABLE
    livekit.trouble(ApiFaults(method="StartParticipantEgress", answer_lost=True, times=1))
    with pytest.raises(Exception, match=r"disconnected|reset"):
        await start(livekit, "operator")
    assert len(livekit.egresses()) == 1
    await start(livekit, "operator")
    assert len(livekit.egresses()) == 2


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


def test_two_doubles_end_with_everything_that_they_began() -> None:
    before = threading.active_count()
    with LiveKitDouble() as one, LiveKitDouble() as other:
        assert one.url != other.url
    assert threading.active_count() <= before


def test_the_double_runs_as_a_process_that_is_moved_by_its_door(tmp_path: Path, bucket: S3Target) -> None:
    receiver = Receiver()
    receiver.serve_in_thread(notices_end_seconds=0.02)
    with start_livekit(tmp_path, webhook_urls=[f"{receiver.url}/hook"]) as livekit:
        livekit.open_room("room")
        sid = livekit.join("room", "operator", attributes=SHOWN)
        assert livekit.reconnect("room", "operator") != sid
        livekit.misbehave(EgressFaults(outcome=Outcome.LIMIT_REACHED, lost=frozenset({"egress_updated"})))
        livekit.trouble(ApiFaults(method="ListEgress", status=503, times=1))
        livekit.heal()
        livekit.misbehave(EgressFaults(lost=frozenset({"egress_updated"})), identity="operator")
        request = api.ParticipantEgressRequest(
            room_name="room", identity="operator", file_outputs=into(bucket, "process/file.mp4")
        )
        headers = {
            "Content_Type": "application/protobuf",
            "Authorization": "Bearer "
            + api.AccessToken(livekit.api_key, livekit.api_secret)
            .with_grants(api.VideoGrants(room_record=True))
            .to_jwt(),
        }
        path = "/twirp/livekit.Egress/StartParticipantEgress"
        assert post(livekit, path, request.SerializeToString(), **headers)[0] == HTTPStatus.OK
        livekit.share_screen("room", "operator")
        livekit.advance(1)
        (egress,) = livekit.status()["egress"]
        livekit.end_egress(egress["egressId"], Outcome.LIMIT_REACHED)
        livekit.leave("room", "operator")
        livekit.close_room("room")
        while livekit.status()["egress"][0]["status"] == "EGRESS_ENDING":
            time.sleep(0.02)
        status = livekit.status()
        assert (status["rooms"], status["egress"][0]["status"]) == ({}, "EGRESS_LIMIT_REACHED")
        assert "egress_updated" not in status["webhooks"]
        assert "egress_ended" in status["webhooks"]
        with pytest.raises(LiveKitError, match="KeyError"):
            livekit.leave("room", "nobody")
        livekit.send_webhooks_to([])
    receiver.shutdown()
    receiver.server_close()
    assert keys_in(bucket, "process/") == ["process/file.mp4"]
    body, authorization, _ = receiver.taken[0]
    verifier = api.TokenVerifier(livekit.api_key, livekit.api_secret)
    assert api.WebhookReceiver(verifier).receive(body.decode(), authorization).event == "room_started"


def test_a_double_that_does_not_come_up_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "livekit").mkdir()
    (tmp_path / "livekit" / "__init__.py").write_text("raise ImportError('no such library here')")
    with pytest.raises(LiveKitError, match="no such library here"), start_livekit(tmp_path / "log"):
        pass
