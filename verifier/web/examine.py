"""Verifies a bundle once, remembers the outcome, and never more than a few at a time."""

import json
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from verifier.bag import MAX_TEXT_BYTES
from verifier.bundle import BUNDLE_JSON, Bundle, UnusableBundle, open_bundle, read_limited
from verifier.event import format_time
from verifier.policy import TrustPolicy
from verifier.statement import read_statement
from verifier.verify import verify_bundle
from verifier.web.links import VerifyLink
from verifier.web.listing import kind_of
from verifier.web.sources import BundleFile

# Each holds a core for the length of a chain; more at once would only make every reader wait longer.
MAX_VERIFICATIONS_AT_ONCE = 2
# So that uploads can never take all turns, and links are always served.
MAX_UPLOADS_AT_ONCE = 1
# How long a request waits for its turn before it is told to come back.
SECONDS_TO_WAIT_FOR_A_TURN = 3.0
# What does not fit is verified again. A report is a few kilobytes; one of 10,000 anchors is several megabytes.
MAX_REMEMBERED = 128
MAX_REMEMBERED_BYTES = 64 * 1024 * 1024
# A bundle may hold a different kind in every event; a filter of more entries is of no use to anybody.
MAX_KINDS_COUNTED = 200


class BusyError(Exception):
    """All turns are taken: come back in `retry_seconds`."""

    retry_seconds = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """A bundle's verification: `report` is the report's JSON, the rest is what a page shows around it.

    `kinds` counts events by kind (at most `MAX_KINDS_COUNTED` kinds), `listed_events` those that can be shown;
    `list_ends_early` says that the rest is damaged beyond reading.
    `pinned_sequence` is the event that has the link's head as its hash, None when there is none or no link. `weight` is
    about the memory that all this takes, in bytes.
    """

    report: dict[str, Any]
    manifest: dict[str, Any]
    kinds: dict[str, int]
    listed_events: int
    list_ends_early: bool
    pinned_sequence: int | None
    checked_at: datetime
    sha256: str
    size: int
    weight: int


class Turns:
    """Lets `MAX_VERIFICATIONS_AT_ONCE` pieces of heavy work run at a time."""

    def __init__(self, *, count: int = MAX_VERIFICATIONS_AT_ONCE, patience: float = SECONDS_TO_WAIT_FOR_A_TURN) -> None:
        self._slots = threading.BoundedSemaphore(count)
        self._patience = patience

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a turn. Raises `BusyError` when none comes free soon."""
        if not self._slots.acquire(timeout=self._patience):
            raise BusyError
        try:
            yield
        finally:
            self._slots.release()


class Examiner:
    """Verifies bundles under one trust policy and remembers the outcomes by the bundle's SHA-256. Thread-safe."""

    def __init__(self, policy: TrustPolicy, turns: Turns) -> None:
        self._policy = policy
        self._turns = turns
        self._remembered: OrderedDict[tuple[str, bytes | None], Examination] = OrderedDict()
        self._remembered_bytes = 0
        self._lock = threading.Lock()

    def examine(self, bundle: BundleFile, link: VerifyLink | None = None) -> Examination:
        """Verify `bundle`, and for a link also that it is the chain the link was made for.

        Raises `UnusableBundle`, `BusyError`, `TooMuchWorkError` or `SourceUnavailableError`.
        """
        key = (bundle.sha256, link.head if link else None)
        examination = self._recall(key)
        if examination is None:
            with self._turns.take():
                # Whoever held the turn before may have verified this very bundle.
                examination = self._recall(key) or self._verify(bundle, link.head if link else None)
            bundle.require_unchanged()
            self._remember(key, examination)
        return _judged_by_link(examination, link) if link else examination

    def _verify(self, bundle: BundleFile, head: bytes | None) -> Examination:
        bundle.file.seek(0)
        with open_bundle(bundle.file) as opened:
            bundle.require_little_work(opened.sizes)
        bundle.file.seek(0)
        # One worker: a web server's thread should start no processes, and the turns already bound the cores.
        report = verify_bundle(bundle.file, policy=self._policy, workers=1).to_json()
        survey = _survey(bundle, head)
        return Examination(
            report=report,
            manifest=survey.manifest,
            kinds=dict(survey.kinds),
            listed_events=survey.events,
            list_ends_early=survey.ends_early,
            pinned_sequence=survey.pinned_sequence,
            checked_at=datetime.now(tz=UTC),
            sha256=bundle.sha256,
            size=bundle.size,
            weight=len(json.dumps([report, survey.manifest])) + sum(map(len, survey.kinds)),
        )

    def _recall(self, key: tuple[str, bytes | None]) -> Examination | None:
        with self._lock:
            examination = self._remembered.get(key)
            if examination is not None:
                self._remembered.move_to_end(key)
            return examination

    def _remember(self, key: tuple[str, bytes | None], examination: Examination) -> None:
        with self._lock:
            if key in self._remembered:
                return
            self._remembered[key] = examination
            self._remembered_bytes += examination.weight
            while len(self._remembered) > MAX_REMEMBERED or self._remembered_bytes > MAX_REMEMBERED_BYTES:
                _, forgotten = self._remembered.popitem(last=False)
                self._remembered_bytes -= forgotten.weight


