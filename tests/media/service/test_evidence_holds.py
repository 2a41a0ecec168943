"""A held clip survives everything that deletes; a clip that is not held goes when it should, and leaves its digests."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import psycopg
import pytest
from botocore.exceptions import ClientError
from indelible.evidence.v1 import evidence_pb2

from media.storage.lifecycle import KeptFor, lifecycle_document
from sandbox.objects import Objects
from tests.media.service.evidence import PATIENCE_SECONDS, TEST_SECONDS, Evidence, running_evidence, s3
from tests.service.serving import ORGANISATION, Service

pytestmark = pytest.mark.timeout(TEST_SECONDS)

LONG_AGO_US = 9 * 366 * 86_400_000_000
LOCK_SECONDS = 10


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory, ledger: Service, objects: Objects) -> Iterator[Evidence]:
    """A running evidence service whose worker disposes of clips at once."""
    with running_evidence(tmp_path_factory.mktemp("evidence"), ledger, objects) as running:
        running.work_impatiently()
        yield running


def hold(evidence: Evidence, clip_id: str, reason: str, key: str) -> Any:
    request = evidence_pb2.PlaceLegalHoldRequest(clip_id=clip_id, reason=reason, idempotency_key=key)
    return evidence.call("PlaceLegalHold", request)


def lift(evidence: Evidence, hold_id: str) -> Any:
    return evidence.call("LiftLegalHold", evidence_pb2.LiftLegalHoldRequest(hold_id=hold_id, reason="case closed"))


def dispose(evidence: Evidence, clip_id: str) -> Any:
    return evidence.call("DisposeClip", evidence_pb2.DisposeClipRequest(clip_id=clip_id, reason="asked to"))


def get(evidence: Evidence, clip_id: str) -> evidence_pb2.Clip:
    clip: evidence_pb2.Clip = evidence.call("GetClip", evidence_pb2.GetClipRequest(clip_id=clip_id)).clip
    return clip


def versions(evidence: Evidence, clip: evidence_pb2.Clip) -> int:
    prefix = clip.artefacts[0].key.rpartition("/")[0] + "/"
    return len([one for one in evidence.store.list_objects(prefix) if not one.is_delete_marker])


def current(evidence: Evidence, clip: evidence_pb2.Clip) -> int:
    """How many of the clip's files a reader who names no version finds."""
    bucket = evidence.environment["INDELIBLE_EVIDENCE_BUCKET"]
    prefix = clip.artefacts[0].key.rpartition("/")[0] + "/"
    found: int = s3(evidence).list_objects_v2(Bucket=bucket, Prefix=prefix)["KeyCount"]
    return found


def until(condition: Any, seconds: float = PATIENCE_SECONDS) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.2)


def test_a_held_clip_survives_deletion_by_request_and_behind_our_back(evidence: Evidence) -> None:
    clip = evidence.preserved("held")
    evidence.settled(clip.clip_id)
    placed = hold(evidence, clip.clip_id, "case 7", "held-1")
    assert placed.mirrored
    with pytest.raises(grpc.RpcError, match="hold") as refused:
        dispose(evidence, clip.clip_id)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    bucket = evidence.environment["INDELIBLE_EVIDENCE_BUCKET"]
    for artefact in clip.artefacts:
        with pytest.raises(ClientError):
            s3(evidence).delete_object(
                Bucket=bucket, Key=artefact.key, VersionId=artefact.version_id, BypassGovernanceRetention=True
            )
    assert versions(evidence, clip) == 6
    verified = evidence.call("VerifyStoredClip", evidence_pb2.VerifyStoredClipRequest(clip_id=clip.clip_id))
    assert verified.ok


