"""A double of LiveKit for one test, and a bucket for what it records."""

import secrets
from collections.abc import Iterator

import pytest

from sandbox.livekit import LiveKitDouble, LiveKitRoom, S3Target
from sandbox.objects import Objects
from tests.sandbox.livekit_calls import SMALL, store


@pytest.fixture
def livekit() -> Iterator[LiveKitDouble]:
    with LiveKitDouble(filming=SMALL) as double:
        yield double


@pytest.fixture
def room(livekit: LiveKitDouble) -> LiveKitRoom:
    return livekit.open_room("room")


@pytest.fixture(scope="module")
def bucket(objects: Objects) -> S3Target:
    target = S3Target(
        endpoint_url=objects.url,
        bucket=f"egress-{secrets.token_hex(6)}",
        access_key=objects.access_key,
        secret_key=objects.secret_key,
    )
    store(target).create_bucket(Bucket=target.bucket)
    return target
