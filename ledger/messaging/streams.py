"""The JetStream streams of the product, and the consumers of its work queues.

Declaring them is idempotent and creates what is missing. Limits of a stream that exists (age, size, replicas) are the
operator's to change and are left alone; what correctness rests on is checked.
"""

from dataclasses import dataclass

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

PREFIX = "indelible.v1"
APPEND_SUBJECT = f"{PREFIX}.events.append"
DEAD_SUBJECT = f"{PREFIX}.dead"

CHAINS_STREAM = "indelible-v1-chains"
ANCHORS_STREAM = "indelible-v1-anchors"
DEAD_STREAM = "indelible-v1-dead"

# A delivered request that shows no sign of life for this long is delivered again, to whoever asks next.
ACK_WAIT_SECONDS = 30.0
# Delivered and not yet answered, over all ledger processes.
MAX_UNANSWERED = 4_096
# Pull requests waiting at once: 32 lanes in each of 64 ledger processes.
MAX_WAITING = 2_048
# An append request this large has not been written by a sane client; gRPC's limit is of the same order.
MAX_APPEND_BYTES = 7 * 1024 * 1024
# How long the server remembers message ids. It must outlast the pause between a publication whose answer was lost and
# the repetition; anything longer only costs memory.
DUPLICATE_WINDOW_SECONDS = 600.0

_MEBIBYTE = 1024 * 1024
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """A work queue: requests on `subject` are kept in `stream` until the processes of `consumer` answered them."""

    subject: str
    stream: str
    consumer: str
    max_message_bytes: int


APPEND_QUEUE = Queue(
    subject=APPEND_SUBJECT,
    stream="indelible-v1-events-append",
    consumer="ledger",
    max_message_bytes=MAX_APPEND_BYTES,
)


class StreamMismatchError(RuntimeError):
    """A stream of that name exists but would lose or misdirect messages; the text says what to change."""


def appended_subject(organisation_id: str, chain_id: str) -> str:
    """Where a chain's events are published. Identifiers hold no dots, so the subject cannot be ambiguous."""
    return f"{PREFIX}.chains.{organisation_id}.{chain_id}.appended"


def anchored_subject(organisation_id: str, chain_id: str, backend: str) -> str:
    """Where a chain's anchors of one backend are published."""
    return f"{PREFIX}.anchors.{organisation_id}.{chain_id}.{backend}"


async def declare_queue(stream: JetStreamContext, queue: Queue) -> None:
    """A work queue, its consumer, and the stream of what could not be processed."""
    # A full queue refuses new requests, so their senders know; dropping old ones would lose them in silence.
    await _declare(
        stream,
        StreamConfig(
            name=queue.stream,
            subjects=[queue.subject],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            max_bytes=512 * _MEBIBYTE,
            max_msg_size=queue.max_message_bytes,
        ),
    )
    await _declare(
        stream,
        StreamConfig(
            name=DEAD_STREAM,
            subjects=[DEAD_SUBJECT],
            retention=RetentionPolicy.LIMITS,
            max_bytes=128 * _MEBIBYTE,
            max_age=90 * _DAY_SECONDS,
        ),
    )
    try:
        await stream.consumer_info(queue.stream, queue.consumer)
    except NotFoundError:
        await stream.add_consumer(
            queue.stream,
            ConsumerConfig(
                durable_name=queue.consumer,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_SECONDS,
                max_deliver=-1,  # the inbox itself decides when to give up, and keeps what it gave up on
                max_ack_pending=MAX_UNANSWERED,
                max_waiting=MAX_WAITING,
            ),
        )


async def declare_outbox(stream: JetStreamContext) -> None:
    """The streams of committed events and of obtained anchors. Old messages make room: the ledger has them all."""
    for name, subject, mebibytes in (
        (CHAINS_STREAM, f"{PREFIX}.chains.>", 1024),
        (ANCHORS_STREAM, f"{PREFIX}.anchors.>", 64),
    ):
        await _declare(
            stream,
            StreamConfig(
                name=name,
                subjects=[subject],
                retention=RetentionPolicy.LIMITS,
                max_bytes=mebibytes * _MEBIBYTE,
                max_age=7 * _DAY_SECONDS,
                duplicate_window=DUPLICATE_WINDOW_SECONDS,
            ),
        )


async def _declare(stream: JetStreamContext, wanted: StreamConfig) -> None:
    name, subjects = wanted.name or "", set(wanted.subjects or ())
    try:
        await stream.add_stream(wanted.evolve(storage=StorageType.FILE))
    except BadRequestError as error:
        try:
            found = (await stream.stream_info(name)).config
        except NotFoundError:
            raise error from None  # refused for another reason than being there already
        if not subjects <= set(found.subjects or ()) or found.retention != wanted.retention:
            retention = wanted.retention.value if wanted.retention else ""
            raise StreamMismatchError(
                f"the NATS stream {name} exists with other subjects or another retention than the ledger needs; "
                f"give it the subjects {sorted(subjects)} and the retention {retention}, or remove it"
            ) from error
