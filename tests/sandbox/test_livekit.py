"""The double of LiveKit, as LiveKit's own library sees it: its client, its tokens and its receiver of reports."""

import base64
import json
import threading
import time
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import pytest
from livekit import api
from livekit.protocol.egress import EgressStatus
from livekit.protocol.models import ParticipantInfo

from sandbox.livekit import (
    ApiFaults,
    EgressFaults,
    LiveKitDouble,
    LiveKitError,
    LiveKitRoom,
    Outcome,
    ReportReceiver,
    S3Target,
    start_livekit,
)
from tests.sandbox.livekit_calls import (
    SHOWN,
    bearer,
    client_of,
    ended,
    into,
    keys_in,
    names,
    post,
    received,
    start,
)


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


@pytest.mark.parametrize(
    ("statuses", "tries"), [([], 1), ([503, 0, 429], 4), ([500] * 9, 5), ([403], 1), ([404, 200], 1)]
)
def test_a_report_is_sent_again_in_the_same_bytes_until_somebody_takes_it(
    livekit: LiveKitDouble, statuses: list[int], tries: int
) -> None:
    with ReportReceiver(*statuses) as receiver:
        livekit.send_webhooks_to(f"{receiver.url}/hook")
        livekit.open_room("room")
        livekit.flush_webhooks()
    (delivery,) = livekit.webhooks()
    assert receiver.taken == [(delivery.body, delivery.authorization, "application/webhook+json")] * tries
    assert livekit.webhook_statuses() == ([*statuses, 200] if len(statuses) < tries else statuses)[:tries]


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


def test_two_doubles_end_with_everything_that_they_began() -> None:
    before = threading.active_count()
    with LiveKitDouble() as one, LiveKitDouble() as other:
        assert one.url != other.url
    assert threading.active_count() <= before


def test_the_double_runs_as_a_process_that_is_moved_by_its_door(tmp_path: Path, bucket: S3Target) -> None:
    with ReportReceiver() as receiver, start_livekit(tmp_path, webhook_urls=[f"{receiver.url}/hook"]) as livekit:
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
