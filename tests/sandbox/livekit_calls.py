"""Calls of the double of LiveKit with LiveKit's own library, and what lies in the bucket afterwards."""

import http.client
from datetime import timedelta
from typing import Any

import boto3
from livekit import api
from livekit.protocol.egress import EgressInfo, EncodedFileOutput, S3Upload
from livekit.protocol.webhook import WebhookEvent

from sandbox.livekit import (
    Delivery,
    Filming,
    LiveKitDouble,
    LiveKitSandbox,
    S3Target,
)

SHOWN = {"indelible.recording": "yes"}
SMALL = Filming(width=160, height=90, composite_width=320, composite_height=180, rate=10)
PICTURE_US = 1_000_000 // SMALL.rate


def store(target: S3Target) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=target.endpoint_url,
        aws_access_key_id=target.access_key,
        aws_secret_access_key=target.secret_key,
        region_name=target.region,
    )


def keys_in(target: S3Target, folder: str) -> list[str]:
    return [
        one["Key"] for one in store(target).list_objects_v2(Bucket=target.bucket, Prefix=folder).get("Contents", [])
    ]


def read(target: S3Target, key: str) -> bytes:
    body: bytes = store(target).get_object(Bucket=target.bucket, Key=key)["Body"].read()
    return body


def into(target: S3Target | None, key: str = "file.mp4") -> list[EncodedFileOutput]:
    if target is None:
        return [EncodedFileOutput(filepath=key, disable_manifest=True)]
    upload = S3Upload(
        access_key=target.access_key,
        secret=target.secret_key,
        region=target.region,
        endpoint=target.endpoint_url,
        bucket=target.bucket,
        force_path_style=True,
    )
    return [EncodedFileOutput(filepath=key, s3=upload, disable_manifest=True)]


def client_of(livekit: LiveKitDouble, secret: str | None = None) -> api.LiveKitAPI:
    return api.LiveKitAPI(livekit.url, livekit.api_key, secret or livekit.api_secret)


async def start(livekit: LiveKitDouble, identity: str, target: S3Target | None = None, key: str = "file.mp4") -> str:
    """Record a participant, or the room for an empty identity, with the library; the id."""
    async with client_of(livekit) as client:
        if identity:
            request = api.ParticipantEgressRequest(room_name="room", identity=identity, file_outputs=into(target, key))
            return (await client.egress.start_participant_egress(request)).egress_id
        whole = api.RoomCompositeEgressRequest(room_name="room", file_outputs=into(target, key))
        return (await client.egress.start_room_composite_egress(whole)).egress_id


async def stop(livekit: LiveKitDouble, egress_id: str) -> EgressInfo:
    async with client_of(livekit) as client:
        return await client.egress.stop_egress(api.StopEgressRequest(egress_id=egress_id))


def ended(livekit: LiveKitDouble, egress_id: str) -> EgressInfo:
    """What the report of the end says, as the library reads it."""
    return received(livekit, livekit.wait_for_webhook("egress_ended", egress_id=egress_id, seconds=120.0)).egress_info


def received(livekit: LiveKitDouble, delivery: Delivery) -> WebhookEvent:
    receiver = api.WebhookReceiver(api.TokenVerifier(livekit.api_key, livekit.api_secret))
    return receiver.receive(delivery.body.decode(), delivery.authorization)


def names(livekit: LiveKitDouble) -> list[str]:
    return [delivery.event for delivery in livekit.webhooks()]


def post(livekit: LiveKitDouble | LiveKitSandbox, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(livekit.url.rpartition(":")[2]), timeout=60)
    try:
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def bearer(livekit: LiveKitDouble, grants: api.VideoGrants, ttl: timedelta = timedelta(minutes=1)) -> str:
    token = api.AccessToken(livekit.api_key, livekit.api_secret).with_grants(grants).with_ttl(ttl)
    return f"Bearer {token.to_jwt()}"
