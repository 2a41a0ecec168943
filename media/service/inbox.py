"""Requests that arrive over JetStream, under the same rules as the gRPC calls.

On `clips.extract`: clips to be preserved. On `recordings.process`: what was drawn in a session that was recorded.

A request is acknowledged once it is a row in the records, which are the only queue: from then on workers see to it.
"""

import asyncio
import time

from indelible.evidence.v1 import evidence_pb2
from nats.aio.msg import Msg

from ledger.identity import Authenticator, require_scope
from ledger.messaging.streams import PREFIX, Queue
from ledger.messaging.work_queue import Work, authenticate, headers_of, read_content, run_work
from media.clips.request import request_clip
from media.clips.sources import Sources
from media.errors import Reason
from media.ledgers import Ledgers
from media.metrics import InboxMetrics
from media.recordings.annotate import hand_over_annotations
from media.records.records import Records
from media.service.clips import wish_of
from media.service.convert import identifier
from media.service.permissions import METHOD_SCOPES

# Requests in flight in one process: each is one insert.
LANES = 8
# A request is a few hundred bytes.
MAX_REQUEST_BYTES = 64 * 1024
MAX_PROCESS_BYTES = 7 * 1024 * 1024

EXTRACT_QUEUE = Queue(
    subject=f"{PREFIX}.clips.extract",
    stream="indelible-v1-clips-extract",
    consumer="evidence",
    max_message_bytes=MAX_REQUEST_BYTES,
)

PROCESS_QUEUE = Queue(
    subject=f"{PREFIX}.recordings.process",
    stream="indelible-v1-recordings-process",
    consumer="evidence",
    # A document of 4 MiB grows by a third as the base64 of JSON.
    max_message_bytes=MAX_PROCESS_BYTES,
)

_PASSING = frozenset({Reason.DATABASE_UNAVAILABLE, Reason.OVERLOADED})


async def run_process_inbox(
    records: Records, authenticator: Authenticator, nats_url: str, stop: asyncio.Event, metrics: InboxMetrics
) -> None:
    """Take over annotations until `stop` is set; then finish those under way and return."""

    async def process(message: Msg) -> str:
        caller = await authenticate(authenticator, message)
        require_scope(caller, METHOD_SCOPES["ProcessRecording"])
        content_type = headers_of(message).get("content-type", "")
        asked = read_content(evidence_pb2.ProcessRecordingRequest, message.data, content_type)
        is_first = await hand_over_annotations(
            records,
            caller.organisation_id,
            identifier(asked.recording_id, "recording_id"),
            asked.annotations,
            by=caller.subject,
            at=time.time_ns() // 1000,
        )
        return "created" if is_first else "known"

    work = Work(
        name="evidence-process-inbox",
        queue=PROCESS_QUEUE,
        carry_out=process,
        passing=_PASSING,
        lanes=LANES,
        outcomes=metrics.process_requests,
    )
    await run_work(work, nats_url, stop)


async def run_inbox(  # noqa: PLR0913, PLR0917 - what receiving takes
    records: Records,
    sources: Sources,
    ledgers: Ledgers,
    authenticator: Authenticator,
    nats_url: str,
    stop: asyncio.Event,
    metrics: InboxMetrics,
) -> None:
    """Take extraction requests until `stop` is set; then finish those under way and return."""

    async def request(message: Msg) -> str:
        caller = await authenticate(authenticator, message)
        require_scope(caller, METHOD_SCOPES["RequestExtraction"])
        content_type = headers_of(message).get("content-type", "")
        asked = read_content(evidence_pb2.ClipExtractionRequest, message.data, content_type)
        wish = wish_of(asked)
        _, created = await request_clip(records, sources, ledgers, caller.organisation_id, wish, by=caller.subject)
        return "created" if created else "known"

    work = Work(
        name="evidence-inbox",
        queue=EXTRACT_QUEUE,
        carry_out=request,
        passing=_PASSING,
        lanes=LANES,
        outcomes=metrics.requests,
    )
    await run_work(work, nats_url, stop)
