"""What a bucket is found able to do, and the lifecycle rules it gets."""

import pytest

from media.storage.errors import StoreRefusedError
from media.storage.lifecycle import KeptFor, apply_lifecycle, check_storage, lifecycle_document
from media.storage.probing import SCRATCH_PREFIX
from media.storage.store import EvidenceStore
from media.storage.values import Capabilities
from sandbox.objects import Objects
from tests.media.storage.conftest import make_bucket, make_store

LOCKING = Capabilities(
    versioning=True,
    object_lock=True,
    legal_hold=True,
    bypass_governance=True,
    conditional_writes=True,
    sha256_checksums=True,
)
PLAIN = Capabilities(
    versioning=False,
    object_lock=False,
    legal_hold=False,
    bypass_governance=False,
    conditional_writes=True,
    sha256_checksums=True,
)
ACME = KeptFor(organisation_id="acme", days=2_557, lock_mode="GOVERNANCE")
ZENITH = KeptFor(organisation_id="zenith", days=30, lock_mode="NONE")


def scratch(store: EvidenceStore) -> list[str]:
    answer = store.bucket.reader.list_object_versions(Bucket=store.bucket.name, Prefix=SCRATCH_PREFIX)
    return [version["Key"] for version in answer.get("Versions", [])]


def test_a_bucket_is_found_able_to_do_what_it_enforces(objects: Objects) -> None:
    locking = make_store(objects, objects.url, make_bucket(objects, locks=True))
    plain = make_store(objects, objects.url, make_bucket(objects, locks=False))
    assert locking.capabilities() == LOCKING
    assert plain.capabilities() == PLAIN
    for store in (locking, plain):
        assert scratch(store) == []


def test_a_bucket_with_versions_but_without_locks_is_not_taken_for_one_that_locks(objects: Objects) -> None:
    bucket = make_bucket(objects, locks=False)
    store = make_store(objects, objects.url, bucket)
    store.bucket.writer.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    can = store.capabilities()
    assert (can.versioning, can.legal_hold, can.object_lock) == (True, False, False)


def test_a_bucket_of_the_r2_kind_is_not_asked_for_locks(objects: Objects) -> None:
    bucket = make_bucket(objects, locks=True)
    store = make_store(objects, objects.url, bucket, profile="r2")
    can = store.capabilities()
    assert (can.versioning, can.legal_hold, can.object_lock, can.conditional_writes) == (False, False, False, True)


def test_a_bucket_that_does_not_exist_is_not_made_in_passing(objects: Objects) -> None:
    missing = make_store(objects, objects.url, "mistyped")
    with pytest.raises(StoreRefusedError, match="no bucket mistyped"):
        missing.capabilities()


def test_clips_move_to_the_archives_and_expire_when_their_organisation_says() -> None:
    document = lifecycle_document([ACME], LOCKING, "aws")
    rules = {rule["ID"]: rule for rule in document.rules}
    assert rules["indelible-archive"]["Transitions"] == [
        {"Days": 90, "StorageClass": "GLACIER_IR"},
        {"Days": 365, "StorageClass": "DEEP_ARCHIVE"},
    ]
    assert rules["indelible-unfinished-uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert rules["indelible-expiry-acme"]["Expiration"] == {"Days": 2_557}
    assert rules["indelible-expiry-acme"]["Filter"] == {"Prefix": "acme/"}
    assert rules["indelible-expiry-acme"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert document.left_out == ()


@pytest.mark.parametrize("can", [PLAIN, Capabilities(**{name: name != "legal_hold" for name in PLAIN.__slots__})])
def test_no_rule_expires_anything_where_a_legal_hold_would_not_stop_it(can: Capabilities) -> None:
    document = lifecycle_document([ACME, ZENITH], can, "aws")
    assert not any("Expiration" in rule or "NoncurrentVersionExpiration" in rule for rule in document.rules)
    assert any("legal hold" in sentence for sentence in document.left_out)


def test_clips_that_are_not_locked_are_left_to_the_disposal_job() -> None:
    document = lifecycle_document([ACME, ZENITH], LOCKING, "aws")
    assert "indelible-expiry-zenith" not in {rule["ID"] for rule in document.rules}
    assert any("zenith" in sentence for sentence in document.left_out)


def test_there_are_never_more_rules_than_s3_takes() -> None:
    many = [KeptFor(organisation_id=f"o{number}", days=1, lock_mode="GOVERNANCE") for number in range(1_200)]
    document = lifecycle_document(many, LOCKING, "aws")
    assert len(document.rules) < 1_000
    assert any("300 organisations" in sentence for sentence in document.left_out)


@pytest.mark.parametrize("profile", ["aws", "seaweedfs"])
def test_rules_are_applied_as_far_as_the_store_takes_them_and_the_rest_is_said(objects: Objects, profile: str) -> None:
    store = make_store(objects, objects.url, make_bucket(objects, locks=True), profile=profile)
    document = lifecycle_document([ACME], store.capabilities(), store.settings.profile)
    assert not all(finding.ok for finding in check_storage(store, document))
    findings = [finding.message for finding in apply_lifecycle(store, document)]
    assert any(message.startswith("left out: archive classes") for message in findings)
    missing = [finding.message for finding in check_storage(store, document) if not finding.ok]
    assert missing == (["lifecycle rule indelible-archive is missing or another one"] if profile == "aws" else [])


def test_a_changed_retention_is_noticed_and_other_peoples_rules_stay(objects: Objects) -> None:
    store = make_store(objects, objects.url, make_bucket(objects, locks=True))
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 7}}
    store.bucket.writer.put_bucket_lifecycle_configuration(
        Bucket=store.bucket.name,
        LifecycleConfiguration={"Rules": [theirs]},  # type: ignore[list-item]  # a plain dictionary
    )
    apply_lifecycle(store, lifecycle_document([ACME, ZENITH], store.capabilities(), "seaweedfs"))
    shorter = KeptFor(organisation_id="acme", days=365, lock_mode="GOVERNANCE")
    changed = lifecycle_document([shorter], store.capabilities(), "seaweedfs")
    assert [finding.message for finding in check_storage(store, changed) if not finding.ok] == [
        "lifecycle rule indelible-expiry-acme is missing or another one"
    ]
    apply_lifecycle(store, changed)
    rules = store.bucket.reader.get_bucket_lifecycle_configuration(Bucket=store.bucket.name)["Rules"]
    assert {rule["ID"] for rule in rules} == {"theirs", "indelible-unfinished-uploads", "indelible-expiry-acme"}
    assert all(finding.ok for finding in check_storage(store, changed))
