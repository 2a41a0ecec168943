"""The OpenTimestamps backend: a head goes to several calendars at once, and is followed into Bitcoin blocks.

`anchor` is one round; what it leaves behind is the job's state, so any worker may take the next round, and one that
dies costs a round and nothing else. In a round, for each calendar:

1. every promise it made is asked for: is there a path to a Bitcoin block by now?
2. a path counts when it ends in the Merkle root of a header that the operator trusts. One that contradicts such a
   header is thrown away with the whole answer; one to a block that nothing trusted shows yet is kept beside the proof;
3. a calendar that has not promised yet, or did not keep its promise for days, is given the head (again).

So calendars fail one by one and never together; what one has promised is kept until another has delivered. The head is
anchored when enough paths are there and the verifier's own code says that the proof holds.
"""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog

from ledger.anchoring.opentimestamps.blocks import TrustedBlocks
from ledger.anchoring.opentimestamps.calendar import Calendar, CalendarError
from ledger.anchoring.opentimestamps.configuration import OpenTimestampsConfiguration
from ledger.anchoring.opentimestamps.news import MAX_LEAF_BYTES, News, judge
from ledger.anchoring.opentimestamps.state import MAX_PROMISES, MAX_PROOF_BYTES, CalendarNotes, Promise, Submission
from ledger.anchoring.opentimestamps.timestamp import nonce_steps, read_proof
from ledger.anchoring.port import InProgress, Obtained, UnavailableError
from ledger.anchoring.rfc3161.transport import open_evidence_client
from ledger.store.values import AnchorTarget, Evidence
from ledger.timestamps import utc_now
from verifier.opentimestamps import check_proof
from verifier.opentimestamps.proof import UnusableProofError

CONCURRENCY = 8  # heads at once; each is a request or two to each calendar
FIRST_SHORT_PAUSE_SECONDS = 30.0  # while too few calendars have promised; doubles up to the usual pause
JITTER = 0.1  # of the pause: heads that were handed in together need not come back together
TROUBLES_TOLD = 3

_log = structlog.get_logger()


@contextlib.asynccontextmanager
async def open_opentimestamps(
    configuration: OpenTimestampsConfiguration, tls: ssl.SSLContext, *, clock: Callable[[], datetime] = utc_now
) -> AsyncIterator["OpenTimestampsBackend"]:
    """The backend with its HTTP client, until the context ends."""
    async with open_evidence_client(configuration.timeout_seconds, tls) as client:
        yield OpenTimestampsBackend(configuration, client, clock=clock)


