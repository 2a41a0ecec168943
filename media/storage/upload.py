"""Uploads whose digest is taken from the very bytes that are sent, and that are recognised when the answer is lost."""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from media.errors import Reason
from media.storage.client import Bucket
from media.storage.errors import (
    StoredObjectMissingError,
    StoreError,
    StoreUnavailableError,
    store_errors,
)
from media.storage.reading import Progress, named_version, read_back
from media.storage.values import ReadBack, StoredObject

if TYPE_CHECKING:  # the types of boto3 are installed for development only
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

# Smaller files go in one request, whose SHA-256 a store that can checks before it answers. S3 wants parts of 5 MiB and
# more, all of the same size (R2), and at most 10,000 of them: 160 GB.
PART_BYTES = 16 * 1024 * 1024
_MAX_PARTS = 10_000
_SEND_TRIES = 3
_FIRST_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadOptions:
    """How this bucket wants its objects."""

    # Refuse to overwrite: where no versions are kept, that would destroy what another worker has stored.
    only_if_new: bool
    sends_checksum: bool
    extra: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    path: Path
    key: str
    media_type: str


def put(  # noqa: PLR0913 - what an upload consists of
    bucket: Bucket, key: str, path: Path, *, media_type: str, options: UploadOptions, progress: Progress | None
) -> StoredObject:
    """Store a file under a key. What comes back names the bytes that were sent, not what the store made of them.

    Raises ObjectExistsError, StoreUnavailableError, StoreRefusedError, StoreError TOO_LARGE, OSError.
    """
    if path.stat().st_size > _MAX_PARTS * PART_BYTES:
        raise StoreError(Reason.TOO_LARGE, f"{path.name} is too large for the store", {"key": key})
    file = _File(path=path, key=key, media_type=media_type)
    for attempt in range(1, _SEND_TRIES + 1):
        digest = _Digest(progress)
        try:
            version_id = _send(bucket, file, options, digest)
        except StoreUnavailableError:
            stored = _recognise(bucket, key, digest)
            if stored is not None:
                return stored
            if attempt == _SEND_TRIES:
                raise
            time.sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
        else:
            return StoredObject(key=key, version_id=version_id, size=digest.size, sha256=digest.hexdigest())
    raise AssertionError  # the last attempt returned or raised


class _Digest:
    """SHA-256 and length of what has been sent."""

    def __init__(self, progress: Progress | None) -> None:
        self._sha256 = hashlib.sha256()
        self._progress = progress
        self.size = 0
        # Whether the last byte of the file was among what was sent.
        self.is_whole = False

    def update(self, chunk: bytes) -> None:
        self._sha256.update(chunk)
        self.size += len(chunk)

    def report(self, chunk: bytes) -> None:
        if self._progress is not None:
            self._progress(len(chunk))

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def _send(bucket: Bucket, file: _File, options: UploadOptions, digest: _Digest) -> str | None:
    with file.path.open("rb") as opened:
        first = opened.read(PART_BYTES)
        if len(first) < PART_BYTES:
            return _put_whole(bucket, file, first, options, digest)
        return _put_parts(bucket, file, _parts(first, opened), options, digest)


def _put_whole(bucket: Bucket, file: _File, body: bytes, options: UploadOptions, digest: _Digest) -> str | None:
    digest.update(body)
    digest.is_whole = True
    parameters = _condition(options) | options.extra
    if options.sends_checksum:
        parameters["ChecksumSHA256"] = base64.b64encode(hashlib.sha256(body).digest()).decode()
    with store_errors("store", file.key):
        answer = bucket.writer.put_object(
            Bucket=bucket.name,
            Key=file.key,
            Body=body,
            ContentType=file.media_type,
            **parameters,
        )
    digest.report(body)
    return named_version(answer.get("VersionId"))


def _put_parts(
    bucket: Bucket, file: _File, parts: Iterator[bytes], options: UploadOptions, digest: _Digest
) -> str | None:
    with store_errors("begin to store", file.key):
        upload_id = bucket.writer.create_multipart_upload(
            Bucket=bucket.name, Key=file.key, ContentType=file.media_type, **options.extra
        )["UploadId"]
    try:
        sent: list[CompletedPartTypeDef] = []
        for number, part in enumerate(parts, start=1):
            digest.update(part)
            sent.append({"PartNumber": number, "ETag": _put_part(bucket, file.key, upload_id, number, part)})
            digest.report(part)
        digest.is_whole = True
        with store_errors("complete", file.key):
            answer = bucket.writer.complete_multipart_upload(
                Bucket=bucket.name,
                Key=file.key,
                UploadId=upload_id,
                MultipartUpload={"Parts": sent},
                **_condition(options),
            )
    except BaseException:
        # Whatever stopped it, the parts would stay and cost. If the upload was completed all the same, this fails.
        with suppress(StoreError), store_errors("give up", file.key):
            bucket.writer.abort_multipart_upload(Bucket=bucket.name, Key=file.key, UploadId=upload_id)
        raise
    return named_version(answer.get("VersionId"))


def _put_part(bucket: Bucket, key: str, upload_id: str, number: int, part: bytes) -> str:
    """Send one part, again if need be: the same part twice is still one part."""

    def send() -> str:
        with store_errors(f"store part {number} of", key):
            return bucket.writer.upload_part(
                Bucket=bucket.name, Key=key, UploadId=upload_id, PartNumber=number, Body=part
            )["ETag"]

    return _again(send)


def _again(send: Callable[[], str]) -> str:
    for attempt in range(1, _SEND_TRIES):
        try:
            return send()
        except StoreUnavailableError:
            time.sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
    return send()


def _recognise(bucket: Bucket, key: str, digest: _Digest) -> StoredObject | None:
    """The object whose answer was lost, if it is there after all: known by its bytes, read back in full."""
    if not digest.is_whole:
        return None
    wanted = ReadBack(size=digest.size, sha256=digest.hexdigest())
    try:
        with store_errors("look for", key):
            head = bucket.reader.head_object(Bucket=bucket.name, Key=key)
        if head["ContentLength"] != wanted.size:
            return None
        version_id = named_version(head.get("VersionId"))
        found = read_back(bucket, key, version_id)
    except (StoredObjectMissingError, StoreUnavailableError):
        return None
    if found != wanted:
        return None
    return StoredObject(key=key, version_id=version_id, size=wanted.size, sha256=wanted.sha256)


def _parts(first: bytes, opened: BinaryIO) -> Iterator[bytes]:
    part = first
    while part:
        yield part
        part = opened.read(PART_BYTES)


def _condition(options: UploadOptions) -> dict[str, Any]:
    return {"IfNoneMatch": "*"} if options.only_if_new else {}
