"""Where an egress uploads to: an S3 bucket, with the credentials of the request or those it was installed with."""

import functools
from dataclasses import dataclass, field
from typing import Any

from livekit.protocol.egress import EncodedFileOutput


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Target:
    """A bucket of an S3 server, and the keys for it."""

    endpoint_url: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"


def target_of(output: EncodedFileOutput, installed: S3Target | None) -> S3Target:
    """Where this output goes. Raises ValueError when nobody said."""
    if output.WhichOneof("output") != "s3":
        if installed is None:
            raise ValueError("no storage was configured")
        return installed
    asked = output.s3
    if not asked.access_key and installed is None:
        raise ValueError("no credentials were configured")
    return S3Target(
        endpoint_url=asked.endpoint or (installed.endpoint_url if installed else ""),
        bucket=asked.bucket,
        access_key=asked.access_key or (installed.access_key if installed else ""),
        secret_key=asked.secret or (installed.secret_key if installed else ""),
        region=asked.region or "us-east-1",
    )


def upload(target: S3Target, key: str, data: bytes, media_type: str = "video/mp4") -> str:
    """Store the bytes and return their location. Raises OSError when that fails."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - slow to import

    try:
        _client(target).put_object(Bucket=target.bucket, Key=key, Body=data, ContentType=media_type)
    except (BotoCoreError, ClientError) as error:
        raise OSError(f"the upload failed: {error}") from error
    return location_of(target, key)


def location_of(target: S3Target, key: str) -> str:
    """What LiveKit calls the place of an object."""
    return f"{target.endpoint_url}/{target.bucket}/{key}"


@functools.lru_cache(maxsize=16)
def _client(target: S3Target) -> Any:
    import boto3  # noqa: PLC0415 - slow to import

    return boto3.client(
        "s3",
        endpoint_url=target.endpoint_url,
        aws_access_key_id=target.access_key,
        aws_secret_access_key=target.secret_key,
        region_name=target.region,
    )
