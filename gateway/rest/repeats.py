"""Idempotency-Key: the same request again gets the first answer, and is not carried out twice.

1. A key belongs to one subject, one method and one address of one organisation. Only digests are kept.
2. The first request claims it, in a transaction of its own. Whoever comes while it is carried out is told to come back.
3. Success is kept for a day and repeated. A refusal is not: nothing was done, so the claim is given up.
4. A claim whose gateway died is free again after `CLAIM_SECONDS`; what may be done a second time then is what the
   services refuse to do twice by themselves, or a link or credential that nobody has seen.
5. The same key with another request is refused.

Rights are not asked about again for a repetition: it tells one subject only what that subject was told before.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from psycopg.types.json import Jsonb

from gateway.auth.values import GatewayCaller
from gateway.problems import Code, Problem
from gateway.records.records import Records

KEEP_SECONDS = 24 * 3600
# Longer than any request that asks for a key takes.
CLAIM_SECONDS = 120
RETRY_SECONDS = 1
MAX_KEY_CHARACTERS = 128

_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARACTERS}}}", re.ASCII)
_log = structlog.stdlib.get_logger("gateway")

_CLEAN = "DELETE FROM gateway.idempotency_keys WHERE organisation_id = %(organisation_id)s AND claimed_at < %(stale)s"
_CLAIM = """
INSERT INTO gateway.idempotency_keys (organisation_id, key_sha256, request_sha256, claimed_at)
VALUES (%(organisation_id)s, %(key)s, %(request)s, %(now)s)
    ON CONFLICT DO NOTHING
RETURNING claimed_at
"""
_FIND = """
SELECT request_sha256, claimed_at, status, headers, body
  FROM gateway.idempotency_keys
 WHERE organisation_id = %(organisation_id)s AND key_sha256 = %(key)s
   FOR UPDATE
"""
_CLAIM_AGAIN = """
UPDATE gateway.idempotency_keys SET claimed_at = %(now)s
 WHERE organisation_id = %(organisation_id)s AND key_sha256 = %(key)s
"""
_KEEP = """
UPDATE gateway.idempotency_keys SET status = %(status)s, headers = %(headers)s, body = %(body)s
 WHERE organisation_id = %(organisation_id)s AND key_sha256 = %(key)s AND claimed_at = %(claimed_at)s
"""
_GIVE_UP = """
DELETE FROM gateway.idempotency_keys
 WHERE organisation_id = %(organisation_id)s AND key_sha256 = %(key)s AND claimed_at = %(claimed_at)s AND status IS NULL
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """An answer as it was given: status, headers, body."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The right to carry a request out under its key. `claimed_at` in microseconds since 1970."""

    organisation_id: str
    key: bytes
    claimed_at: int


class Repeats:
    """The keys in the gateway's records."""

    def __init__(self, records: Records, clock: Callable[[], float] = time.time) -> None:
        self._records = records
        self._clock = clock

    def claim(self, caller: GatewayCaller, address: str, key: str, request: bytes) -> Claim | Kept:
        """The claim of a first request, or the answer that was given to it. `address` is method and path.

        Raises Problem: IDEMPOTENCY_CONFLICT, IDEMPOTENCY_IN_PROGRESS, IDEMPOTENCY_ANSWER_WITHHELD.
        """
        now = int(self._clock() * 1_000_000)
        named = json.dumps([caller.subject, address, key]).encode()
        asked: dict[str, Any] = {
            "organisation_id": caller.organisation_id,
            "key": hashlib.sha256(named).digest(),
            "request": hashlib.sha256(request).digest(),
            "now": now,
            "stale": now - KEEP_SECONDS * 1_000_000,
        }
        claim = Claim(organisation_id=caller.organisation_id, key=asked["key"], claimed_at=now)
        with self._records.transaction(caller.organisation_id) as connection:
            connection.execute(_CLEAN, asked)
            if connection.execute(_CLAIM, asked).fetchone() is not None:
                return claim
            row = connection.execute(_FIND, asked).fetchone()
            if row is None:  # it was given up at this very moment
                raise _in_progress()
            request_sha256, claimed_at, status, headers, body = row
            if bytes(request_sha256) != asked["request"]:
                raise Problem(
                    Code.IDEMPOTENCY_CONFLICT, "This Idempotency-Key was used for another request; choose a new one."
                )
            if status is not None:
                return _kept(status, headers, body)
            if now - claimed_at < CLAIM_SECONDS * 1_000_000:
                raise _in_progress()
            connection.execute(_CLAIM_AGAIN, asked)
            return claim

    def keep(self, claim: Claim, answer: Kept, *, withhold: bool) -> None:
        """Keep an answer; with `withhold` only that there was one.

        What was done stays done when this fails: the claim then ends by itself.
        """
        kept = {
            "organisation_id": claim.organisation_id,
            "key": claim.key,
            "claimed_at": claim.claimed_at,
            "status": answer.status,
            "headers": Jsonb(answer.headers),
            "body": None if withhold else answer.body,
        }
        try:
            with self._records.transaction(claim.organisation_id) as connection:
                connection.execute(_KEEP, kept)
        except (Problem, psycopg.Error):
            _log.exception("idempotency_answer_not_kept", organisation_id=claim.organisation_id)

    def give_up(self, claim: Claim) -> None:
        """Free a key whose request was refused."""
        given = {"organisation_id": claim.organisation_id, "key": claim.key, "claimed_at": claim.claimed_at}
        with suppress(Problem), self._records.transaction(claim.organisation_id) as connection:
            connection.execute(_GIVE_UP, given)


def key_of(header: str | None) -> str | None:
    """The key a request names, with or without the quotes of a structured field. Raises Problem."""
    if header is None:
        return None
    key = header[1:-1] if len(header) > 1 and header[0] == header[-1] == '"' else header
    if _KEY.fullmatch(key) is None:
        raise Problem(
            Code.INVALID_REQUEST,
            f"An Idempotency-Key is 1 to {MAX_KEY_CHARACTERS} printable ASCII characters without spaces.",
            field="Idempotency-Key",
        )
    return key


def _kept(status: int, headers: dict[str, str], body: bytes | None) -> Kept:
    if body is None:
        raise Problem(
            Code.IDEMPOTENCY_ANSWER_WITHHELD,
            "This was done before under this Idempotency-Key; its answer held a secret that is shown only once.",
        )
    return Kept(status=status, headers=headers, body=bytes(body))


def _in_progress() -> Problem:
    return Problem(
        Code.IDEMPOTENCY_IN_PROGRESS,
        "The first request with this Idempotency-Key is being carried out. Ask again in a moment.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )
