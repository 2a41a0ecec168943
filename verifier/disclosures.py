"""Checks data/disclosures.jsonl against the chain while the chain streams by (`docs/spec/bundle.md`, section 5)."""

from collections.abc import Iterator

from verifier.bundle import DISCLOSURES, Bundle, UnusableBundle
from verifier.findings import Finding, Severity
from verifier.sealed import MAX_DISCLOSURE_LINE_BYTES, Disclosure, DisclosureError, match_disclosures, read_disclosure

MAX_FINDINGS = 100
"""After so many a reader knows enough; memory stays bounded."""

MAX_DISCLOSURES_OF_AN_EVENT = 20_000
MAX_BYTES_OF_AN_EVENT = 16 * 1024 * 1024
"""The disclosures of one event are in memory together. A payload has room for some 6,000 digests."""


class DisclosureCheck:
    """Told of every event with sealed members in order, it pulls the disclosures of that event from the file."""

    def __init__(self, bundle: Bundle) -> None:
        self.sealed_left = 0
        """Sealed members that nothing in the bundle discloses."""
        self.findings: list[Finding] = []
        self._source = _disclosures(bundle)
        self._next: Disclosure | None = None
        self._advance()

    def take_event(self, sequence: int, digests: tuple[str, ...]) -> None:
        """Match the disclosures of the event `sequence`, which seals `digests`."""
        self._refuse_before(sequence)
        own: list[Disclosure] = []
        size = 0
        while self._next is not None and self._next.sequence == sequence:
            own.append(self._next)
            size += len(self._next.text)
            if len(own) > MAX_DISCLOSURES_OF_AN_EVENT or size > MAX_BYTES_OF_AN_EVENT:
                self._stop(f"Event {sequence} has more disclosures than this program reads.")
                break
            self._advance()
        left, problems = match_disclosures(digests, own)
        self.sealed_left += left
        for problem in problems:
            self._wrong(f"Event {sequence}: {problem}.")

    def finish(self) -> None:
        """Refuse the disclosures of events that seal nothing or do not exist."""
        self._refuse_before(None)

    def _refuse_before(self, sequence: int | None) -> None:
        while self._next is not None and (sequence is None or self._next.sequence < sequence):
            self._wrong(f"Event {self._next.sequence} has no sealed member that the disclosure for it could belong to.")
            self._advance()

    def _advance(self) -> None:
        previous = self._next
        try:
            self._next = next(self._source, None)
        except (DisclosureError, UnusableBundle) as error:
            self._wrong(f"The file {DISCLOSURES} is malformed: {error}.")
            self._next = None
            return
        if previous is None or self._next is None:
            return
        if (previous.sequence, previous.text) >= (self._next.sequence, self._next.text):
            self._stop(f"The file {DISCLOSURES} is not in order, or has a line twice.")

    def _stop(self, message: str) -> None:
        self._wrong(message)
        self._next = None
        self._source = iter(())

    def _wrong(self, message: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            finding = Finding(code="disclosure-unmatched", severity=Severity.ERROR, where=DISCLOSURES, message=message)
            self.findings.append(finding)


def _disclosures(bundle: Bundle) -> Iterator[Disclosure]:
    if DISCLOSURES not in bundle.sizes:
        return
    for line in bundle.iter_lines(DISCLOSURES, limit=MAX_DISCLOSURE_LINE_BYTES, all_ended=True):
        yield read_disclosure(line)
