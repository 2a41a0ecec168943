"""The check of a whole chain (`docs/spec/chain.md`, section 7), in slices that several processes may share.

What must hold, and where it is checked:

1. every line is the canonical JSON of an event                                  `lines`, `quick_lines`
2. sequence runs from 1 without gaps                                             the same; across slices here
3. prev_hash is the hash of the event before, zeros for the first                the same; across slices here
4. hash is the SHA-256 of the event's preimage                                   the same
5. occurred_at never goes back                                                   the same; across slices here
6. event 1 is chain.opened and names the chain and organisation of the bundle    `slices`; the names here
7. each checkpoint's tree_size and merkle_root are those of the events before    `slices`; the root here
8. nothing follows chain.closed, and only a session chain has one                `slices`; across slices here
9. what follows session.ended is what may follow it                              `session`; the order here
10. the number of events and the last hash are those stated                      here
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from verifier.event import CLOSED, ZERO_HASH, Genesis
from verifier.findings import Finding, Severity
from verifier.lines import Problem
from verifier.merkle import MerkleRange
from verifier.session import Session, SessionEnd, Step, Unfinished
from verifier.slices import Checkpoint, SliceResult, after_close


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainClaims:
    """What a bundle or the caller says about the chain; None where nothing is said."""

    chain_id: str | None = None
    organisation_id: str | None = None
    organisation_name: str | None = None
    event_count: int | None = None
    head: str | None = None
    expected_head: str | None = None
    """Known to the caller from elsewhere: some event must have this hash."""
    expected_count: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainResult:
    """What was found. Nothing from `first_divergent_sequence` on is vouched for."""

    event_count: int
    """Events that are good, from the first on."""
    head: str
    """Hash of the last good event; zeros when there is none."""
    first_divergent_sequence: int | None
    findings: tuple[Finding, ...]
    genesis: Genesis | None
    last_time: int
    closed: bool
    last_checkpoint: int | None
    end: SessionEnd | None
    """Where the session ended, if the chain says so."""
    unfinished: tuple[Unfinished, ...]
    """Recordings and clips that were begun and not ended by the last good event."""
    anchored: dict[int, tuple[str, int]]
    """Hash and time of the checkpoint events among the sequences asked for."""
    pinned_at: int | None
    complete: bool
    """Whether no event diverged, so that every rule was applied to every event there is."""

    @property
    def ok(self) -> bool:
        """Whether every rule holds."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)


@dataclass(slots=True)
class _Progress:
    """The state after the good events so far."""

    count: int = 0
    last_hash: str = ZERO_HASH
    last_time: int | None = None
    genesis: Genesis | None = None
    closed: bool = False
    last_checkpoint: int | None = None
    merkle: MerkleRange = field(default_factory=MerkleRange)
    anchored: dict[int, tuple[str, int]] = field(default_factory=dict)
    pinned_at: int | None = None
    session: Session = field(default_factory=Session)


def check_chain(
    slices: Iterable[SliceResult],
    *,
    claims: ChainClaims,
    wanted: frozenset[int] = frozenset(),
    sealed: Callable[[int, tuple[str, ...]], None] | None = None,
) -> ChainResult:
    """Put the results of consecutive slices together, in order, and stop at the first divergent event.

    `wanted` are the sequences whose checkpoint hashes the caller needs; `sealed` is told each good event's sealed
    digests, in order.
    """
    state = _Progress()
    problems: list[Problem] = []
    for result in slices:
        problems = _continue(state, result, claims, wanted)
        if sealed is not None:
            for sequence, digests in result.sealed:
                if sequence <= state.count:
                    sealed(sequence, digests)
        if problems:
            break
    complete = not problems
    divergent = state.count + 1 if problems else None
    findings = [_divergence(state.count + 1, problem) for problem in problems]
    if complete:
        findings, divergent = _ending(state, claims)
    return ChainResult(
        event_count=state.count,
        head=state.last_hash,
        first_divergent_sequence=divergent,
        findings=tuple(findings),
        genesis=state.genesis,
        last_time=state.last_time or 0,
        closed=state.closed,
        last_checkpoint=state.last_checkpoint,
        end=state.session.end,
        unfinished=state.session.unfinished,
        anchored=state.anchored,
        pinned_at=state.pinned_at,
        complete=complete,
    )


