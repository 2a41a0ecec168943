"""Verification of a bundle.

What must hold for VERIFIED, in the order in which it is checked:

1. The input is a BagIt bag within the limits (else `UnusableBundle`), and every file under data/ is listed once in
   the manifest and has the digest stated there; the tag files agree with it.
2. bundle.json is canonical, complete and of the known format.
3. The chain is intact from event 1 to the head and count that bundle.json states (the ten rules in `chain.py`), and
   reaches the head and count that the caller knows, if he does.
4. Every disclosure belongs to a sealed member of its event; every file of a clip is the one that the chain recorded.
5. For each anchor: the chain has an intact checkpoint at its sequence with the digest stated, the backend's rules hold
   for its files over that hash, and a root or a block the user trusts vouches for it.
6. As many independent tokens are good as the policy requires, of every backend it requires.

Something provably wrong in 1 to 4 gives FAILED. When 6 is not met: FAILED if a token is provably wrong, otherwise
INDETERMINATE. A token that fails beside enough good ones is reported loudly and changes no verdict.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from verifier.anchors import (
    ANCHORS,
    check_anchor_files,
    covered_events,
    judge_anchor,
    pending_report,
)
from verifier.artefacts import ARTEFACTS, check_artefacts
from verifier.bag import MAX_TEXT_BYTES, PAYLOAD
from verifier.bundle import BUNDLE_JSON, DISCLOSURES, EVENTS, Bundle, UnusableBundle, open_bundle, read_limited
from verifier.chain import ChainClaims, ChainResult, check_chain
from verifier.disclosures import DisclosureCheck
from verifier.evidence import EVIDENCE, read_evidence
from verifier.findings import Finding, Severity
from verifier.line_source import blocks_of_lines
from verifier.memory import keep_freed_memory
from verifier.policy import TrustPolicy
from verifier.quick_lines import QuickReader
from verifier.report import Report, TokenReport, Verdict
from verifier.session import Coverage, coverage
from verifier.slices import SliceResult, check_slice
from verifier.statement import BundleStatement, OtherFormatError, read_statement
from verifier.summary import chain_checks, general_findings
from verifier.tezos import Observer
from verifier.workers import BYTES_WORTH_A_WORKER, available_workers, check_ranges

_KNOWN_FILES = frozenset({BUNDLE_JSON, EVENTS, DISCLOSURES, "data/README.txt"})
_KNOWN_FOLDERS = (ANCHORS, EVIDENCE, ARTEFACTS)

Progress = Callable[[int, int], None]


def verify_bundle(  # noqa: PLR0913 - each is a separate piece of what the caller knows
    source: Path | BinaryIO,
    *,
    policy: TrustPolicy,
    expected_head: bytes | None = None,
    expected_count: int | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
    observer: Observer | None = None,
) -> Report:
    """Verify a bundle: a directory, a zip file, or an open seekable zip file. Writes nothing.

    `expected_head` (32 bytes) must be the hash of some event; `expected_count` the exact number of events. `progress`
    is told bytes done and bytes to do. `workers` bounds the processes used for long chains (default: one per core).
    `observer` may ask nodes about blocks of a public ledger; without one no network is needed or used.
    Raises `UnusableBundle` for what is not a bundle, `OSError` when the disk fails; all else is in the report.
    """
    pin = expected_head.hex() if expected_head is not None else None
    processes = workers if workers is not None else available_workers()
    keep_freed_memory()
    # The workers begin with the events while this process still hashes the files.
    with open_bundle(source) as bundle, _checked_slices(bundle, pin, processes) as slices:
        read = _ByteProgress(bundle, progress)
        bundle.bag.check(read.add)
        statement, findings = _read_statement(bundle)
        findings += [*bundle.bag.findings, *_misplaced_files(bundle)]
        disclosures = DisclosureCheck(bundle)
        claims = _claims(statement, pin, expected_count)
        chain = check_chain(
            _followed(slices, read, findings),
            claims=claims,
            wanted=frozenset(anchor.sequence for anchor in statement.anchors) if statement else frozenset(),
            sealed=disclosures.take_event,
        )
        if chain.complete:
            disclosures.finish()
        findings += disclosures.findings
        tokens: list[TokenReport] = []
        if statement is not None:
            findings += check_anchor_files(bundle, statement.anchors)
            tokens = _tokens(bundle, statement, chain, policy, findings, observer)
            tokens = [replace(token, covers=_coverage(token, chain)) for token in tokens]
            if chain.ok:
                findings += check_artefacts(
                    bundle,
                    chain_id=statement.chain_id,
                    organisation_id=statement.organisation_id,
                    covered_events=covered_events(tokens, policy),
                )
        findings += general_findings(
            bundle=bundle,
            statement=statement,
            chain=chain,
            tokens=tokens,
            policy=policy,
            sealed_left=disclosures.sealed_left,
        )
        event_count = chain.event_count if chain.complete else _count_lines(bundle)
        return _report(statement, chain, policy, claims, event_count, tokens, findings)


def _read_statement(bundle: Bundle) -> tuple[BundleStatement | None, list[Finding]]:
    raw = read_limited(bundle, BUNDLE_JSON, MAX_TEXT_BYTES)
    if raw is None:
        text = "The file data/bundle.json is missing, damaged or too large, so nothing says what this bundle is."
        return None, [Finding(code="bundle-json-missing", severity=Severity.ERROR, where=BUNDLE_JSON, message=text)]
    try:
        statement = read_statement(raw)
    except ValueError as error:
        intact = bundle.bag.digests.get(BUNDLE_JSON) == hashlib.sha256(raw).hexdigest()
        if isinstance(error, OtherFormatError) and intact:
            raise UnusableBundle(f"This program cannot read data/bundle.json: {error}.") from error
        text = f"The file data/bundle.json is wrong: {error}."
        return None, [Finding(code="bundle-json-malformed", severity=Severity.ERROR, where=BUNDLE_JSON, message=text)]
    bundle.bag.check_info(chain_id=statement.chain_id, date=statement.exported_date)
    return statement, []


def _misplaced_files(bundle: Bundle) -> list[Finding]:
    return [
        Finding(
            code="bundle-file-unknown",
            severity=Severity.ERROR,
            where=path,
            message=f"A bundle has no file {path}, so nothing says what it is.",
        )
        for path in sorted(bundle.sizes)
        if path.startswith(PAYLOAD) and path not in _KNOWN_FILES and not path.startswith(_KNOWN_FOLDERS)
    ]


def _claims(statement: BundleStatement | None, expected: str | None, expected_count: int | None) -> ChainClaims:
    if statement is None:
        return ChainClaims(expected_head=expected, expected_count=expected_count)
    return ChainClaims(
        chain_id=statement.chain_id,
        organisation_id=statement.organisation_id,
        organisation_name=statement.organisation_name,
        event_count=statement.event_count,
        head=statement.head,
        expected_head=expected,
        expected_count=expected_count,
    )


@contextmanager
def _checked_slices(bundle: Bundle, pin: str | None, workers: int) -> Iterator[Iterator[SliceResult]]:
    """Give the checked slices of events.jsonl, shared between processes where it is long and lies open on disk."""
    whole = bundle.file_range(EVENTS)
    if whole is not None and workers > 1 and whole.length >= BYTES_WORTH_A_WORKER:
        with check_ranges(whole, pin=pin, workers=workers) as results:
            yield results
    else:
        reader = QuickReader()
        blocks = blocks_of_lines(bundle.read_blocks(EVENTS))
        yield (check_slice(block, reader, pin, grow=False) for block in blocks)


def _followed(
    slices: Iterator[SliceResult], progress: "_ByteProgress", findings: list[Finding]
) -> Iterator[SliceResult]:
    """Pass slices on, noting the progress, and that the events ended early because they could not be read."""
    try:
        for result in slices:
            yield result
            progress.add(result.length)
    except UnusableBundle as error:
        text = f"The events cannot be read to their end: {error}"
        findings.append(Finding(code="events-unreadable", severity=Severity.ERROR, where=EVENTS, message=text))


def _count_lines(bundle: Bundle) -> int:
    """Count the lines of events.jsonl as far as they can be read."""
    count = 0
    with suppress(UnusableBundle):
        for block in bundle.read_blocks(EVENTS):
            count += block.count(b"\n")
    return count


def _tokens(  # noqa: PLR0913, PLR0917 - the results of the steps before
    bundle: Bundle,
    statement: BundleStatement,
    chain: ChainResult,
    policy: TrustPolicy,
    findings: list[Finding],
    observer: Observer | None,
) -> list[TokenReport]:
    evidence, unusable = read_evidence(bundle)
    findings += unusable
    tokens = [
        judge_anchor(
            anchor,
            bundle=bundle,
            checkpoint=chain.anchored.get(anchor.sequence),
            policy=policy,
            evidence=evidence,
            observer=observer,
        )
        # The newest first: they speak for the most events, and time to ask nodes is limited.
        for anchor in reversed(statement.anchors)
    ]
    return tokens[::-1] + [pending_report(pending) for pending in statement.pending]


def _coverage(token: TokenReport, chain: ChainResult) -> Coverage:
    return coverage(token.sequence, end=chain.end, closed_at=chain.event_count if chain.closed else None)


def _report(  # noqa: PLR0913, PLR0917 - the results of the steps, put together
    statement: BundleStatement | None,
    chain: ChainResult,
    policy: TrustPolicy,
    claims: ChainClaims,
    event_count: int,
    tokens: list[TokenReport],
    findings: list[Finding],
) -> Report:
    covered = covered_events(tokens, policy)
    ordered = sorted(findings, key=lambda finding: list(Severity).index(finding.severity))
    genesis = chain.genesis
    return Report(
        verdict=_verdict(chain, tokens, findings, covered),
        chain_ok=chain.ok,
        first_divergent_sequence=chain.first_divergent_sequence,
        checks=chain_checks(chain, claims, findings),
        tokens=tuple(tokens),
        event_count=event_count,
        intact_events=chain.event_count,
        expected_event_count=claims.expected_count,
        head=chain.head,
        organisation_id=statement.organisation_id if statement else genesis.organisation_id if genesis else "",
        organisation_name=statement.organisation_name if statement else genesis.organisation_name if genesis else "",
        chain_id=statement.chain_id if statement else genesis.chain_id if genesis else "",
        chain_type=genesis.chain_type if genesis else "",
        closed=chain.closed,
        session_end=chain.end,
        unfinished=chain.unfinished if chain.end is not None else (),
        covered_events=covered,
        findings=(*chain.findings, *ordered),
    )


def _verdict(chain: ChainResult, tokens: list[TokenReport], findings: list[Finding], covered: int) -> Verdict:
    if not chain.ok or any(finding.severity is Severity.ERROR for finding in findings):
        return "FAILED"
    if covered:
        return "VERIFIED"
    return "FAILED" if any(token.status == "invalid" for token in tokens) else "INDETERMINATE"


class _ByteProgress:
    """Adds up the bytes read: every file once for its digest, the events once more for the chain."""

    def __init__(self, bundle: Bundle, tell: Progress | None) -> None:
        sizes = bundle.sizes
        self._tell = tell
        self._done = 0
        self._all = sum(size for path, size in sizes.items() if path.startswith(PAYLOAD)) + sizes.get(EVENTS, 0)

    def add(self, count: int) -> None:
        """Note that `count` more bytes were read."""
        self._done = min(self._done + count, self._all)
        if self._tell is not None:
            self._tell(self._done, self._all)
