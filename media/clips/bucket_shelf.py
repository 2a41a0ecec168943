"""Segments in an S3 prefix. Listings may be late: what is listed may be gone, what is there may not be listed yet."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from media.clips.shelves import Fetched, GoneError, Listed, Listing, copy, is_usable, require_bounded, unavailable
from media.clips.sources import Bucket
from media.errors import MediaError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_GONE = frozenset({"NoSuchKey", "404"})
_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_ATTEMPTS = 3


class BucketShelf:
    """An S3 prefix; names are keys without it."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._client: S3Client | None = None
        self._making = threading.Lock()

    def list(self, prefixes: Sequence[str]) -> Listing:
        """As Shelf.list."""
        files: list[Listed] = []
        passed_over = 0
        with _told_apart():
            pages = self._s3().get_paginator("list_objects_v2")
            for prefix in prefixes:
                for page in pages.paginate(Bucket=self._bucket.name, Prefix=self._bucket.prefix + prefix):
                    for found in page.get("Contents", []):
                        name = found["Key"].removeprefix(self._bucket.prefix)
                        if not is_usable(name) or name.endswith("/"):
                            passed_over += 1
                            continue
                        modified_at = round(found["LastModified"].timestamp() * 1_000_000)
                        files.append(Listed(name=name, size=found["Size"], modified_at=modified_at))
                    require_bounded(len(files) + passed_over)
        return Listing(files=tuple(files), passed_over=passed_over)

    def fetch(self, listed: Listed, target: Path, *, limit: int) -> Fetched:
        """As Shelf.fetch."""
        with _told_apart():
            answer = self._s3().get_object(Bucket=self._bucket.name, Key=self._bucket.prefix + listed.name)
            with contextlib.closing(answer["Body"]) as body:
                size, sha256 = copy(body, target, limit=limit)
        return Fetched(
            size=size,
            sha256=sha256,
            modified_at=round(answer["LastModified"].timestamp() * 1_000_000),
            changed=size not in {listed.size, answer["ContentLength"]} or listed.size != size,
        )

    def read(self, name: str, *, limit: int) -> bytes:
        """As Shelf.read."""
        with _told_apart():
            answer = self._s3().get_object(Bucket=self._bucket.name, Key=self._bucket.prefix + name)
            with contextlib.closing(answer["Body"]) as body:
                return body.read(limit)

    def _s3(self) -> "S3Client":
        with self._making:
            if self._client is None:
                self._client = boto3.client(
                    "s3",
                    endpoint_url=self._bucket.endpoint_url,
                    region_name=self._bucket.region,
                    aws_access_key_id=self._bucket.access_key,
                    aws_secret_access_key=self._bucket.secret_key,
                    config=Config(
                        connect_timeout=_CONNECT_SECONDS,
                        read_timeout=_READ_SECONDS,
                        retries={"max_attempts": _ATTEMPTS, "mode": "standard"},
                        # Stores other than Amazon's may not know the checksums of newer requests.
                        request_checksum_calculation="when_required",
                        response_checksum_validation="when_required",
                    ),
                )
            return self._client


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """An object that is gone, and a store that cannot be reached."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _GONE:
            raise GoneError(code) from error
        raise unavailable(code) from error
    except (MediaError, GoneError):
        raise
    except (BotoCoreError, OSError) as error:
        # Its text may hold the whole request.
        raise unavailable(type(error).__name__) from error
