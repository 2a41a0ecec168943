"""Clients for one bucket. Whatever writes is sent once: a repetition after a lost answer would be a second version."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from botocore.config import Config
from botocore.loaders import Loader, create_loader
from botocore.session import Session

from media.storage.values import Profile

if TYPE_CHECKING:  # the types of boto3 are installed for development only
    from mypy_boto3_s3.client import S3Client

CONNECT_SECONDS = 5.0
# The longest silence of the store in the middle of a transfer.
READ_SECONDS = 60.0
_READ_ATTEMPTS = 4
# What botocore knows about the services of AWS: megabytes of JSON, read once for all clients of a process.
_KNOWLEDGE: Final[Loader] = create_loader()


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSettings:
    """Where the bucket is and how to reach it. Without keys, boto3 looks for them in its own places."""

    bucket: str
    profile: Profile
    region: str = "us-east-1"
    endpoint_url: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    # "AES256" or "aws:kms"; None leaves it to the bucket's own default.
    encryption: str | None = None
    kms_key: str | None = None
    read_seconds: float = READ_SECONDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """One bucket, by two clients: reads may be repeated by the library, writes never are."""

    name: str
    reader: "S3Client"
    writer: "S3Client"


def open_bucket(settings: StoreSettings) -> Bucket:
    """Clients for the bucket of the settings. Nothing is sent yet."""
    # A session of their own: a shared one may not make clients in several threads at once.
    session = Session()
    session.register_component("data_loader", _KNOWLEDGE)
    reader, writer = _client(session, settings, _READ_ATTEMPTS), _client(session, settings, 1)
    return Bucket(name=settings.bucket, reader=reader, writer=writer)


def _client(session: Session, settings: StoreSettings, attempts: int) -> "S3Client":
    config = Config(
        signature_version="s3v4",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=settings.read_seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        # R2 and others know none of the newer checksums; ours is taken from the bytes and compared by us.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "auto" if settings.profile == "aws" else "path"},
    )
    client = session.create_client(
        "s3",
        region_name="auto" if settings.profile == "r2" else settings.region,
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        config=config,
    )
    return cast("S3Client", client)
