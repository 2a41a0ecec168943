"""What a bundle brings along to help judge its anchors. Hints only: whatever is used is verified."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from verifier.bundle import Bundle, read_limited
from verifier.findings import Finding, Severity
from verifier.opentimestamps import load_headers
from verifier.rfc3161 import RevocationEvidence
from verifier.rfc3161.certificate import Certificate, read_certificate
from verifier.rfc3161.der import DerError

EVIDENCE = "data/evidence/"
BITCOIN_HEADERS = EVIDENCE + "bitcoin-headers.txt"
MAX_EVIDENCE_BYTES = 32 * 1024 * 1024
"""All evidence together: it is kept in memory while the anchors are checked."""

MAX_HEADERS_BYTES = 2 * 1024 * 1024
"""A line for each of the largest number of anchors."""

MAX_EVIDENCE_CERTIFICATES = 5_000
"""Each is read once and looked at for every anchor; an authority with a new certificate every day needs 14 years."""

_FOLDERS = {"certificates": ".der", "crls": ".crl", "ocsp": ".ocsp"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Certificates and revocation data for the signers of anchors; headers of Bitcoin blocks by height."""

    certificates: tuple[Certificate, ...]
    revocation: RevocationEvidence
    headers: Mapping[int, bytes]


def read_evidence(bundle: Bundle) -> tuple[Evidence, list[Finding]]:
    """Read the evidence files; findings name files that are misplaced, misnamed or too large together."""
    found: dict[str, list[bytes]] = {folder: [] for folder in _FOLDERS}
    findings: list[Finding] = []
    headers: dict[int, bytes] = {}
    room = MAX_EVIDENCE_BYTES
    for path in sorted(path for path in bundle.sizes if path.startswith(EVIDENCE)):
        folder, _, name = path.removeprefix(EVIDENCE).partition("/")
        content = read_limited(bundle, path, room)
        if path == BITCOIN_HEADERS:
            headers, finding = _read_headers(content)
            findings += finding
            continue
        if folder not in _FOLDERS or content is None:
            findings.append(_wrong("evidence-unusable", path, "is not evidence of a known kind, or too large"))
            continue
        room -= len(content)
        if name != hashlib.sha256(content).hexdigest() + _FOLDERS[folder]:
            findings.append(_wrong("evidence-misnamed", path, "is not named by its own digest"))
            continue
        found[folder].append(content)
    revocation = RevocationEvidence(crls=tuple(found["crls"]), ocsp_responses=tuple(found["ocsp"]))
    encoded = found["certificates"]
    if len(encoded) > MAX_EVIDENCE_CERTIFICATES:
        text = f"holds more than {MAX_EVIDENCE_CERTIFICATES} certificates"
        findings.append(_wrong("evidence-unusable", f"{EVIDENCE}certificates", text))
    certificates = tuple(_read_certificates(encoded[:MAX_EVIDENCE_CERTIFICATES]))
    return Evidence(certificates=certificates, revocation=revocation, headers=headers), findings


def _read_headers(content: bytes | None) -> tuple[dict[int, bytes], list[Finding]]:
    """The headers by height. Each stands for itself: whether one follows another matters only for what is trusted."""
    headers: dict[int, bytes] = {}
    last = -1
    readable = content is not None and len(content) <= MAX_HEADERS_BYTES
    for line in (content.splitlines(keepends=True) if content and readable else []) or [b""]:
        try:
            # By the rules of the easiest network: which one counts only the policy says, when a header is looked at.
            ((height, header),) = load_headers([line], network="regtest").items()
        except ValueError:
            height, header = -1, b""
        if height <= last:
            return {}, [_wrong("evidence-unusable", BITCOIN_HEADERS, "is no list of block headers, or too large")]
        headers[height] = header
        last = height
    return headers, []


def _read_certificates(encoded: list[bytes]) -> Iterator[Certificate]:
    for data in encoded:
        # What cannot be read is no help; if it was needed, its absence is what gets reported.
        with suppress(DerError):
            yield read_certificate(data)


def _wrong(code: str, path: str, text: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, where=path, message=f"{path} {text}.")
