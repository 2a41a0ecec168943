"""OpenTimestamps proofs, checked offline against Bitcoin block headers that the user supplies.

A Bitcoin attestation claims that its message is the Merkle root of the block at a height. That is worth something only
next to the header of that very block; without it the proof is "anchored-unchecked". A pending attestation is a
calendar's promise, nothing more.

What must hold, in the order it is checked by `check_proof`:

1. the file is an OpenTimestamps proof of version 1 and is consumed to its last byte, within every limit;
2. its first operation names the SHA-256 digest of the stamped bytes (SHA-1 and RIPEMD-160 digests are too weak for
   evidence, though both may appear further down, where Bitcoin itself relies on them), and that is the expected digest;
3. no Bitcoin attestation is malformed, contradicts another one or contradicts a supplied header: a proof that claims
   something false about one block is not to be relied on for another;
4. at least one Bitcoin attestation equals the Merkle root of a supplied header, which carries its proof of work.

Attestations of other kinds are listed and skipped.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from verifier.findings import Finding, Severity
from verifier.opentimestamps.headers import BitcoinTrust, Network, block_time, merkle_root, work_problem
from verifier.opentimestamps.proof import (
    BITCOIN_TAG,
    PENDING_TAG,
    Attestation,
    UnusableProofError,
    bitcoin_height,
    calendar_address,
    parse_proof,
)

_FOREIGN_TAGS = {
    bytes.fromhex("06869a0d73d71b45"): "a Litecoin block",
    bytes.fromhex("30fe8087b5c7ead7"): "an Ethereum block",
}

_KINDS_NAMED = 8
_TEST_NETWORK = (
    "The proof was checked against blocks of a test network, as the trust policy says. Anybody can make such blocks at "
    "any time: outside of tests this proves nothing."
)

Status = Literal["valid", "anchored-unchecked", "pending", "invalid"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProofResult:
    """What a proof shows. `height` and `time` are those of the earliest confirmed block."""

    ok: bool
    status: Status
    findings: tuple[Finding, ...]
    height: int | None = None
    time: datetime | None = None


def check_proof(
    proof: bytes, *, digest: bytes, headers: Mapping[int, bytes] | None = None, network: Network = "bitcoin"
) -> ProofResult:
    """Checks `proof` for a SHA-256 `digest` against trusted `headers` of `network` by height. Never raises on bytes."""
    try:
        parsed = parse_proof(proof)
    except UnusableProofError as error:
        return _invalid("ots-unreadable", f"The file is not a usable OpenTimestamps proof: {error}.")
    if parsed.algorithm != "SHA-256":
        return _invalid(
            "ots-weak-digest", f"The proof starts from a {parsed.algorithm} digest; only SHA-256 is accepted."
        )
    if parsed.digest != digest:
        return _invalid("ots-digest-mismatch", "The proof is about other bytes: it starts from a different digest.")
    claims = {tag: [leaf for leaf in parsed.attestations if leaf.tag == tag] for tag in (BITCOIN_TAG, PENDING_TAG)}
    notes = _skipped(Counter(leaf.tag for leaf in parsed.attestations if leaf.tag not in claims))
    promises = claims[PENDING_TAG]
    if promises:
        notes = (_promised(promises), *notes)
    if network != "bitcoin" and claims[BITCOIN_TAG]:
        notes = (Finding(code="ots-test-network", severity=Severity.WARNING, message=_TEST_NETWORK), *notes)
    return _judge(
        claims[BITCOIN_TAG], BitcoinTrust(headers=headers or {}, network=network), notes, pending=bool(promises)
    )


def _judge(claims: list[Attestation], trust: BitcoinTrust, notes: tuple[Finding, ...], *, pending: bool) -> ProofResult:
    headers = trust.headers
    roots: dict[int, bytes] = {}
    for leaf in claims:
        height = bitcoin_height(leaf)
        if height is None or leaf.message is None:
            return _invalid("ots-malformed", "A Bitcoin attestation of the proof is malformed.", notes)
        if problem := _contradiction(height, leaf.message, roots, trust):
            return _invalid("ots-contradicted", problem, notes)
        roots[height] = leaf.message
    known = sorted(roots)
    if confirmed := [height for height in known if height in headers]:
        return _valid(confirmed[0], headers[confirmed[0]], notes)
    if known:
        # In the byte order in which nodes and explorers show it.
        root = roots[known[0]][::-1].hex()
        message = (
            f"The proof leads to Bitcoin block {known[0]} (anchored-unchecked), but no header of that block was given. "
            f"The proof holds if the Merkle root of that block is {root}."
        )
        return _undecided("anchored-unchecked", "ots-anchored-unchecked", message, notes, known[0])
    if pending:
        message = (
            "The proof is not anchored yet: a calendar's promise alone proves nothing. Some hours after it was made "
            "the rest can be had: in a newer copy of this file, or with the OpenTimestamps client (ots upgrade)."
        )
        return _undecided("pending", "ots-not-anchored", message, notes)
    return _invalid("ots-nothing-checkable", "The proof holds no Bitcoin attestation and no pending one.", notes)


def _contradiction(height: int, root: bytes, roots: Mapping[int, bytes], trust: BitcoinTrust) -> str | None:
    if roots.get(height, root) != root:
        return f"The proof claims Bitcoin block {height} with two different contents."
    header = trust.headers.get(height)
    if header is None:
        return None
    if problem := work_problem(height, header, trust.network):
        return f"The supplied header cannot be trusted: {problem}."
    if merkle_root(header) != root:
        return f"The proof claims Bitcoin block {height}, whose header says otherwise."
    return None


def _valid(height: int, header: bytes, notes: tuple[Finding, ...]) -> ProofResult:
    time = block_time(header)
    message = (
        f"The bytes existed not later than Bitcoin block {height}, whose miner dated it {time:%Y-%m-%d %H:%M} UTC "
        "(block times can be off by about two hours)."
    )
    findings = (_info("ots-anchored", message), *notes)
    return ProofResult(ok=True, status="valid", height=height, time=time, findings=findings)


def _undecided(
    status: Status, code: str, message: str, notes: tuple[Finding, ...], height: int | None = None
) -> ProofResult:
    warning = Finding(code=code, severity=Severity.WARNING, message=message)
    return ProofResult(ok=False, status=status, height=height, findings=(warning, *notes))


def _invalid(code: str, message: str, notes: tuple[Finding, ...] = ()) -> ProofResult:
    error = Finding(code=code, severity=Severity.ERROR, message=message)
    return ProofResult(ok=False, status="invalid", findings=(error, *notes))


def _info(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.INFO, message=message)


def _promised(leaves: list[Attestation]) -> Finding:
    """Which calendars promised more; no more than a few are named, and none by an address that is not plain."""
    addresses = sorted({address for leaf in leaves if (address := calendar_address(leaf)) is not None})
    named = f": {', '.join(addresses[:_KINDS_NAMED])}" if addresses else ""
    more = f" and {len(addresses) - _KINDS_NAMED} more" if len(addresses) > _KINDS_NAMED else ""
    return _info(
        "ots-pending", f"{len(leaves)} calendar(s) promised an anchor that this proof does not hold yet{named}{more}."
    )


def _skipped(counts: Counter[bytes]) -> tuple[Finding, ...]:
    """One note a kind, and no more than a few: a hostile proof may have thousands."""
    shown = counts.most_common(_KINDS_NAMED)
    notes = [
        _info(
            "ots-attestation-skipped",
            f"{count} attestation(s) of {_FOREIGN_TAGS.get(tag, f'the unknown kind {tag.hex()}')} were skipped: this "
            "verifier checks Bitcoin only.",
        )
        for tag, count in shown
    ]
    if left := len(counts) - len(shown):
        notes.append(_info("ots-attestation-skipped", f"Attestations of {left} more unknown kinds were skipped."))
    return tuple(notes)