def test_holds_are_independent_and_each_is_told(evidence: Evidence) -> None:
    clip = evidence.preserved("twice-held")
    first, second = (hold(evidence, clip.clip_id, f"case {n}", f"twice-{n}").hold for n in (1, 2))
    assert hold(evidence, clip.clip_id, "case 1", "twice-1").hold.hold_id == first.hold_id
    with pytest.raises(grpc.RpcError, match="idempotency key"):
        hold(evidence, clip.clip_id, "another case", "twice-1")
    lifted = lift(evidence, first.hold_id).hold
    assert lift(evidence, first.hold_id).hold == lifted
    assert [one.hold_id for one in get(evidence, clip.clip_id).holds] == [second.hold_id]
    with pytest.raises(grpc.RpcError, match="hold"):
        dispose(evidence, clip.clip_id)
    until(lambda: any(event["hold_id"] == first.hold_id for event in evidence.events("hold.lifted")))
    told = {event["hold_id"]: event for event in evidence.events("hold.placed")}
    assert told[second.hold_id]["reason"] == "case 2"
    custody = json.loads(evidence.call("GetCustody", evidence_pb2.GetCustodyRequest(clip_id=clip.clip_id)).document)
    actions = [entry["action"] for entry in custody["entries"]]
    assert (actions.count("hold placed"), actions.count("hold lifted")) == (2, 1)


def test_a_disposed_clip_is_gone_from_the_store_and_its_digests_stay(evidence: Evidence) -> None:
    clip = evidence.preserved("unwanted")
    placed = hold(evidence, clip.clip_id, "a while", "unwanted").hold
    evidence.settled(clip.clip_id)
    lift(evidence, placed.hold_id)
    evidence.settled(clip.clip_id)
    dispose(evidence, clip.clip_id)
    until(lambda: get(evidence, clip.clip_id).state == evidence_pb2.CLIP_STATE_DISPOSED)
    assert versions(evidence, clip) == 0
    assert list(get(evidence, clip.clip_id).artefacts) == list(clip.artefacts)
    until(lambda: any(event["clip_id"] == clip.clip_id for event in evidence.events("clip.disposed")))
    (event,) = [one for one in evidence.events("clip.disposed") if one["clip_id"] == clip.clip_id]
    assert (event["decided_by"], event["reason"]) == ("ann", "asked to")
    assert {one["sha256"] for one in event["artefacts"]} == {one.sha256.hex() for one in clip.artefacts}
    held = evidence_pb2.PlaceLegalHoldRequest(clip_id=clip.clip_id, reason="x", idempotency_key="late")
    for method, request in (
        ("PlaceLegalHold", held),
        ("CreateDownloadLink", evidence_pb2.CreateDownloadLinkRequest(clip_id=clip.clip_id, artefact="clip.mp4")),
        ("VerifyStoredClip", evidence_pb2.VerifyStoredClipRequest(clip_id=clip.clip_id)),
    ):
        with pytest.raises(grpc.RpcError, match="dispos") as refused:
            evidence.call(method, request)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    # Asked for again, it is still the same clip: nothing is made a second time.
    assert evidence.request("unwanted").clip.state == evidence_pb2.CLIP_STATE_DISPOSED


def test_when_retention_ends_clips_are_disposed_of_but_never_held_ones(evidence: Evidence) -> None:
    kept, expired = evidence.preserved("expired-held"), evidence.preserved("expired")
    hold(evidence, kept.clip_id, "case 9", "expired-held")
    _age(evidence, kept.clip_id, expired.clip_id)
    until(lambda: get(evidence, expired.clip_id).state == evidence_pb2.CLIP_STATE_DISPOSED)
    until(lambda: any(event["clip_id"] == expired.clip_id for event in evidence.events("clip.disposed")))
    (event,) = [one for one in evidence.events("clip.disposed") if one["clip_id"] == expired.clip_id]
    assert event["decided_by"] == "retention"
    assert get(evidence, kept.clip_id).state == evidence_pb2.CLIP_STATE_PRESERVED
    assert versions(evidence, kept) == 6


