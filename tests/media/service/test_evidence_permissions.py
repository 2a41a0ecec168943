"""Who may do what: every method of the contract, without a token, without its scope, and from another organisation."""

from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from indelible.evidence.v1 import evidence_pb2

from media.service.permissions import METHOD_SCOPES, PUBLIC_METHODS
from sandbox.issuer import EVERY_SCOPE
from tests.media.service.evidence import TEST_SECONDS, Evidence, extraction
from tests.service.calling import Refusal, refusal_of
from tests.service.serving import FOREIGN_ORGANISATION

pytestmark = pytest.mark.timeout(TEST_SECONDS)

CONTRACT = evidence_pb2.DESCRIPTOR.services_by_name["EvidenceService"]
METHODS = [method.name for method in CONTRACT.methods]
GUARDED = [name for name in METHODS if name not in PUBLIC_METHODS]
NOWHERE = "00000000-0000-4000-8000-000000000000"


def request_of(method: str, **fields: Any) -> Any:
    described = CONTRACT.methods_by_name[method].input_type
    known = {name: value for name, value in fields.items() if name in described.fields_by_name}
    return message_factory.GetMessageClass(described)(**known)


def call(evidence: Evidence, method: str, request: Any, headers: Any) -> Any | Refusal:
    described = CONTRACT.methods_by_name[method]
    read = message_factory.GetMessageClass(described.output_type).FromString
    path = f"/{CONTRACT.full_name}/{method}"
    data = request if isinstance(request, bytes) else request.SerializeToString()
    with grpc.insecure_channel(evidence.address) as channel:
        try:
            if described.server_streaming:
                return list(channel.unary_stream(path, bytes, read)(data, timeout=60, metadata=headers))
            return channel.unary_unary(path, bytes, read)(data, timeout=60, metadata=headers)
        except grpc.RpcError as error:
            return refusal_of(error)


def test_every_method_of_the_contract_needs_a_scope_but_the_one_that_livekit_signs() -> None:
    assert METHOD_SCOPES.keys() == set(GUARDED)
    assert set(PUBLIC_METHODS) == {"ReceiveLiveKitWebhook"}


@pytest.mark.parametrize("method", GUARDED)
def test_no_method_answers_without_a_token(evidence: Evidence, method: str) -> None:
    answer = call(evidence, method, request_of(method), ())
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


@pytest.mark.parametrize("method", GUARDED)
def test_no_method_answers_without_its_scope(evidence: Evidence, method: str) -> None:
    others = [scope for scope in EVERY_SCOPE if scope != METHOD_SCOPES[method]]
    answer = call(evidence, method, request_of(method), evidence.headers(scopes=others))
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.metadata) == (grpc.StatusCode.PERMISSION_DENIED, {"scope": METHOD_SCOPES[method]})


@pytest.mark.parametrize("method", METHODS)
def test_no_method_reads_nonsense(evidence: Evidence, method: str) -> None:
    answer = call(evidence, method, b"\xff\xff\xff", evidence.headers())
    assert isinstance(answer, Refusal)
    assert answer.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def theirs(evidence: Evidence) -> dict[str, str]:
    """A clip and a hold of this organisation, which another one will ask for."""
    clip = evidence.preserved("private")
    request = evidence_pb2.PlaceLegalHoldRequest(clip_id=clip.clip_id, reason="a case", idempotency_key="private")
    hold = evidence.call("PlaceLegalHold", request).hold
    return {"clip_id": clip.clip_id, "hold_id": hold.hold_id}


@pytest.mark.parametrize("method", [name for name in METHODS if "clip_id" in str(request_of(name, clip_id="x"))])
def test_a_foreign_clip_and_one_that_never_was_are_refused_in_the_same_words(
    evidence: Evidence, theirs: dict[str, str], method: str
) -> None:
    fields = {"reason": "because", "idempotency_key": "k", "artefact": "clip.mp4"}
    foreign = evidence.headers(FOREIGN_ORGANISATION)
    answers = [
        call(evidence, method, request_of(method, clip_id=clip_id, **fields), foreign)
        for clip_id in (theirs["clip_id"], NOWHERE)
    ]
    for answer, clip_id in zip(answers, (theirs["clip_id"], NOWHERE), strict=True):
        assert isinstance(answer, Refusal)
        assert answer.code is grpc.StatusCode.NOT_FOUND
        assert answer.message.replace(clip_id, "") == answers[0].message.replace(theirs["clip_id"], "")


