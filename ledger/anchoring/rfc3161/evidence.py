"""Revocation evidence for a verified path: an OCSP response or a CRL for each certificate below the root.

Best effort by design: an authority's revocation server being down must not cost the anchor. Addresses come only from
certificates of a path that already verified; only plain `http` is fetched, as RFC 5280 section 8 advises (the
answers are signed), without redirects. What comes back is taken only if it parses and names the right issuer; whether
its signature holds is checked with the token, by the verifier, then and whenever the bundle is read.
"""

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Coroutine
from datetime import UTC, datetime

import httpx
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from ledger.anchoring.port import AnchoringFailedError, RefusedError
from ledger.anchoring.rfc3161 import transport
from ledger.store.values import Evidence

FETCH_SECONDS = 5.0
BUDGET_SECONDS = 15.0  # for all of one path
MAX_CRL_BYTES = 2 * 1024 * 1024  # lists of time-stamp authorities have kilobytes; this is kept with every anchor
MAX_OCSP_BYTES = 64 * 1024
MAX_PATH = 8
MAX_ADDRESSES = 3  # tried per certificate and kind
CACHE_SECONDS = 600.0
CACHE_ENTRIES = 64

_log = structlog.get_logger()


class EvidenceCollector:
    """Fetches revocation evidence, remembering what it fetched for ten minutes."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._cache: OrderedDict[tuple[str, bytes], tuple[float, bytes]] = OrderedDict()

    @property
    def budget_seconds(self) -> float:
        """How long `collect` takes at most."""
        return BUDGET_SECONDS

    async def collect(self, path: tuple[bytes, ...]) -> tuple[Evidence, ...]:
        """Evidence for each certificate of `path` (DER, signer first, root last) but the root.

        Never raises for what others sent or did not send; what is not to be had is logged and left out.
        """
        found: list[Evidence] = []
        try:
            async with asyncio.timeout(BUDGET_SECONDS):
                for subject, issuer in itertools.pairwise(path[:MAX_PATH]):
                    evidence = await self._for_certificate(subject, issuer)
                    if evidence is not None and evidence not in found:
                        found.append(evidence)
        except TimeoutError:
            _log.warning("revocation_evidence_slow", seconds=BUDGET_SECONDS)
        return tuple(found)

    async def _for_certificate(self, subject_der: bytes, issuer_der: bytes) -> Evidence | None:
        try:
            subject = x509.load_der_x509_certificate(subject_der)
            issuer = x509.load_der_x509_certificate(issuer_der)
            ocsp_addresses, crl_addresses = _ocsp_addresses(subject), _crl_addresses(subject)
        except (ValueError, x509.DuplicateExtension) as error:
            _log.warning("revocation_addresses_unreadable", error=type(error).__name__)
            return None
        for address in ocsp_addresses:
            der = await self._attempt(address, self._fetch_ocsp(address, subject, issuer))
            if der is not None:
                return Evidence(kind="ocsp", der=der)
        for address in crl_addresses:
            der = await self._attempt(address, self._fetch_crl(address, subject))
            if der is not None:
                return Evidence(kind="crl", der=der)
        return None

    async def _fetch_ocsp(self, address: str, subject: x509.Certificate, issuer: x509.Certificate) -> bytes:
        # SHA-1 only names the certificate here; every responder knows it (RFC 5019 section 2.1.1).
        request = ocsp.OCSPRequestBuilder().add_certificate(subject, issuer, hashes.SHA1()).build()  # noqa: S303  # as above
        body = request.public_bytes(serialization.Encoding.DER)
        der = await self._fetch("POST", address, body, max_bytes=MAX_OCSP_BYTES)
        answer = ocsp.load_der_ocsp_response(der)
        if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise RefusedError(f"the responder answers {answer.response_status.name}")
        if answer.serial_number != subject.serial_number:
            raise RefusedError("the response is about another certificate")
        return self._keep(address, body, der, answer.next_update_utc)

    async def _fetch_crl(self, address: str, subject: x509.Certificate) -> bytes:
        der = await self._fetch("GET", address, b"", max_bytes=MAX_CRL_BYTES)
        revocations = x509.load_der_x509_crl(der)
        if revocations.issuer != subject.issuer:
            raise RefusedError("the list is another issuer's")
        return self._keep(address, b"", der, revocations.next_update_utc)

    async def _fetch(self, method: str, address: str, body: bytes, *, max_bytes: int) -> bytes:
        cached = self._cache.get((address, body))
        if cached is not None and cached[0] > time.monotonic():
            return cached[1]
        return await transport.fetch(
            self._client,
            method,
            address,
            content=body or None,
            headers={"Content-Type": "application/ocsp-request"} if body else None,
            answer_types=frozenset(),  # servers of lists say all kinds of things; the parser decides
            max_bytes=max_bytes,
            timeout_seconds=FETCH_SECONDS,
        )

    def _keep(self, address: str, body: bytes, der: bytes, next_update: datetime | None) -> bytes:
        """Remember what proved usable, as long as it is current. Raises RefusedError when it no longer is."""
        seconds = CACHE_SECONDS
        if next_update is not None:
            seconds = min(seconds, (next_update - datetime.now(tz=UTC)).total_seconds())
        if seconds <= 0:
            raise RefusedError("it is out of date")
        key = (address, body)
        if key not in self._cache or self._cache[key][1] != der:
            self._cache[key] = (time.monotonic() + seconds, der)
            while len(self._cache) > CACHE_ENTRIES:
                self._cache.popitem(last=False)
        return der

    async def _attempt(self, address: str, fetching: Coroutine[None, None, bytes]) -> bytes | None:
        """What `fetching` gives, or None with a line in the log: one address that fails never ends the collection."""
        try:
            return await fetching
        except (AnchoringFailedError, ValueError, TypeError, x509.UnsupportedGeneralNameType) as error:
            _log.warning("revocation_evidence_unavailable", host=httpx.URL(address).host, error=str(error)[:200])
            return None


def _ocsp_addresses(certificate: x509.Certificate) -> list[str]:
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return []
    return _plain_http(
        [item.access_location for item in access if item.access_method == AuthorityInformationAccessOID.OCSP]
    )


def _crl_addresses(certificate: x509.Certificate) -> list[str]:
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return []
    # A list by another issuer or for some reasons only would need more rules than it brings.
    return _plain_http(
        [
            name
            for point in points
            if point.crl_issuer is None and point.reasons is None
            for name in point.full_name or ()
        ]
    )


def _plain_http(names: list[x509.GeneralName]) -> list[str]:
    addresses = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    return [address for address in addresses if _is_plain_http(address)][:MAX_ADDRESSES]


def _is_plain_http(address: str) -> bool:
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        return False
    return url.scheme == "http" and bool(url.host) and not url.userinfo