class OpenTimestampsBackend:
    """One OpenTimestamps authority; see the module's text and `ledger.anchoring.port.AnchorBackend`."""

    def __init__(
        self,
        configuration: OpenTimestampsConfiguration,
        client: httpx.AsyncClient,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._configuration = configuration
        self._clock = clock
        self._blocks = TrustedBlocks(configuration, client)
        self._calendars = [Calendar(client, url, configuration.timeout_seconds) for url in configuration.calendars]

    @property
    def target(self) -> AnchorTarget:
        """Kind and configured name."""
        return self._configuration.target

    @property
    def concurrency(self) -> int:
        """Heads at once."""
        return CONCURRENCY

    @property
    def min_interval_seconds(self) -> float:
        """No pause between heads."""
        return 0.0

    @property
    def attempt_seconds(self) -> float:
        """Two requests to a calendar, the headers for what it answers to each, and those of the whole proof."""
        return 2 * self._configuration.timeout_seconds + 3 * self._blocks.attempt_seconds + 10.0

    async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained | InProgress:
        """One round for the head. Raises UnavailableError as long as no calendar has promised anything."""
        head = _read(digest, state)
        heard = await asyncio.gather(*(self._attend(calendar, head) for calendar in self._calendars))
        for calendar, news in zip(self._calendars, heard, strict=True):
            head = self._merge(head, calendar.url, news)
        if head.kept >= self._configuration.attestations:
            return await self._complete(head)
        if not head.leaves:
            raise UnavailableError(f"no calendar took it; {'; '.join(self._troubles(head))}")
        return self._in_progress(head)

    async def _attend(self, calendar: Calendar, head: Submission) -> News:
        """Ask one calendar for what it promised, and give it the head where that is due."""
        notes = head.notes(calendar.url)
        news = News(notes=replace(notes, trouble=""))
        if notes.kept:
            return news
        promised = [promise.message for promise in notes.promises]
        for heard in await asyncio.gather(*(self._look(calendar, head, message) for message in promised)):
            if not news.notes.kept:  # one path is enough
                news = news.joined(heard)
        if not news.notes.kept and self._is_due(notes):
            news = news.joined(await self._submit(calendar, head))
        return news

    def _is_due(self, notes: CalendarNotes) -> bool:
        patience = timedelta(seconds=self._configuration.resubmit_after_seconds)
        return all(self._clock() - promise.at >= patience for promise in notes.promises)

    async def _look(self, calendar: Calendar, head: Submission, message: bytes) -> News:
        """What became of one promise. What it led to earlier is looked at again when the calendar says nothing."""
        trouble = ""
        try:
            answer = await calendar.look(message)
        except CalendarError as error:
            answer, trouble = None, str(error)
        promise = head.promised(calendar.url, message)
        answer = answer if answer is not None else head.notes(calendar.url).unchecked.get(message)
        if answer is None or promise is None:
            return News(notes=CalendarNotes(trouble=trouble))
        news = await judge(answer, promise.steps, self._blocks)
        if news.notes.kept:
            return replace(news, dropped=(promise,))
        if not news.notes.trouble and any(leaf.is_bitcoin for leaf in answer):
            return News(notes=CalendarNotes(trouble=trouble, unchecked={message: answer}))
        return News(notes=replace(news.notes, trouble=news.notes.trouble or trouble))

    async def _submit(self, calendar: Calendar, head: Submission) -> News:
        """Give the head to a calendar. Only promises count that it makes in its own name."""
        try:
            answer = await calendar.submit(head.commitment)
        except CalendarError as error:
            return News(notes=CalendarNotes(trouble=str(error)))
        steps = nonce_steps(head.nonce)
        for leaf in answer:
            if leaf.calendar == calendar.url and leaf.message is not None and leaf.size <= MAX_LEAF_BYTES:
                promise = Promise(message=leaf.message, at=self._clock())
                return News(notes=CalendarNotes(promises=(promise,)), added=(leaf.under(steps),))
        news = await judge(answer, steps, self._blocks)
        if not news.notes.kept and not news.notes.trouble:
            others = {leaf.calendar for leaf in answer if leaf.calendar is not None}
            trouble = "it promises nothing" if not others else f"it promises under another address, {min(others)}"
            return News(notes=CalendarNotes(trouble=trouble))
        return news

    def _merge(self, head: Submission, url: str, news: News) -> Submission:
        """The head with what one calendar had to say, unless the proof would be more than a verifier reads."""
        notes, leaves = news.notes, head.leaves
        if notes.kept:
            notes = replace(notes, unchecked={})
        promises = notes.promises[-MAX_PROMISES:]
        forgotten = {promise.message for promise in notes.promises} - {promise.message for promise in promises}
        dropped = {leaf for leaf in leaves if leaf.calendar == url and leaf.message in forgotten}
        changed = (leaves - set(news.dropped) - dropped) | set(news.added)
        if changed == leaves:
            return head.noting(url, notes)
        candidate = replace(head, leaves=changed, proof_at=self._clock())
        if problem := _proof_problem(candidate):
            return head.noting(url, replace(head.notes(url), trouble=f"its answer is of no use: {problem}"))
        return candidate.noting(url, replace(notes, promises=promises))

    async def _complete(self, head: Submission) -> Obtained | InProgress:
        """The anchor; the head as it is when the blocks' headers cannot be had now."""
        complete = replace(head, leaves=frozenset(leaf for leaf in head.leaves if not leaf.is_pending))
        headers: dict[int, bytes] = {}
        for height in sorted({leaf.height for leaf in complete.bitcoin if leaf.height is not None}):
            header = await self._blocks.header(height)
            if header is None:
                return self._in_progress(head)
            headers[height] = header
        proof = complete.proof
        result = check_proof(proof, digest=head.digest, headers=headers, network=self._configuration.network)
        if result.ok and result.time is not None:
            _log.info("opentimestamps_proof_complete", height=result.height, paths=len(complete.bitcoin))
            lines = (f"{height} {header.hex()}\n".encode() for height, header in headers.items())
            evidence = tuple(Evidence(kind="header", der=line) for line in lines)
            return Obtained(request=head.commitment, response=proof, anchored_at=result.time, evidence=evidence)
        # A block was replaced although it was so deep, or the operator's file was corrected: nothing here is of use.
        _log.warning("opentimestamps_proof_contradicted", findings=[finding.code for finding in result.findings])
        return await self.anchor(head.digest, None)

    def _in_progress(self, head: Submission) -> InProgress:
        configuration = self._configuration
        notes_now = [head.notes(url) for url in configuration.calendars]
        promised = sum(bool(notes.promises) or notes.kept for notes in notes_now)
        missing = promised < configuration.minimum_calendars
        head = replace(head, short_rounds=head.short_rounds + 1 if missing else 0)
        now = self._clock()
        newest = max((promise.at for notes in head.calendars.values() for promise in notes.promises), default=now)
        first = timedelta(seconds=configuration.first_look_seconds)
        if missing:
            doublings = min(head.short_rounds - 1, 32)
            pause = min(FIRST_SHORT_PAUSE_SECONDS * 2.0**doublings, configuration.look_seconds)
        else:
            pause = configuration.first_look_seconds if now - newest < first else configuration.look_seconds
        pause *= 1 + random.uniform(0, JITTER)  # noqa: S311  # spreads load, guards nothing
        return InProgress(state=head.write(self._progress(head, promised)), again_at=now + timedelta(seconds=pause))

    def _progress(self, head: Submission, promised: int) -> str:
        configuration = self._configuration
        reached = head.kept
        texts = [
            f"{promised} of {len(configuration.calendars)} calendars promised a path to a Bitcoin block in some hours"
        ]
        if promised < configuration.minimum_calendars:
            texts.append(f"at least {configuration.minimum_calendars} calendars are wanted")
        if reached or configuration.attestations > 1:
            texts.append(f"{reached} of {configuration.attestations} paths are there")
        if any(notes.unchecked and not notes.kept for notes in head.calendars.values()):
            texts.append("a path leads to a block that nothing you trust shows yet")
        return "; ".join([*texts, *self._troubles(head)])

    def _troubles(self, head: Submission) -> list[str]:
        """What went wrong with single calendars, named by host."""
        told = [(urlsplit(url).netloc, head.notes(url).trouble) for url in self._configuration.calendars]
        return [f"{host}: {trouble}" for host, trouble in told if trouble][:TROUBLES_TOLD]


def _read(digest: bytes, state: Mapping[str, Any] | None) -> Submission:
    if state is None:
        return Submission.begin(digest)
    try:
        return Submission.read(digest, state)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # Only another version can have written it. Handing the head in anew costs calendars a hash.
        _log.warning("opentimestamps_state_unreadable", error=str(error))
        return Submission.begin(digest)


def _proof_problem(head: Submission) -> str:
    """Why a verifier would not read the proof; "" when it would."""
    proof = head.proof
    if len(proof) > MAX_PROOF_BYTES:
        return f"the proof would be larger than {MAX_PROOF_BYTES} bytes"
    try:
        read_proof(proof, head.digest)
    except UnusableProofError as error:
        return str(error)
    return ""
