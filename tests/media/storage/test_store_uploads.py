"""Uploads to an honest store, read back in full; locks, holds, deletion, lists and links."""

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from media.errors import Reason
from media.storage.errors import (
    ObjectLockedError,
    StoredMismatchError,
    StoredObjectMissingError,
    StoreRefusedError,
    StoreUnavailableError,
)
from media.storage.store import EvidenceStore
from media.storage.upload import PART_BYTES
from media.storage.values import StoredObject
from sandbox.objects import Objects
from sandbox.objects_faults import Fault, LyingObjects
from tests.media.storage.conftest import KEY, MIB, make_store

MakeFile = Callable[[int], Path]


def in_future(seconds: int = 600) -> int:
    return int((datetime.now(UTC) + timedelta(seconds=seconds)).timestamp()) * 1_000_000


@pytest.fixture(scope="module", autouse=True)
def locked(locking: EvidenceStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[StoredObject, int]:
    """What nobody could delete, and until when, in microseconds: the other tests run meanwhile."""
    path = tmp_path_factory.mktemp("locked") / "clip.mp4"
    path.write_bytes(b"locked")
    stored = locking.store_verified(KEY.replace("inc-1", "locked"), path, media_type="a/b")
    until = in_future(20)
    locking.protect(stored, retain_until=until, lock_mode="COMPLIANCE", held=False)
    with pytest.raises(ObjectLockedError, match="COMPLIANCE lock"):
        locking.delete(stored)
    return stored, until


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("size", [1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES])
def test_what_is_stored_is_the_file_whole_or_in_parts(
    store: EvidenceStore, key: str, make_file: MakeFile, size: int
) -> None:
    path = make_file(size)
    stored = store.store_verified(key, path, media_type="video/mp4", expected_sha256=sha256(path))
    assert (stored.size, stored.sha256) == (size, sha256(path))
    assert b"".join(store.stream(stored)) == path.read_bytes()


def test_every_byte_sent_and_read_back_is_reported(store: EvidenceStore, key: str, make_file: MakeFile) -> None:
    path = make_file(PART_BYTES + MIB)
    seen: list[int] = []
    store.store_verified(key, path, media_type="video/mp4", progress=seen.append)
    assert sum(seen) == 2 * (PART_BYTES + MIB)


def test_a_worker_that_lost_its_lease_stops_in_the_middle_and_leaves_no_upload_open(
    store: EvidenceStore, key: str, make_file: MakeFile
) -> None:
    class LostError(Exception):
        pass

    def lose(_: int) -> None:
        raise LostError

    with pytest.raises(LostError):
        store.store_verified(key, make_file(2 * PART_BYTES), media_type="video/mp4", progress=lose)
    assert [listed for listed in store.list_objects() if listed.key == key] == []
    assert store.abort_unfinished(older_than=in_future()) == 0


def test_uploads_that_nobody_finished_are_given_up_once_they_are_old(store: EvidenceStore, key: str) -> None:
    store.bucket.writer.create_multipart_upload(Bucket=store.bucket.name, Key=key)
    assert store.abort_unfinished(older_than=in_future(-600)) == 0
    assert store.abort_unfinished(older_than=in_future()) == 1
    assert store.abort_unfinished(older_than=in_future()) == 0


def test_a_file_that_changed_on_the_workers_disk_is_not_stored_as_evidence(
    store: EvidenceStore, key: str, make_file: MakeFile
) -> None:
    with pytest.raises(StoredMismatchError) as caught:
        store.store_verified(key, make_file(100), media_type="video/mp4", expected_sha256="ab" * 32)
    assert caught.value.reason is Reason.STORED_MISMATCH
    assert len(caught.value.attempts) == 1


def test_where_versions_are_kept_both_uploads_of_a_key_stay_readable(
    locking: EvidenceStore, key: str, make_file: MakeFile
) -> None:
    first, second = make_file(10), make_file(20)
    one = locking.store_verified(key, first, media_type="a/b")
    two = locking.store_verified(key, second, media_type="a/b")
    assert b"".join(locking.stream(one)) == first.read_bytes()
    assert b"".join(locking.stream(two)) == second.read_bytes()
    assert {listed.version_id for listed in locking.list_objects(key)} == {one.version_id, two.version_id}


def test_where_no_versions_are_kept_the_leftover_of_a_dead_worker_is_replaced(
    plain: EvidenceStore, key: str, make_file: MakeFile
) -> None:
    leftover, good = make_file(PART_BYTES + 5), make_file(PART_BYTES + 5)
    plain.store_verified(key, leftover, media_type="a/b")
    stored = plain.store_verified(key, good, media_type="a/b")
    assert b"".join(plain.stream(stored)) == good.read_bytes()


def test_where_no_versions_are_kept_a_worker_that_lost_its_lease_removes_nothing(
    plain: EvidenceStore, key: str, make_file: MakeFile
) -> None:
    class LostError(Exception):
        pass

    def lose(_: int) -> None:
        raise LostError

    successors = plain.store_verified(key, path := make_file(1000), media_type="a/b")
    with pytest.raises(LostError):
        plain.store_verified(key, make_file(1000), media_type="a/b", progress=lose)
    assert b"".join(plain.stream(successors)) == path.read_bytes()


def test_where_no_versions_are_kept_the_same_bytes_are_taken_and_not_sent_again(
    plain: EvidenceStore, key: str, make_file: MakeFile
) -> None:
    path = make_file(1000)
    first = plain.store_verified(key, path, media_type="a/b")
    (before,) = plain.list_objects(key)
    assert plain.store_verified(key, path, media_type="a/b") == first
    assert list(plain.list_objects(key)) == [before]


def test_an_object_that_was_changed_in_the_store_does_not_stream_as_the_one_on_record(
    plain: EvidenceStore, key: str, make_file: MakeFile
) -> None:
    stored = plain.store_verified(key, make_file(1000), media_type="a/b")
    for body in (b"x" * 1000, b"x" * 999, b"x" * 1001):
        plain.bucket.writer.put_object(Bucket=plain.bucket.name, Key=key, Body=body)
        with pytest.raises(StoredMismatchError):
            list(plain.stream(stored))
        assert plain.read_back(stored).sha256 == hashlib.sha256(body).hexdigest()


def test_a_missing_object_is_said_to_be_missing(store: EvidenceStore, key: str, make_file: MakeFile) -> None:
    stored = store.store_verified(key, make_file(10), media_type="a/b")
    store.delete(stored)
    store.delete(stored)
    with pytest.raises(StoredObjectMissingError):
        store.read_back(stored)
    with pytest.raises(StoredObjectMissingError):
        store.availability(stored)


def test_a_held_version_survives_deletion_until_the_hold_is_lifted(
    locking: EvidenceStore, key: str, make_file: MakeFile
) -> None:
    stored = locking.store_verified(key, make_file(10), media_type="a/b")
    for _ in range(2):
        assert locking.protect(stored, retain_until=None, lock_mode="NONE", held=True)
    with pytest.raises(ObjectLockedError, match="legal hold") as caught:
        locking.delete(stored)
    assert caught.value.reason is Reason.CLIP_LOCKED
    # Not even somebody with the store's own keys can, nor hide it for good.
    locking.bucket.writer.delete_object(Bucket=locking.bucket.name, Key=key)
    assert locking.read_back(stored).sha256 == stored.sha256
    locking.protect(stored, retain_until=None, lock_mode="NONE", held=False)
    locking.delete(stored)
    assert [listed.is_delete_marker for listed in locking.list_objects(key)] == [True]


def test_a_governance_lock_stops_others_and_yields_to_disposal(
    locking: EvidenceStore, key: str, make_file: MakeFile
) -> None:
    stored = locking.store_verified(key, make_file(10), media_type="a/b")
    locking.protect(stored, retain_until=in_future(), lock_mode="GOVERNANCE", held=False)
    with pytest.raises(locking.bucket.writer.exceptions.ClientError, match="AccessDenied"):
        locking.bucket.writer.delete_object(Bucket=locking.bucket.name, Key=key, VersionId=str(stored.version_id))
    locking.delete(stored)


def test_a_lock_is_extended_and_never_shortened_or_weakened(
    locking: EvidenceStore, key: str, make_file: MakeFile
) -> None:
    stored = locking.store_verified(key, make_file(10), media_type="a/b")

    def lock() -> tuple[str, int]:
        found = locking.bucket.reader.get_object_retention(
            Bucket=locking.bucket.name, Key=key, VersionId=str(stored.version_id)
        )["Retention"]
        return found["Mode"], int(found["RetainUntilDate"].timestamp()) * 1_000_000

    soon, later = in_future(300), in_future(600)
    locking.protect(stored, retain_until=later, lock_mode="GOVERNANCE", held=False)
    locking.protect(stored, retain_until=soon, lock_mode="GOVERNANCE", held=False)
    locking.protect(stored, retain_until=later, lock_mode="NONE", held=False)
    assert lock() == ("GOVERNANCE", later)
    locking.protect(stored, retain_until=soon, lock_mode="COMPLIANCE", held=False)
    assert lock() == ("COMPLIANCE", later)
    locking.protect(stored, retain_until=later + 2_000_000, lock_mode="GOVERNANCE", held=False)
    assert lock() == ("COMPLIANCE", later + 2_000_000)


def test_a_bucket_that_cannot_lock_says_so_and_nothing_else_happens(
    plain: EvidenceStore, key: str, make_file: MakeFile
) -> None:
    stored = plain.store_verified(key, make_file(10), media_type="a/b")
    assert not plain.protect(stored, retain_until=in_future(), lock_mode="COMPLIANCE", held=True)
    plain.delete(stored)


def test_lists_have_every_version_of_an_organisation_over_many_pages(
    locking: EvidenceStore, plain: EvidenceStore
) -> None:
    for store in (locking, plain):
        for number in range(5):
            store.bucket.writer.put_object(Bucket=store.bucket.name, Key=f"paged/{number}", Body=b"1")
        assert [listed.key for listed in store.list_objects("paged/")] == [f"paged/{number}" for number in range(5)]
        assert not any(listed.key.startswith(".") for listed in store.list_objects())


def test_a_link_gives_the_bytes_of_that_version_until_it_ends_and_shows_no_secret(
    store: EvidenceStore, key: str, make_file: MakeFile
) -> None:
    path = make_file(1000)
    stored = store.store_verified(key, path, media_type="a/b")
    if stored.version_id:
        store.bucket.writer.put_object(Bucket=store.bucket.name, Key=key, Body=b"something newer")
    url = store.presign(stored, valid_seconds=120, file_name="clip.mp4", media_type="video/mp4")
    answer = httpx.get(url, timeout=60)
    assert answer.content == path.read_bytes()
    assert answer.headers["content-type"] == "video/mp4"
    assert 'filename="clip.mp4"' in answer.headers["content-disposition"]
    assert str(store.settings.secret_key) not in url
    assert httpx.get(url.replace(key, key.replace("clip", "other")), timeout=60).status_code == 403
    short = store.presign(stored, valid_seconds=1, file_name="clip.mp4", media_type="video/mp4")
    time.sleep(2.5)
    assert httpx.get(short, timeout=60).status_code == 403


def test_wrong_keys_and_missing_buckets_are_refusals_that_show_no_secret(
    objects: Objects, plain: EvidenceStore, make_file: MakeFile
) -> None:
    missing = make_store(objects, objects.url, "no-such-bucket")
    wrong = make_store(objects, objects.url, plain.bucket.name, secret_key="not-the-secret")
    for broken in (missing, wrong):
        with pytest.raises(StoreRefusedError) as caught:
            broken.store_verified("acme/x", make_file(1), media_type="a/b")
        assert str(broken.settings.secret_key) not in repr(caught.value) + repr(broken.settings)


@pytest.mark.parametrize(("size", "sent_with"), [(10, "PUT"), (PART_BYTES + 1, "POST")])
def test_objects_are_encrypted_as_the_settings_say(
    objects: Objects, liar: LyingObjects, plain: EvidenceStore, make_file: MakeFile, key: str, size: int, sent_with: str
) -> None:
    """The sandbox's server cannot encrypt, and says so; what counts is what it was asked."""
    store = make_store(objects, liar.url, plain.bucket.name, encryption="aws:kms", kms_key="key-7", profile="seaweedfs")
    with pytest.raises(StoreUnavailableError):
        store.store_verified(key, make_file(size), media_type="a/b")
    (asked, *_) = [seen for seen in liar.requests if key in seen.target and seen.method == sent_with]
    assert asked.headers["x-amz-server-side-encryption"] == "aws:kms"
    assert asked.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-7"


def test_an_upload_that_fails_is_repeated_by_us_and_never_by_the_library(
    objects: Objects, liar: LyingObjects, plain: EvidenceStore, make_file: MakeFile, key: str
) -> None:
    store = make_store(objects, liar.url, plain.bucket.name)
    store.capabilities()
    liar.lie(Fault.ERROR_BEFORE_PUT, key=key)
    with pytest.raises(StoreUnavailableError):
        store.store_verified(key, make_file(10), media_type="a/b")
    assert len([seen for seen in liar.requests if seen.method == "PUT" and key in seen.target]) == 3


def test_a_store_that_is_not_there_is_unavailable(objects: Objects, make_file: MakeFile) -> None:
    nowhere = make_store(objects, "http://127.0.0.1:9", "evidence")
    stored = StoredObject(key="acme/x", version_id=None, size=1, sha256="ab" * 32)
    with pytest.raises(StoreUnavailableError) as caught:
        nowhere.availability(stored)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE


def test_a_compliance_lock_stops_everybody_until_it_has_run_out(
    locking: EvidenceStore, locked: tuple[StoredObject, int]
) -> None:
    stored, until = locked
    assert [listed.key for listed in locking.list_objects(stored.key)] == [stored.key]
    time.sleep(max(0, until / 1_000_000 + 1 - time.time()))
    locking.delete(stored)
