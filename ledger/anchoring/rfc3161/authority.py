"""One time-stamp authority behind the anchoring port.

What must hold before an answer is returned, in this order:

1. One whole HTTP 200 answer of the right type, within time and size.
2. It verifies with `verifier.rfc3161`, the very code auditors use, against the configured roots and policies, and
   answers this request: imprint, nonce, and, because certReq was set, with its signer's certificate inside (a token
   without it is dead in an archive). See docs/adr/received-tokens-and-the-verifier.md on why one verifier, not two.
3. The time it states is about now. A genuine token from another time is a replay, or somebody's clock is wrong.
4. With the revocation evidence collected, the signer is not revoked. Evidence that cannot be had is no obstacle.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import httpx
import structlog

from ledger.anchoring.port import Obtained, RefusedError
from ledger.anchoring.rfc3161 import transport
from ledger.anchoring.rfc3161.configuration import AuthorityConfiguration
from ledger.anchoring.rfc3161.evidence import EvidenceCollector
from ledger.anchoring.rfc3161.request import build_request
from ledger.store.values import AnchorTarget, Evidence
from verifier.findings import Severity
from verifier.rfc3161 import RevocationEvidence, TimestampTrust, TokenResult, verify_token

# Ours and theirs may each be a few minutes off; more makes a time-stamp useless to us anyway.
CLOCK_TOLERANCE = timedelta(minutes=10)

# RFC 3161 section 3.4, and the name some authorities use instead.
_ANSWER_TYPES = frozenset({"application/timestamp-reply", "application/timestamp-response"})
_HEADERS = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}

_log = structlog.get_logger()


class TimestampAuthority:
    """An AnchorBackend for one configured authority, on HTTP clients that its opener closes."""

    def __init__(
        self, configuration: AuthorityConfiguration, client: httpx.AsyncClient, evidence: EvidenceCollector
    ) -> None:
        self._configuration = configuration
        self._client = client
        self._evidence = evidence
        self._trust = TimestampTrust(
            roots=configuration.roots, intermediates=configuration.intermediates, policies=configuration.policies
        )

    @property
    def target(self) -> AnchorTarget:
        """Kind and configured name."""
        return self._configuration.target

    @property
    def concurrency(self) -> int:
        """How many requests the authority gets at once."""
        return self._configuration.concurrency

    @property
    def min_interval_seconds(self) -> float:
        """The pause from one request to the next."""
        return self._configuration.min_interval_seconds

    @property
    def attempt_seconds(self) -> float:
        """The request's own time, the evidence's, and something for verifying both on a busy machine."""
        return self._configuration.timeout_seconds + self._evidence.budget_seconds + 10.0

    async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained:  # noqa: ARG002  # one step, so no state
        """A verified time-stamp over `digest`. Raises RefusedError or UnavailableError."""
        request = build_request(digest)
        asked_at = datetime.now(tz=UTC)
        response = await transport.fetch(
            self._client,
            "POST",
            self._configuration.url,
            content=request,
            headers=_HEADERS,
            answer_types=_ANSWER_TYPES,
            max_bytes=transport.MAX_ANSWER_BYTES,
            timeout_seconds=self._configuration.timeout_seconds,
        )
        result = await self._verify(digest, request, response, RevocationEvidence())
        stated = _require_acceptable(result, asked_at=asked_at, received_at=datetime.now(tz=UTC))
        collected = await self._evidence.collect(result.certificate_path)
        await self._require_not_revoked(digest, request, response, collected)
        # DER has one form, so a certificate that is embedded is embedded byte for byte; the others are kept beside it.
        chain = [Evidence(kind="certificate", der=der) for der in result.certificate_path if der not in response]
        return Obtained(request=request, response=response, anchored_at=stated, evidence=(*chain, *collected))

    async def _verify(
        self, digest: bytes, request: bytes, response: bytes, revocation: RevocationEvidence
    ) -> TokenResult:
        # In a thread: signatures take milliseconds, in which other authorities' answers should not wait.
        return await asyncio.to_thread(
            verify_token, response, digest=digest, trust=[self._trust], query=request, revocation=revocation
        )

    async def _require_not_revoked(
        self, digest: bytes, request: bytes, response: bytes, collected: tuple[Evidence, ...]
    ) -> None:
        revocation = RevocationEvidence(
            crls=tuple(item.der for item in collected if item.kind == "crl"),
            ocsp_responses=tuple(item.der for item in collected if item.kind == "ocsp"),
        )
        result = await self._verify(digest, request, response, revocation)
        if not result.ok:
            raise RefusedError(_first_error(result))
        if result.revocation != "GOOD-AT-GENTIME":
            _log.warning("revocation_evidence_missing", authority=self._configuration.name, state=result.revocation)


def _require_acceptable(result: TokenResult, *, asked_at: datetime, received_at: datetime) -> datetime:
    """The time the token states, once steps 2 and 3 hold."""
    if not result.ok or result.time is None or not result.certificate_path:
        raise RefusedError(_first_error(result))
    if not asked_at - CLOCK_TOLERANCE <= result.time <= received_at + CLOCK_TOLERANCE:
        raise RefusedError(
            f"it states the time {result.time.isoformat()}, our clock says {received_at.isoformat(timespec='seconds')}"
        )
    return result.time


def _first_error(result: TokenResult) -> str:
    errors = [finding for finding in result.findings if finding.severity is Severity.ERROR]
    if errors:
        return f"its time-stamp does not verify: {errors[0].message} ({errors[0].code})"
    return "its time-stamp does not lead to a root certificate that is configured for it"