def test_a_foreign_hold_cannot_be_lifted(evidence: Evidence, theirs: dict[str, str]) -> None:
    request = evidence_pb2.LiftLegalHoldRequest(hold_id=theirs["hold_id"], reason="mine now")
    answer = call(evidence, "LiftLegalHold", request, evidence.headers(FOREIGN_ORGANISATION))
    assert isinstance(answer, Refusal)
    assert answer.reason == "HOLD_NOT_FOUND"
    clip = evidence.call("GetClip", evidence_pb2.GetClipRequest(clip_id=theirs["clip_id"])).clip
    assert [hold.hold_id for hold in clip.holds] == [theirs["hold_id"]]


def test_a_list_shows_nobody_elses_clips(evidence: Evidence, theirs: dict[str, str]) -> None:
    listed = evidence.call("ListClips", evidence_pb2.ListClipsRequest(), organisation_id=FOREIGN_ORGANISATION)
    assert theirs["clip_id"] not in {clip.clip_id for clip in listed.clips}
    mine = evidence.call("ListClips", evidence_pb2.ListClipsRequest(held=True))
    assert theirs["clip_id"] in {clip.clip_id for clip in mine.clips}


def test_a_foreign_source_and_one_that_never_was_are_refused_in_the_same_words(evidence: Evidence) -> None:
    messages = []
    for source in ("yard-1", "nowhere"):
        answer = call(evidence, "RequestExtraction", extraction("x", source=source), evidence.headers())
        assert isinstance(answer, Refusal)
        assert answer.reason == "SOURCE_NOT_FOUND"
        messages.append(answer.message.replace(source, ""))
    assert messages[0] == messages[1]


def test_retention_is_each_organisations_own(evidence: Evidence) -> None:
    before = evidence.call("GetRetention", evidence_pb2.GetRetentionRequest()).retention
    request = evidence_pb2.SetRetentionRequest(days=400, reason="their policy")
    evidence.call("SetRetention", request, organisation_id=FOREIGN_ORGANISATION)
    assert evidence.call("GetRetention", evidence_pb2.GetRetentionRequest()).retention == before


@pytest.mark.parametrize(
    ("method", "fields", "field"),
    [
        ("GetClip", {"clip_id": "../../etc"}, "clip_id"),
        ("GetClip", {"clip_id": NOWHERE.upper().replace("0", "A")}, "clip_id"),
        ("ListClips", {"page_size": -1}, "page_size"),
        ("ListClips", {"page_token": "nonsense"}, "page_token"),
        ("ListClips", {"camera": "../x"}, "camera"),
        ("ListClips", {"states": [99]}, "states"),
        ("PlaceLegalHold", {"clip_id": NOWHERE, "reason": "x"}, "idempotency_key"),
        ("PlaceLegalHold", {"clip_id": NOWHERE, "reason": "  ", "idempotency_key": "k"}, "reason"),
        ("PlaceLegalHold", {"clip_id": NOWHERE, "reason": "x" * 1001, "idempotency_key": "k"}, "reason"),
        ("CreateDownloadLink", {"clip_id": NOWHERE, "valid_seconds": 3601}, "valid_seconds"),
        ("DisposeClip", {"clip_id": NOWHERE, "reason": "a\0b"}, "reason"),
        ("SetRetention", {"days": 0, "reason": "x"}, "days"),
        ("SetRetention", {"days": 10, "reason": ""}, "reason"),
        ("SetRetention", {"days": 10, "reason": "x", "lock_mode": 9}, "lock_mode"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(
    evidence: Evidence, method: str, fields: dict[str, Any], field: str
) -> None:
    answer = call(evidence, method, request_of(method, **fields), evidence.headers())
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.metadata.get("field")) == (grpc.StatusCode.INVALID_ARGUMENT, field), answer


@pytest.mark.parametrize("incident", ["", "../up", "UPPER", "a" * 64, "a/b", "é"])
def test_an_incident_with_no_place_in_a_key_is_refused(evidence: Evidence, incident: str) -> None:
    answer = call(evidence, "RequestExtraction", extraction(incident), evidence.headers())
    assert isinstance(answer, Refusal)
    assert answer.reason == "INVALID_ARGUMENT"