def test_a_held_clip_survives_the_stores_own_expiry(evidence: Evidence, objects: Objects) -> None:
    """The store's clock cannot be put forward, so the product's rule is given a day that is over instead of an age."""
    kept, expired = evidence.preserved("lifecycle-held"), evidence.preserved("lifecycle")
    assert hold(evidence, kept.clip_id, "case 12", "lifecycle-held").mirrored
    for clip in (kept, expired):
        evidence.settled(clip.clip_id)
    document = lifecycle_document(
        [KeptFor(organisation_id=ORGANISATION, days=1, lock_mode="GOVERNANCE")],
        evidence.store.capabilities(),
        "seaweedfs",
    )
    (rule,) = [one for one in document.rules if "Expiration" in one]
    over: Any = {"Expiration": {"Date": datetime(2026, 1, 1, tzinfo=UTC)}}
    rules: Any = [
        rule | over | {"ID": name, "Filter": {"Prefix": clip.artefacts[0].key.rpartition("/")[0] + "/"}}
        for name, clip in (("held", kept), ("free", expired))
    ]
    bucket = evidence.environment["INDELIBLE_EVIDENCE_BUCKET"]
    s3(evidence).put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})

    def is_expired() -> bool:
        _end_lock(evidence, expired)
        objects.apply_lifecycle()
        return current(evidence, expired) == 0

    # The worker locks clips anew when their retention grows, which may be after the lock was ended here.
    until(is_expired, seconds=TEST_SECONDS / 2)
    assert current(evidence, kept) == versions(evidence, kept) == 6
    request = evidence_pb2.VerifyStoredClipRequest(clip_id=kept.clip_id)
    assert evidence.call("VerifyStoredClip", request).ok


def test_lifecycle_rules_expire_only_what_the_store_would_keep_under_a_hold(evidence: Evidence) -> None:
    """The store enforces holds against its own rules only where it can lock; elsewhere there is no rule to expire."""
    kept = [KeptFor(organisation_id=ORGANISATION, days=30, lock_mode="GOVERNANCE")]
    document = lifecycle_document(kept, evidence.store.capabilities(), "seaweedfs")
    assert any("Expiration" in rule for rule in document.rules) == evidence.store.capabilities().legal_hold
    unlocked = lifecycle_document(
        [KeptFor(organisation_id=ORGANISATION, days=30, lock_mode="NONE")], evidence.store.capabilities(), "seaweedfs"
    )
    assert not any("Expiration" in rule for rule in unlocked.rules)


def test_a_change_of_retention_is_told(evidence: Evidence) -> None:
    request = evidence_pb2.SetRetentionRequest(
        days=3000, reason="new policy", lock_mode=evidence_pb2.LOCK_MODE_GOVERNANCE
    )
    changed = evidence.call("SetRetention", request).retention
    assert (changed.days, changed.set_by) == (3000, "ann")
    until(lambda: any(event["reason"] == "new policy" for event in evidence.events("retention.changed")))
    (event,) = [one for one in evidence.events("retention.changed") if one["reason"] == "new policy"]
    assert (event["days"], event["lock_mode"], event["changed_by"]) == (3000, "GOVERNANCE", "ann")


def _end_lock(evidence: Evidence, clip: evidence_pb2.Clip) -> None:
    """Lock a clip's files for seconds only, and wait for that: they are then as they will be when retention is over."""
    for artefact in clip.artefacts:
        # Long enough for the store to be asked while it still lies ahead.
        ends_at = datetime.now(UTC) + timedelta(seconds=LOCK_SECONDS)
        s3(evidence).put_object_retention(
            Bucket=evidence.environment["INDELIBLE_EVIDENCE_BUCKET"],
            Key=artefact.key,
            VersionId=artefact.version_id,
            Retention={"Mode": "GOVERNANCE", "RetainUntilDate": ends_at},
            BypassGovernanceRetention=True,
        )
    time.sleep(LOCK_SECONDS + 1)


def _age(evidence: Evidence, *clip_ids: str) -> None:
    """Make clips look as if they had been preserved nine years ago: what only the database's superuser can do."""
    with psycopg.connect(evidence.ledger.database.admin_dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE evidence.clips DISABLE TRIGGER guard_clip")
        connection.execute(
            "UPDATE evidence.clips SET ended_at = ended_at - %s WHERE clip_id = ANY (%s)",
            (LONG_AGO_US, list(clip_ids)),
        )
        connection.execute("ALTER TABLE evidence.clips ENABLE ALWAYS TRIGGER guard_clip")
