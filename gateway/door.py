"""The gateway's door to verify links: plain HTTP for what the verify page needs, and nothing else of the ledger."""

import math
import re
import time
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, jsonify, request
from itsdangerous import URLSafeSerializer

from gateway.problems import Problem
from gateway.ratelimit import RateLimiter
from gateway.slots import RETRY_SECONDS, Slot, Slots
from ledger.client import BlockingLedgerClient, ClientError

# Per address. One verify page asks for all of its readers and limits each of those by itself.
REQUESTS_PER_SECOND = 20.0
BURST_REQUESTS = 100
# Bundles sent at once; the server has more threads than this, so that /healthz always answers.
MAX_DOWNLOADS = 20
# Those of one organisation's links: its readers cannot keep the readers of others waiting.
MAX_DOWNLOADS_OF_ONE = 12
# A reader that takes longer than this for one bundle is cut off, however steadily it drips.
MAX_DOWNLOAD_SECONDS = 600.0

_TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,1024}", re.ASCII)
_GONE = frozenset({"LINK_EXPIRED", "LINK_REVOKED"})
_UNKNOWN = frozenset({"LINK_UNKNOWN", "CHAIN_NOT_FOUND"})


def make_door(ledger: BlockingLedgerClient, limits: RateLimiter, slots: Slots) -> Blueprint:
    """The door in front of `ledger`, with a limit of its own for each address."""
    door = Blueprint("verify-links", __name__)

    @door.before_request
    def limit_rate() -> Response | None:
        wait = limits.wait_seconds(request.remote_addr or "")
        if wait > 0:
            return refusal(429, "Too many requests. Wait a moment.", retry_after=math.ceil(wait))
        return None

    @door.get("/verify-links/<token>/bundle")
    def send_linked_bundle(token: str) -> Response:
        if _TOKEN.fullmatch(token) is None:
            return refusal(404, "There is no such verify link.")
        try:
            slot = slots.take()
        except Problem:
            return refusal(503, "Too many bundles are being sent. Try again in a moment.", RETRY_SECONDS)
        try:
            download = _Download(ledger.stream_linked_bundle(token), slot)
        except ClientError as error:
            slot.release()
            return _refusal_of(error)
        except BaseException:
            slot.release()
            raise
        try:
            # The ledger believed the token, so what it says is true.
            slot.count_for(_organisation_of(token))
        except Problem:
            download.close()
            return refusal(
                429, "Too many bundles of this organisation are being sent. Try again in a moment.", RETRY_SECONDS
            )
        return Response(
            download,
            mimetype="application/zip",
            headers={"Content-Disposition": 'attachment; filename="bundle.zip"'},
        )

    return door


def _organisation_of(token: str) -> str:
    """The organisation that a genuine token names (docs/guides/verify-page.md: KEYID "." SIGNED)."""
    claims: Any = URLSafeSerializer("").loads_unsafe(token.partition(".")[2])[1]
    return str(claims["org"]) if isinstance(claims, dict) and "org" in claims else ""


class _Download:
    """The pieces of one bundle. The first is fetched at once, so that a refusal can still become a status.

    An error further on, or the end of the time, ends the connection without its proper end: no reader takes half a
    bundle for a whole one.
    """

    def __init__(self, pieces: Iterator[bytes], slot: Slot) -> None:
        """Raises ClientError."""
        self._pieces = pieces
        self._slot = slot
        self._deadline = time.monotonic() + MAX_DOWNLOAD_SECONDS
        self._first: bytes | None = next(pieces, b"")
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if time.monotonic() > self._deadline:
            raise TimeoutError("the reader took too long for one bundle")
        return next(self._pieces)

    def close(self) -> None:
        """Called by the server in the end, however the download went."""
        if self._open:
            self._open = False
            self._slot.release()
            if hasattr(self._pieces, "close"):
                self._pieces.close()


def _refusal_of(error: ClientError) -> Response:
    """One sentence for every link that cannot be opened: nothing that helps a forger."""
    if error.reason in _GONE:
        return refusal(410, "This verify link has expired or was revoked.")
    if error.reason in _UNKNOWN:
        return refusal(404, "There is no such verify link.")
    return refusal(503, "The ledger cannot answer now. Try again in a moment.", RETRY_SECONDS)


def refusal(status: int, sentence: str, retry_after: int | None = None) -> Response:
    """An answer that says in one sentence why there is no other."""
    response = jsonify(error=sentence)
    response.status_code = status
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response
