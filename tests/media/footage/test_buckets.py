"""Searches of segments in the sandbox's real S3 server."""

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from media.clips.bucket_shelf import BucketShelf
from media.clips.naming import NamePattern
from media.clips.shelves import GoneError, Listed
from media.clips.sources import Bucket, SourceKind
from media.errors import MediaError, Reason
from sandbox.objects import Objects
from sandbox.processes import free_port
from tests.media.footage.searching import SECOND, Camera, names, seconds_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# As the names are: the listing goes by the hour.
NAMES = "%Y/%m/%d/%H%M%S.ts"


@pytest.fixture(scope="module")
def client(objects: Objects) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=objects.url,
        aws_access_key_id=objects.access_key,
        aws_secret_access_key=objects.secret_key,
        region_name="us-east-1",
    )


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> Camera:
    camera = Camera(root=tmp_path_factory.mktemp("segments") / "gate")
    for start in (0, 5, 10):
        camera.film(start, 5, name=f"2026/03/01/1200{start:02}.ts", format="mpegts")
    return camera


@pytest.fixture
def bucket(objects: Objects, client: "S3Client") -> Iterator[Bucket]:
    name = f"footage-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=name)
    yield Bucket(
        name=name,
        prefix="gate/",
        endpoint_url=objects.url,
        region="us-east-1",
        access_key=objects.access_key,
        secret_key=objects.secret_key,
    )
    for found in client.list_objects_v2(Bucket=name).get("Contents", []):
        client.delete_object(Bucket=name, Key=found["Key"])
    client.delete_bucket(Bucket=name)


def changes(bucket: Bucket) -> dict[str, Any]:
    return {"kind": SourceKind.S3, "location": bucket, "names": NamePattern(NAMES, UTC)}


def upload(client: "S3Client", bucket: Bucket, segments: Camera, *starts: int) -> None:
    for start in starts:
        name = f"2026/03/01/1200{start:02}.ts"
        client.upload_file(str(segments.root / name), bucket.name, bucket.prefix + name)


async def test_segments_in_a_bucket_are_found_by_their_keys(
    client: "S3Client", bucket: Bucket, segments: Camera
) -> None:
    upload(client, bucket, segments, 0, 5, 10)
    client.put_object(Bucket=bucket.name, Key="other/2026/03/01/120005.ts", Body=b"another camera's")
    client.put_object(Bucket=bucket.name, Key="gate/2026/02/28/120005.ts", Body=b"another day's")
    found = await segments.find(6, 14, **changes(bucket))
    assert names(found) == ["2026/03/01/120005.ts", "2026/03/01/120010.ts"]
    assert found.gaps == ()
    assert found.segments[0].path.read_bytes() == (segments.root / "2026/03/01/120005.ts").read_bytes()


async def test_a_listing_that_is_late_is_asked_again_while_the_wait_lasts(
    client: "S3Client", bucket: Bucket, segments: Camera
) -> None:
    upload(client, bucket, segments, 0, 10)
    # A wait that lasts: the objects were written now, long after noon in March.
    now = time.time_ns() // 1000 + 60 * SECOND
    wait = {"wait_us": now, "settle_us": 0}
    first = await segments.find(1, 14, now=now, **changes(bucket), **wait)
    assert not first.complete
    upload(client, bucket, segments, 5)
    second = await segments.find(1, 14, now=now, **changes(bucket), **wait)
    assert second.complete
    assert second.gaps == ()


async def test_an_object_that_is_listed_but_gone_is_a_gap(
    client: "S3Client", bucket: Bucket, segments: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(client, bucket, segments, 0, 5, 10)
    listing = BucketShelf.list

    def late(self: BucketShelf, prefixes: tuple[str, ...]) -> object:
        listed = listing(self, prefixes)
        client.delete_object(Bucket=bucket.name, Key="gate/2026/03/01/120005.ts")
        return listed

    monkeypatch.setattr(BucketShelf, "list", late)
    found = await segments.find(1, 14, **changes(bucket))
    assert [seconds_of(gap) for gap in found.gaps] == [(5, 10, "missing")]


async def test_a_bucket_that_does_not_exist_is_worth_another_try(bucket: Bucket, segments: Camera) -> None:
    with pytest.raises(MediaError) as refused:
        await segments.find(1, 14, **changes(replace(bucket, name="no-such-bucket")))
    assert refused.value.reason is Reason.FOOTAGE_UNAVAILABLE
    assert "NoSuchBucket" in refused.value.message


async def test_a_store_that_cannot_be_reached_is_worth_another_try(bucket: Bucket, segments: Camera) -> None:
    away = replace(bucket, endpoint_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(MediaError) as refused:
        await segments.find(1, 14, **changes(away))
    assert refused.value.reason is Reason.FOOTAGE_UNAVAILABLE
    assert bucket.secret_key is not None
    assert bucket.secret_key not in str(refused.value)


def test_wrong_keys_are_told_without_them(bucket: Bucket) -> None:
    with pytest.raises(MediaError) as refused:
        BucketShelf(replace(bucket, secret_key="wrong-secret")).list(("",))
    assert refused.value.reason is Reason.FOOTAGE_UNAVAILABLE
    assert "wrong-secret" not in str(refused.value)


def test_an_object_larger_than_allowed_is_not_copied(client: "S3Client", bucket: Bucket, tmp_path: Path) -> None:
    client.put_object(Bucket=bucket.name, Key="gate/a", Body=b"x" * 5000)
    with pytest.raises(MediaError) as refused:
        BucketShelf(bucket).fetch(Listed(name="a", size=5000, modified_at=0), tmp_path / "copy", limit=4999)
    assert refused.value.reason is Reason.TOO_LARGE
    with pytest.raises(GoneError):
        BucketShelf(bucket).read("missing", limit=10)


def test_keys_that_cannot_be_shown_are_passed_over(client: "S3Client", bucket: Bucket) -> None:
    for key in ("gate/a\nb.ts", "gate/folder/", "gate/fine.ts"):
        client.put_object(Bucket=bucket.name, Key=key, Body=b"x")
    listing = BucketShelf(bucket).list(("",))
    assert [one.name for one in listing.files] == ["fine.ts"]
    assert listing.passed_over >= 1
