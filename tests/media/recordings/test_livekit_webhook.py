"""Reports of LiveKit are believed only as LiveKit signs them; whatever else comes is refused with a clear error."""

import base64
import contextlib
import hashlib
import hmac
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from livekit.protocol.egress import EgressInfo, EgressStatus, FileInfo, ParticipantEgressRequest
from livekit.protocol.models import ParticipantInfo, TrackInfo
from livekit.protocol.webhook import WebhookEvent as WireEvent

from media.errors import MediaError, Reason
from media.recordings.livekit_values import ApiKey, EgressKind, WebhookEvent, WebhookKind
from media.recordings.livekit_values import EgressStatus as Status
from media.recordings.livekit_webhook import (
    LEEWAY_SECONDS,
    MAX_AGE,
    MAX_BODY_BYTES,
    MAX_TOKEN_CHARACTERS,
    read_webhook,
)
from sandbox.livekit import LiveKitDouble

OLD = ApiKey(key="old", secret="an-old-secret-of-thirty-two-letters")
NEW = ApiKey(key="new", secret="a-new-secret-of-thirty-two-letters!")
KEYS = (NEW, OLD)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
BODY = json.dumps({"event": "room_started", "room": {"name": "r"}, "id": "EV_1", "createdAt": str(SECONDS)}).encode()


