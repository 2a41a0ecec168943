"""A store that lies: nothing is taken for stored that is not, and what is stored is found to be.

The bucket behind is real, and asked directly for what really is there.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from media.storage.errors import (
    ObjectArchivedError,
    StoredMismatchError,
    StoredObjectMissingError,
    StoreUnavailableError,
)
from media.storage.reading import version_parameter
from media.storage.store import EvidenceStore
from media.storage.upload import PART_BYTES
from media.storage.values import StoredObject
from sandbox.objects_faults import Fault, LyingObjects

MakeFile = Callable[[int], Path]
SIZES = pytest.mark.parametrize("size", [100_000, PART_BYTES + 1])


def really_there(store: EvidenceStore, stored: StoredObject, path: Path) -> bool:
    version = version_parameter(stored.version_id)
    body = store.bucket.reader.get_object(Bucket=store.bucket.name, Key=stored.key, **version)["Body"].read()
    return bool(body == path.read_bytes() and hashlib.sha256(body).hexdigest() == stored.sha256)


@SIZES
def test_a_bit_that_flips_on_the_first_read_back_costs_a_second_upload(
    store: EvidenceStore, through: EvidenceStore, liar: LyingObjects, key: str, make_file: MakeFile, size: int
) -> None:
    path = make_file(size)
    liar.lie(Fault.FLIP_ON_READ, times=1, key=key)
    stored = through.store_verified(key, path, media_type="a/b")
    assert really_there(store, stored, path)


@pytest.mark.parametrize("fault", [Fault.FLIP_ON_READ, Fault.SHORT_READ])
def test_bytes_that_never_read_back_as_sent_are_a_failure_with_everything_kept_for_inspection(
    through: EvidenceStore, liar: LyingObjects, key: str, make_file: MakeFile, fault: Fault
) -> None:
    path = make_file(1000)
    liar.lie(fault, key=key)
    with pytest.raises(StoredMismatchError) as caught:
        through.store_verified(key, path, media_type="a/b", attempts=2)
    attempts = caught.value.attempts
    assert len(attempts) == 2
    for attempt in attempts:
        assert attempt.key == key
        assert attempt.expected_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert attempt.found_sha256 not in {None, attempt.expected_sha256}
        assert attempt.found_size == (1000 if fault is Fault.FLIP_ON_READ else 500)
        assert attempt.problem
    if through.capabilities().versioning:
        liar.stop_lying()
        kept = {listed.version_id for listed in through.list_objects(key)}
        assert kept == {attempt.version_id for attempt in attempts}
        assert len(kept) == 2


@pytest.mark.parametrize(
    ("fault", "size"),
    [
        (Fault.RESET_ON_READ, 100_000),
        (Fault.RESET_ON_READ, PART_BYTES + 1),
        (Fault.MISSING_AT_FIRST, 100_000),
        (Fault.SLOW, 100_000),
    ],
)
def test_a_read_that_breaks_or_comes_late_is_read_again_in_full(
    store: EvidenceStore,
    through: EvidenceStore,
    liar: LyingObjects,
    key: str,
    make_file: MakeFile,
    fault: Fault,
    size: int,
) -> None:
    path = make_file(size)
    liar.lie(fault, times=2, key=key)
    stored = through.store_verified(key, path, media_type="a/b")
    assert really_there(store, stored, path)


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER_PUT, Fault.RESET_AFTER_PUT, Fault.HANG_AFTER_PUT])
def test_an_upload_whose_answer_was_lost_is_recognised_and_not_sent_twice(
    store: EvidenceStore, through: EvidenceStore, liar: LyingObjects, key: str, make_file: MakeFile, fault: Fault
) -> None:
    path = make_file(1000)
    liar.lie(fault, times=1, key=key)
    stored = through.store_verified(key, path, media_type="a/b")
    assert really_there(store, stored, path)
    assert len(list(store.list_objects(key))) == 1


@pytest.mark.parametrize(("fault", "method"), [(Fault.RESET_AFTER_PUT, "PUT"), (Fault.ERROR_AFTER_PUT, "POST")])
def test_an_upload_in_parts_survives_lost_answers_to_a_part_and_to_its_completion(
    store: EvidenceStore,
    through: EvidenceStore,
    liar: LyingObjects,
    key: str,
    make_file: MakeFile,
    fault: Fault,
    method: str,
) -> None:
    path = make_file(PART_BYTES + 1)
    liar.lie(fault, times=1, key=key, method=method)
    stored = through.store_verified(key, path, media_type="a/b")
    assert really_there(store, stored, path)
    assert len(list(store.list_objects(key))) == 1
    assert store.abort_unfinished(older_than=2**62) == 0


def test_an_answer_lost_while_the_object_cannot_be_seen_yet_leaves_one_that_counts(
    store: EvidenceStore, through: EvidenceStore, liar: LyingObjects, key: str, make_file: MakeFile
) -> None:
    path = make_file(1000)
    liar.lie(Fault.ERROR_AFTER_PUT, times=1, key=key)
    liar.lie(Fault.MISSING_AT_FIRST, times=1, key=key)
    stored = through.store_verified(key, path, media_type="a/b")
    assert really_there(store, stored, path)


def test_a_store_with_faults_of_its_own_is_asked_again(
    store: EvidenceStore, through: EvidenceStore, liar: LyingObjects, key: str, make_file: MakeFile
) -> None:
    path = make_file(1000)
    liar.lie(Fault.ERROR_BEFORE_PUT, times=2, key=key)
    assert really_there(store, through.store_verified(key, path, media_type="a/b"), path)


def test_a_store_that_only_fails_is_unavailable_and_nothing_is_stored(
    store: EvidenceStore, through: EvidenceStore, liar: LyingObjects, key: str, make_file: MakeFile
) -> None:
    liar.lie(Fault.ERROR_BEFORE_PUT, key=key)
    with pytest.raises(StoreUnavailableError):
        through.store_verified(key, make_file(1000), media_type="a/b")
    assert list(store.list_objects(key)) == []


def test_a_store_that_says_stored_and_stores_nothing_is_found_out(
    through: EvidenceStore, liar: LyingObjects, key: str, make_file: MakeFile
) -> None:
    liar.lie(Fault.IGNORE_PUT, key=key)
    with pytest.raises(StoredMismatchError) as caught:
        through.store_verified(key, make_file(1000), media_type="a/b", attempts=1)
    assert caught.value.attempts[0].found_sha256 is None


def test_an_older_object_is_never_taken_for_the_one_that_was_not_stored(
    store: EvidenceStore, through: EvidenceStore, liar: LyingObjects, key: str, make_file: MakeFile
) -> None:
    store.store_verified(key, make_file(1000), media_type="a/b")
    liar.lie(Fault.ERROR_BEFORE_PUT, key=key)
    with pytest.raises(StoreUnavailableError):
        through.store_verified(key, make_file(1000), media_type="a/b")


def test_a_deletion_that_was_only_said_to_be_done_is_noticed(
    store: EvidenceStore, through: EvidenceStore, liar: LyingObjects, key: str, make_file: MakeFile
) -> None:
    stored = store.store_verified(key, make_file(10), media_type="a/b")
    liar.lie(Fault.IGNORE_DELETE, key=key)
    with pytest.raises(StoreUnavailableError, match="still shows"):
        through.delete(stored)
    liar.stop_lying()
    through.delete(stored)
    with pytest.raises(StoredObjectMissingError):
        store.read_back(stored)


def test_a_list_that_is_behind_hides_objects_and_changes_nothing_about_them(
    store: EvidenceStore, through: EvidenceStore, liar: LyingObjects, key: str, make_file: MakeFile
) -> None:
    path = make_file(10)
    liar.lie(Fault.STALE_LISTING)
    stored = through.store_verified(key, path, media_type="a/b")
    assert list(through.list_objects(key)) == []
    assert really_there(store, stored, path)


def test_an_archived_object_is_restored_in_its_own_time(
    store: EvidenceStore, through: EvidenceStore, liar: LyingObjects, key: str, make_file: MakeFile
) -> None:
    path = make_file(10)
    stored = store.store_verified(key, path, media_type="a/b")
    assert through.restore(stored).state == "ready"
    liar.lie(Fault.ARCHIVED, key=key)
    assert through.availability(stored).state == "archived"
    assert not through.availability(stored).is_readable
    with pytest.raises(ObjectArchivedError):
        through.read_back(stored)
    assert through.restore(stored).state == "restoring"
    assert through.restore(stored).state == "restoring"
    assert through.availability(stored).state == "restoring"
    liar.finish_restores()
    restored = through.availability(stored)
    assert (restored.state, restored.ready_until) == ("restored", 2_018_908_800_000_000)
    assert b"".join(through.stream(stored)) == path.read_bytes()