def _continue(state: _Progress, result: SliceResult, claims: ChainClaims, wanted: frozenset[int]) -> list[Problem]:
    """Take the good events of `result` into `state`; return what is wrong with the event after them, if anything."""
    problems = _seam(state, result)
    if problems:
        return problems
    if result.genesis is not None:
        problems = _identity(result.genesis, claims)
        if problems:
            return problems
        state.genesis = result.genesis
    # In the order of the chain; a closing is first a checkpoint, then a step.
    marks: list[Checkpoint | Step] = sorted((*result.checkpoints, *result.steps), key=lambda mark: mark.sequence)
    for mark in marks:
        problems = _checkpoint(state, mark) if isinstance(mark, Checkpoint) else _session_step(state, mark)
        if problems:
            state.count, state.last_hash = mark.sequence - 1, mark.prev_hash
            return problems
        if isinstance(mark, Checkpoint):
            state.last_checkpoint = mark.sequence
            if mark.sequence in wanted:
                state.anchored[mark.sequence] = mark.hash, mark.occurred_at
    if result.count:
        state.merkle.join(result.merkle)
        state.count += result.count
        state.last_hash, state.last_time, state.closed = result.last_hash, result.last_time, result.closed
    if result.pinned_at is not None:
        state.pinned_at = result.pinned_at
    return list(result.problems)


def _seam(state: _Progress, result: SliceResult) -> list[Problem]:
    """Rules 2, 3, 5 and 8 between the events so far and the first event of a slice."""
    if state.closed:
        return [after_close()]
    if not result.start:
        return []  # The first line could not be read: the slice's own problem.
    found: list[Problem] = []
    if result.start != state.count + 1:
        found.append(("event-sequence", f"its sequence is {result.start}, but {state.count + 1} was due"))
    if result.first_prev_hash != state.last_hash:
        before = "the hash of the event before it" if state.count else "64 zeros, as it must be in the first event"
        found.append(("event-prev-hash", f"its prev_hash is {result.first_prev_hash}, which is not {before}"))
    if state.last_time is not None and result.first_time < state.last_time:
        found.append(("event-time-order", "its time is before that of the event before it"))
    if found and not result.count:
        found.extend(problem for problem in result.problems if problem not in found)
    return found


def _identity(genesis: Genesis, claims: ChainClaims) -> list[Problem]:
    stated = (claims.chain_id, claims.organisation_id, claims.organisation_name)
    if claims.chain_id is None or (genesis.chain_id, genesis.organisation_id, genesis.organisation_name) == stated:
        return []
    text = (
        f"it opens chain {genesis.chain_id!r} of {genesis.organisation_name!r} ({genesis.organisation_id}), "
        f"but the bundle says {claims.chain_id!r} of {claims.organisation_name!r} ({claims.organisation_id})"
    )
    return [("chain-identity", text)]


def _checkpoint(state: _Progress, checkpoint: Checkpoint) -> list[Problem]:
    if checkpoint.kind == CLOSED and state.genesis is not None and state.genesis.chain_type != "session":
        return [("chain-reserved-kind", "it closes an operations chain, which is never closed")]
    state.merkle.grow()
    tree = state.merkle.copy()
    tree.join(checkpoint.before)
    computed = tree.root().hex()
    if computed == checkpoint.merkle_root:
        return []
    text = f"its merkle_root is {checkpoint.merkle_root}, but the events before it give {computed}"
    return [("checkpoint-merkle-root", text)]


def _session_step(state: _Progress, step: Step) -> list[Problem]:
    return state.session.take(step, is_session=state.genesis is not None and state.genesis.chain_type == "session")


def _divergence(sequence: int, problem: Problem) -> Finding:
    code, text = problem
    return Finding(
        code=code, severity=Severity.ERROR, where=f"event {sequence}", message=f"Event {sequence} is wrong: {text}."
    )


def _ending(state: _Progress, claims: ChainClaims) -> tuple[list[Finding], int | None]:
    """The last rule: what is stated about the whole chain. A missing or surplus event diverges at its place."""
    findings: list[Finding] = []
    divergent: int | None = None
    if not state.count:
        findings.append(_error("chain-empty", "The chain holds no event."))
        divergent = 1
    if claims.event_count is not None and state.count != claims.event_count:
        text = f"The bundle states {claims.event_count} events, but the chain has {state.count}."
        findings.append(_error("chain-event-count", text))
        divergent = min(state.count, claims.event_count) + 1
    elif claims.head is not None and state.last_hash != claims.head:
        text = f"The bundle states the head {claims.head}, but the last event's hash is {state.last_hash}."
        findings.append(_error("chain-head", text))
        divergent = state.count
    if claims.expected_count is not None and state.count != claims.expected_count:
        text = f"You expect {claims.expected_count} events, but the chain has {state.count}."
        findings.append(_error("chain-expected-count", text))
        divergent = divergent or min(state.count, claims.expected_count) + 1
    if claims.expected_head is not None and state.pinned_at is None:
        text = f"You expect an event with the hash {claims.expected_head}, but the chain has none."
        findings.append(_error("chain-expected-head", text))
    return findings, divergent


def _error(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, message=message)