def encode(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def token(body: bytes, key: ApiKey = NEW, *, header: object = None, **changes: object) -> str:
    """A token as LiveKit makes it for `body`; a claim that is changed to None is left out."""
    claims = {
        "iss": key.key,
        "nbf": SECONDS,
        "exp": SECONDS + 300,
        "sha256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    signed = f"{encode(header or {'alg': 'HS256', 'typ': 'JWT'})}.{encode(kept)}"
    return f"{signed}.{encode(hmac.digest(key.secret.encode(), signed.encode(), 'sha256'))}"


def read(body: bytes, authorization: str, at: datetime = NOW) -> WebhookEvent:
    return read_webhook(body, authorization, keys=KEYS, at=at)


def refused(body: bytes, authorization: str, at: datetime = NOW) -> str:
    with pytest.raises(MediaError) as error:
        read(body, authorization, at)
    assert error.value.reason is Reason.WEBHOOK_REFUSED
    assert NEW.secret not in error.value.message
    assert OLD.secret not in error.value.message
    return error.value.message


def body_of(event: WireEvent) -> bytes:
    return json_format.MessageToJson(event).encode()


def test_a_report_signed_with_any_of_our_keys_is_believed() -> None:
    for key in KEYS:
        event = read(BODY, token(BODY, key))
        assert (event.event_id, event.kind, event.room, event.created_at) == (
            "EV_1",
            WebhookKind.ROOM_STARTED,
            "r",
            NOW,
        )
        assert (event.participant, event.track, event.egress) == (None, None, None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: "",
        lambda: "x",
        lambda: "..",
        lambda: "a.b.c.d",
        lambda: f"Bearer {token(BODY)}",
        lambda: token(BODY)[:-2],
        lambda: token(BODY) + "\n",
        lambda: token(BODY).replace(".", "\u2024"),
        lambda: token(BODY, ApiKey(key="new", secret="somebody-elses-secret-of-32-letters")),
        lambda: token(BODY, NEW, iss="old"),
        lambda: token(BODY, NEW, iss=None),
        lambda: token(BODY, NEW, iss=["new"]),
        lambda: token(BODY, header={"alg": "none"}),
        lambda: token(BODY, header={"alg": "HS512"}),
        lambda: token(BODY, header={"alg": "RS256"}),
        lambda: token(BODY, header={"alg": "HS256", "crit": ["x"], "x": 1}),
        lambda: token(BODY, header={"alg": "HS256", "b64": False, "crit": ["b64"]}),
        lambda: token(BODY, header=[1]),
        lambda: token(BODY, header=b"[" * 2000),
        lambda: token(BODY, sha256=None),
        lambda: token(BODY, sha256=5),
        lambda: token(BODY, sha256=""),
        lambda: token(BODY, sha256="\u00fc"),
        lambda: token(BODY, sha256=hashlib.sha256(BODY).hexdigest()),
        lambda: token(BODY + b" "),
        lambda: token(BODY, exp=None),
        lambda: token(BODY, exp=SECONDS - LEEWAY_SECONDS - 1),
        lambda: token(BODY, nbf=SECONDS + LEEWAY_SECONDS + 1),
        lambda: token(BODY, exp="soon"),
        lambda: token(BODY, exp=[]),
        lambda: token(BODY, nbf={}),
        lambda: token(BODY, exp=1e400),
        lambda: token(BODY, more="x" * MAX_TOKEN_CHARACTERS),
    ],
)
def test_a_token_that_livekit_did_not_make_for_this_body_now_is_refused(make: Callable[[], str]) -> None:
    refused(BODY, make())


def test_a_token_of_a_participant_is_not_one_for_a_report() -> None:
    refused(BODY, token(BODY, sha256=None, video={"roomJoin": True, "room": "r"}, sub="somebody"))


def test_a_key_that_was_retired_is_refused() -> None:
    with pytest.raises(MediaError):
        read_webhook(BODY, token(BODY, OLD), keys=(NEW,), at=NOW)
    with pytest.raises(MediaError):
        read_webhook(BODY, token(BODY, NEW), keys=(), at=NOW)


@pytest.mark.parametrize(
    ("age", "believed"),
    [
        (timedelta(0), True),
        (MAX_AGE, True),
        (MAX_AGE + timedelta(seconds=1), False),
        (-timedelta(seconds=LEEWAY_SECONDS), True),
        (-timedelta(seconds=LEEWAY_SECONDS + 1), False),
    ],
)
def test_a_report_is_believed_for_as_long_as_it_may_be_under_way(age: timedelta, *, believed: bool) -> None:
    made = int((NOW - age).timestamp())
    body = BODY.replace(str(SECONDS).encode(), str(made).encode())
    if believed:
        assert read(body, token(body)).created_at == NOW - age
    else:
        assert "too old" in refused(body, token(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b'"x"',
        b"{",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        BODY + b"x",
        BODY.replace(b'"id": "EV_1"', b'"id": ""'),
        BODY.replace(b'"id": "EV_1", ', b""),
        BODY.replace(b'"id": "EV_1"', b'"id": 5'),
        BODY.replace(b'"id": "EV_1"', b'"id": "EV_1", "id": "EV_2"'),
        BODY.replace(b'"id": "EV_1"', b'"id": "EV\\u0000"'),
        BODY.replace(b'"id": "EV_1"', b'"id": "\\ud800"'),
        BODY.replace(b'"id": "EV_1"', b'"id": "%s"' % (b"x" * 201)),
        BODY.replace(b'"room_started"', b'""'),
        BODY.replace(b'"r"', b'"a\\nb"'),
        BODY.replace(str(SECONDS).encode(), b"0"),
        BODY.replace(str(SECONDS).encode(), b"-5"),
        BODY.replace(str(SECONDS).encode(), b"9" * 18),
        BODY.replace(str(SECONDS).encode(), b"9" * 5000),
        BODY.replace(str(SECONDS).encode(), b"1e3"),
        BODY.replace(b'{"name": "r"}', b"[]"),
        BODY.replace(b'{"name": "r"}', b'{"name": {}}'),
        BODY.replace(b'{"name": "r"}', b'"r"'),
        BODY[:-1] + b', "participant": {}}',
        BODY.replace(b"room_started", b"participant_joined"),
        BODY.replace(b"room_started", b"track_published"),
        BODY.replace(b"room_started", b"egress_ended"),
        BODY.replace(b'"room"', b'"rooms"'),
        BODY[:-1] + b', "participant": {"identity": "x", "attributes": []}}',
        BODY[:-1] + b', "egressInfo": {"egressId": "x", "status": {}}}',
        BODY[:-1] + b', "egressInfo": {"egressId": "x", "startedAt": "-1"}}',
        BODY[:-1] + b', "track": {}}',
        b" " * (MAX_BODY_BYTES + 1),
    ],
)
def test_a_signed_body_that_is_no_report_is_refused(body: bytes) -> None:
    refused(body, token(body))


@pytest.mark.parametrize(
    "more",
    [
        b', "unknownField": {"deep": [1, 2]}',
        b', "participant": {"identity": "x", "kind": "A_KIND_OF_2030", "state": 77}',
        b', "egressInfo": {"egressId": "x", "status": "A_STATUS_OF_2030", "error": "\\u0000\\u001b"}',
    ],
)
def test_what_a_later_livekit_adds_is_no_error(more: bytes) -> None:
    body = BODY[:-1] + more + b"}"
    assert read(body, token(body)).event_id == "EV_1"


def test_a_report_of_a_kind_that_is_not_known_is_a_value() -> None:
    body = BODY.replace(b"room_started", b"ingress_started")
    event = read(body, token(body))
    assert (event.kind, event.name) == (WebhookKind.UNKNOWN, "ingress_started")
    body = BODY.replace(b"room_started", b"unknown")
    assert read(body, token(body)).kind is WebhookKind.UNKNOWN


def test_a_report_of_an_egress_tells_everything_that_is_asked_of_it() -> None:
    request = ParticipantEgressRequest(room_name="r", identity="field-1")
    request.file_outputs.add(filepath="o/raw/1-1.mp4")
    nanoseconds = SECONDS * 1_000_000_000
    file = FileInfo(
        filename="o/raw/1-1.mp4", started_at=nanoseconds + 1999, duration=2_000_000_000, size=5, location="s"
    )
    info = EgressInfo(egress_id="EG_1", room_name="r", status=EgressStatus.EGRESS_LIMIT_REACHED, file_results=[file])
    info.participant.CopyFrom(request)
    body = body_of(WireEvent(event="egress_ended", id="EV_2", created_at=SECONDS, egress_info=info))
    event = read(body, token(body))
    assert event.egress is not None
    assert (event.kind, event.room) == (WebhookKind.EGRESS_ENDED, "r")
    assert (event.egress.status, event.egress.kind, event.egress.identity) == (
        Status.LIMIT_REACHED,
        EgressKind.PARTICIPANT,
        "field-1",
    )
    (told,) = event.egress.files
    assert (told.started_at, told.duration_us, told.size) == (NOW + timedelta(microseconds=1), 2_000_000, 5)


def test_a_report_of_a_track_names_who_published_it() -> None:
    wire = WireEvent(event="track_published", id="EV_3", created_at=SECONDS, track=TrackInfo(sid="TR_1"))
    wire.room.name = "r"
    wire.participant.CopyFrom(ParticipantInfo(identity="field-1", sid="PA_1"))
    body = body_of(wire)
    event = read(body, token(body))
    assert event.participant is not None
    assert event.track is not None
    assert (event.participant.identity, event.track.sid) == ("field-1", "TR_1")


@pytest.fixture(scope="module")
def session() -> Iterator[LiveKitDouble]:
    with LiveKitDouble(keys={NEW.key: NEW.secret, OLD.key: OLD.secret}) as livekit:
        room = livekit.open_room("room")
        room.join("operator")
        room.share_screen("operator")
        livekit.sign_with(OLD.key)
        room.leave("operator")
        room.close()
        yield livekit


def test_every_report_of_the_double_is_believed_and_no_forgery(session: LiveKitDouble) -> None:
    deliveries = session.webhooks()
    events = [read_webhook(one.body, one.authorization, keys=KEYS) for one in deliveries]
    assert [event.kind for event in events] == [
        WebhookKind.ROOM_STARTED,
        WebhookKind.PARTICIPANT_JOINED,
        *[WebhookKind.TRACK_PUBLISHED] * 3,
        WebhookKind.PARTICIPANT_LEFT,
        WebhookKind.ROOM_FINISHED,
    ]
    session.forge(deliveries[-1])
    for forgery in session.webhooks()[len(deliveries) :]:
        with pytest.raises(MediaError):
            read_webhook(forgery.body, forgery.authorization, keys=KEYS)
    for one, other in itertools.pairwise(deliveries):
        with pytest.raises(MediaError):
            read_webhook(one.body, other.authorization, keys=KEYS)


def success_or_refusal(body: bytes, authorization: str) -> None:
    with contextlib.suppress(MediaError):
        assert read(body, authorization).event_id


@given(body=st.binary(max_size=200), authorization=st.text(max_size=200))
@settings(max_examples=100)
def test_anything_from_anybody_is_refused(body: bytes, authorization: str) -> None:
    refused(body, authorization)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PATHS = [
    *[("event",), ("id",), ("createdAt",), ("room",), ("room", "name"), ("participant",), ("egressInfo",), ("track",)],
    *[("participant", name) for name in ("identity", "sid", "attributes", "tracks", "kind", "joinedAt", "state")],
    *[("egressInfo", name) for name in ("egressId", "status", "startedAt", "fileResults", "participant", "error")],
    ("track", "source"),
]


@given(path=st.sampled_from(PATHS), value=JSON)
@settings(max_examples=300, deadline=None)
def test_anything_that_is_signed_is_a_report_or_refused(path: tuple[str, ...], value: object) -> None:
    document: dict[str, Any] = json.loads(BODY)
    document |= {
        "participant": {"identity": "x"},
        "egressInfo": {"egressId": "EG_1"},
        "track": {"sid": "TR_1"},
    }
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    body = json.dumps(document).encode()
    success_or_refusal(body, token(body))


@given(claim=st.sampled_from(["iss", "exp", "nbf", "iat", "sha256", "aud", "sub"]), value=JSON)
@settings(max_examples=200, deadline=None)
def test_any_claim_is_one_of_livekits_or_refused(claim: str, value: object) -> None:
    success_or_refusal(BODY, token(BODY, NEW, **{claim: value}))


@given(name=st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "zip", "cty"]), value=JSON)
@settings(max_examples=200, deadline=None)
def test_any_header_is_one_of_livekits_or_refused(name: str, value: object) -> None:
    success_or_refusal(BODY, token(BODY, header={"alg": "HS256", name: value}))


@given(position=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
@settings(max_examples=100)
def test_one_flipped_bit_of_the_body_is_refused(position: int, bit: int) -> None:
    spoiled = bytearray(BODY)
    spoiled[position] ^= 1 << bit
    refused(bytes(spoiled), token(BODY))