@dataclass(kw_only=True, slots=True)
class _Survey:
    manifest: dict[str, Any] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    events: int = 0
    ends_early: bool = False
    pinned_sequence: int | None = None


def _survey(bundle: BundleFile, head: bytes | None) -> _Survey:
    """Walk the events once for the list's filter and for the pinned head. Hashes are as stated: see `_judged_by_link`.

    A damaged bundle is surveyed as far as it can be read; the report says what is wrong with the rest.
    """
    bundle.file.seek(0)
    pinned = head.hex() if head else None
    with open_bundle(bundle.file) as opened:
        survey = _Survey()
        try:
            survey.manifest = _manifest(opened)
            for event, _ in opened.iter_events():
                survey.events += 1
                kind = kind_of(event)
                if kind in survey.kinds or len(survey.kinds) < MAX_KINDS_COUNTED:
                    survey.kinds[kind] += 1
                if pinned is not None and event.get("hash") == pinned:
                    survey.pinned_sequence = survey.events
        except UnusableBundle:
            survey.ends_early = True
    return survey


def _manifest(bundle: Bundle) -> dict[str, Any]:
    """What a page shows of bundle.json; empty where the report calls it missing or malformed.

    No more than that is remembered: a forged bundle.json may be large, and hold what cannot be written to a page.
    """
    raw = read_limited(bundle, BUNDLE_JSON, MAX_TEXT_BYTES)
    try:
        statement = read_statement(raw) if raw is not None else None
    except ValueError:
        statement = None
    if statement is None:
        return {}
    return {
        "chain_id": statement.chain_id,
        "organisation": {"id": statement.organisation_id},
        "exported_at": format_time(statement.exported_at),
        "anchors": [
            {
                "sequence": anchor.sequence,
                "backend": anchor.backend,
                "authority": anchor.authority,
                "digest": anchor.digest,
                "files": {"response": anchor.files.get("response")},
            }
            for anchor in statement.anchors
        ],
    }


def _judged_by_link(examination: Examination, link: VerifyLink) -> Examination:
    """Fail a bundle that is not the chain its link was made for, however consistent it is in itself.

    1. Chain and organisation are those of the link.
    2. An event of the chain has the pinned head as its hash. Stated hashes count only in an intact chain, where the
       verifier has computed each of them; a broken chain has failed already.
    """
    report = examination.report
    organisation = examination.manifest.get("organisation")
    organisation_id = organisation.get("id") if isinstance(organisation, dict) else None
    if not examination.manifest and report["verdict"] == "FAILED":
        # Nothing says which chain it is; the report says why.
        return examination
    if examination.manifest.get("chain_id") != link.chain_id or organisation_id != link.organisation_id:
        report = _failed(
            report,
            "link-other-chain",
            "The record behind this link is not the one the link was made for: it is another chain, or another "
            "organisation's.",
        )
    elif examination.pinned_sequence is None:
        report = _failed(
            report,
            "link-head-missing",
            f"When this link was made, the newest event of this chain had the fingerprint {link.head.hex()}. The "
            "record shown now has no such event, so its history was replaced since.",
        )
    return replace(examination, report=report)


def _failed(report: dict[str, Any], code: str, message: str) -> dict[str, Any]:
    finding = {"code": code, "severity": "error", "where": "", "message": message}
    # A copy: the report itself is remembered for other links, and for readers without one.
    return {**report, "verdict": "FAILED", "findings": [finding, *report["findings"]]}
