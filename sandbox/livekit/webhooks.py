"""Reports to whoever wants them: signed as LiveKit signs them, delivered in order, and again when nobody takes them.

As LiveKit's, a report is the JSON form of a `WebhookEvent`; beside it goes a token with the SHA-256 of its bytes. It is
tried again, with the same bytes and the same token, after a broken connection, 429 or 5xx, but not after 4xx.
"""

import base64
import hashlib
import http.client
import queue
import secrets
import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus
from typing import Self
from urllib.parse import urlsplit

from google.protobuf import json_format
from livekit.api import AccessToken
from livekit.protocol.webhook import WebhookEvent

_VALID = timedelta(minutes=5)
_TRIES = 5
_FIRST_PAUSE_SECONDS = 0.05
_POST_SECONDS = 10.0
MEDIA_TYPE = "application/webhook+json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """What a receiver is sent: the bytes, and the header that vouches for them. `about` is the egress's id, if any."""

    event: str
    about: str
    body: bytes
    authorization: str
    genuine: bool = True


def sign(event: WebhookEvent, api_key: str, api_secret: str) -> Delivery:
    """A report as LiveKit sends it."""
    body = json_format.MessageToJson(event, indent=None, ensure_ascii=False).encode()
    token = authorize(body, api_key, api_secret)
    return Delivery(event=event.event, about=event.egress_info.egress_id, body=body, authorization=token)


def authorize(body: bytes, api_key: str, api_secret: str) -> str:
    """The header that vouches for `body`."""
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return AccessToken(api_key, api_secret).with_ttl(_VALID).with_sha256(digest).to_jwt()


def forgeries_of(delivery: Delivery, api_key: str) -> tuple[Delivery, Delivery]:
    """The same with a token of somebody who knows the key's name only, and with other bytes than were signed."""
    stranger = authorize(delivery.body, api_key, secrets.token_urlsafe(32))
    spoiled = delivery.body.replace(b"EGRESS_COMPLETE", b"EGRESS_ABORTED") + b" "
    return (
        replace(delivery, authorization=stranger, genuine=False),
        replace(delivery, body=spoiled, genuine=False),
    )


class PostOffice:
    """Keeps every delivery, in order, and makes it at each address, in a thread of its own."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._deliveries: list[Delivery] = []
        self._waiting: queue.Queue[Delivery | None] = queue.Queue()
        self._urls: tuple[str, ...] = ()
        self._statuses: list[int] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        """Begin to deliver."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Deliver no more; what waits is dropped."""
        self._stopped.set()
        self._waiting.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def send_to(self, *urls: str) -> None:
        """Deliver to these addresses from now on."""
        self._urls = urls

    def post(self, delivery: Delivery) -> None:
        """Take a delivery."""
        with self._changed:
            self._deliveries.append(delivery)
            self._changed.notify_all()
        self._waiting.put(delivery)

    def deliveries(self) -> list[Delivery]:
        """Everything taken so far."""
        with self._changed:
            return list(self._deliveries)

    def statuses(self) -> list[int]:
        """What the receivers answered, try by try; 0 for a broken connection."""
        return list(self._statuses)

    def wait_for(self, event: str, about: str, number: int, seconds: float) -> Delivery:
        """The genuine delivery of that name, and egress unless empty, with that number from 1. Raises TimeoutError."""

        def found() -> list[Delivery]:
            return [one for one in self._deliveries if one.genuine and one.event == event and about in {"", one.about}]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= number, seconds):
                raise TimeoutError(f"no {event} within {seconds} s")
            return found()[number - 1]

    def flush(self) -> None:
        """Wait until everything taken so far was delivered, or given up."""
        self._waiting.join()

    def _run(self) -> None:
        while True:
            delivery = self._waiting.get()
            try:
                if delivery is None or self._stopped.is_set():
                    return
                for url in self._urls:
                    self._deliver(delivery, url)
            finally:
                self._waiting.task_done()

    def _deliver(self, delivery: Delivery, url: str) -> None:
        for attempt in range(_TRIES):
            status = _post(delivery, url)
            self._statuses.append(status)
            if status and status != HTTPStatus.TOO_MANY_REQUESTS and status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return
            if self._stopped.wait(_FIRST_PAUSE_SECONDS * 2**attempt):
                return


def _post(delivery: Delivery, url: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_POST_SECONDS)
    headers = {"Authorization": delivery.authorization, "Content-Type": MEDIA_TYPE, "User-Agent": "LiveKit"}
    try:
        connection.request("POST", parts.path or "/", delivery.body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
