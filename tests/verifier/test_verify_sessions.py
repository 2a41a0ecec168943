"""The end of a session: the stored vectors as this verifier reads them, whole and in slices, and what it says."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.verifier.bundle_forge import Authority, Chain, data_files, sealed
from tests.verifier.mutating import errors, verify
from verifier.chain import ChainClaims, ChainResult, check_chain
from verifier.policy import TrustPolicy
from verifier.quick_lines import QuickReader
from verifier.report_text import render
from verifier.rfc3161 import TimestampTrust
from verifier.session import MAX_PENDING, Session, Step
from verifier.slices import check_slice
from verifier.verify import verify_bundle

VECTORS = Path(__file__).parents[1] / "vectors"
CASES = json.loads((VECTORS / "sessions.json").read_text("utf-8"))["cases"]
ENDED_BUNDLE = VECTORS / "bundles" / "VERIFIED-ended-session-closed-when-done"


def check(lines: Sequence[str], cuts: Sequence[int] = ()) -> ChainResult:
    """Check the lines as one slice, or cut before these indexes."""
    bounds = [0, *cuts, len(lines)]
    pieces = ["".join(f"{line}\n" for line in lines[first:last]) for first, last in pairwise(bounds)]
    reader = QuickReader()
    return check_chain((check_slice(piece.encode(), reader) for piece in pieces), claims=ChainClaims())


def found(result: ChainResult) -> tuple[str | None, int | None]:
    return next((finding.code for finding in result.findings), None), result.first_divergent_sequence


def listed(result: ChainResult) -> list[dict[str, Any]]:
    return [
        {"item_id": item.item_id, "since_sequence": item.since_sequence, "type": item.type}
        for item in result.unfinished
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_chain_gets_the_finding_of_the_vector_however_it_is_cut_into_slices(case: dict[str, Any]) -> None:
    lines = case["lines"]
    every_line = range(1, len(lines))
    for cuts in ((), *((cut,) for cut in every_line), tuple(every_line)):
        result = check(lines, cuts)
        assert found(result) == (case["code"], case["first_divergent_sequence"]), cuts
        if case["code"] is None:
            assert listed(result) == case["unfinished"]
        else:
            assert result.event_count == case["first_divergent_sequence"] - 1
            assert result.head == json.loads(lines[result.event_count - 1])["hash"]


def test_quick_and_full_reading_agree_about_a_long_chain_that_goes_on_after_its_end() -> None:
    chain = Chain().open().add("recording.started", {"recording_id": "r1"})
    for number in range(700):
        chain.add("door.opened", {"n": number})
    pending = [{"item_id": "r1", "since_sequence": 2, "type": "recording"}]
    closes_by = "2026-01-02T04:04:05.000006Z"
    chain.add("session.ended", {"closes_by": closes_by, "format": "indelible-session-end/1", "pending": pending})
    for number in range(700):
        chain.add("recording.file_stored", {"n": number, "recording_id": "r1"})
    good = len(chain.lines)
    chain.add("door.opened", {"n": 0}).checkpoint()
    report = verify(sealed(data_files(chain)))
    assert (errors(report), report.first_divergent_sequence) == ({"session-after-end"}, good + 1)
    assert [one.name for one in report.checks if one.ok is False] == ["session-end"]


@pytest.fixture(scope="module")
def ended() -> Chain:
    """A session that ended with event 3; event 4 is its checkpoint, event 5 ends the clip, event 6 closes the chain."""
    chain = Chain().open().add("clip.requested", {"clip_id": "c1"})
    pending = [{"item_id": "c1", "since_sequence": 2, "type": "clip"}]
    payload = {"closes_by": "2026-01-02T04:04:05.000006Z", "format": "indelible-session-end/1", "pending": pending}
    chain.add("session.ended", payload).checkpoint().add("clip.preserved", {"clip_id": "c1"})
    return chain.close(unfinished=[])


def test_every_anchor_of_an_ended_session_says_what_it_covers(ended: Chain) -> None:
    alpha = Authority("alpha")
    policy = TrustPolicy(authorities={"alpha": TimestampTrust(roots=(alpha.root_der,))})
    report = verify(sealed(data_files(ended, [(alpha, 4), (alpha, 6)])), policy)
    assert report.verdict == "VERIFIED"
    assert [(token.sequence, token.covers) for token in report.tokens] == [(4, "session"), (6, "chain")]
    as_json = report.to_json()
    assert [token["covers"] for token in as_json["tokens"]] == ["session", "chain"]
    assert as_json["session_end"] == {"sequence": 3, "closes_by": "2026-01-02T04:04:05.000006Z", "unfinished": []}
    text = " ".join(render(report).split())
    assert "the whole session up to its end, as it was when it ended" in text
    assert "the whole chain, with its closing" in text


def test_an_anchor_of_the_processing_and_one_before_the_end_say_so() -> None:
    chain = Chain().open().checkpoint().add("clip.requested", {"clip_id": "c1"})
    pending = [{"item_id": "c1", "since_sequence": 3, "type": "clip"}]
    payload = {"closes_by": "2026-01-02T04:04:05.000006Z", "format": "indelible-session-end/1", "pending": pending}
    chain.add("session.ended", payload).checkpoint().add("clip.seen", {"clip_id": "c1"}).checkpoint()
    alpha = Authority("alpha")
    report = verify(sealed(data_files(chain, [(alpha, 2), (alpha, 7)])))
    assert [(token.sequence, token.covers) for token in report.tokens] == [(2, "part"), (7, "processing")]
    (warning,) = [finding for finding in report.findings if finding.code == "session-processing-pending"]
    assert "clip c1" in warning.message
    assert "NOT closed yet" in render(report)


def test_a_session_that_did_not_end_is_reported_as_before() -> None:
    report = verify(sealed(data_files(Chain().open().add("clip.preserved", {"clip_id": "c1"}).close())))
    assert report.to_json()["session_end"] is None
    assert "session-end" not in [one.name for one in report.checks]


def test_one_changed_byte_anywhere_in_the_events_of_an_ended_session_is_found() -> None:
    events = (ENDED_BUNDLE / "bundle/data/events.jsonl").read_bytes()
    lines = events.decode().splitlines()
    assert found(check(lines)) == (None, None)
    for index, line in enumerate(lines):
        middle = line.index('"payload":') + 12
        changed = line[:middle] + chr(ord(line[middle]) ^ 1) + line[middle + 1 :]
        result = check([*lines[:index], changed, *lines[index + 1 :]])
        assert result.first_divergent_sequence == index + 1


def test_the_vector_bundle_covers_the_session_and_the_chain() -> None:
    report = verify_bundle(ENDED_BUNDLE / "bundle", policy=TrustPolicy())
    assert [(token.sequence, token.covers) for token in report.tokens] == [
        (6, "session"),
        (6, "session"),
        (9, "chain"),
        (9, "chain"),
    ]


def test_a_chain_with_more_pending_than_fits_into_memory_is_refused_where_it_has_too_much() -> None:
    session = Session()
    steps = (
        Step(sequence=number, prev_hash="", occurred_at=0, kind="clip.requested", item_id=f"c{number}")
        for number in range(2, MAX_PENDING + 3)
    )
    problems = [(step.sequence, problem) for step in steps for problem in session.take(step, is_session=True)]
    assert [(sequence, code) for sequence, (code, _) in problems] == [(MAX_PENDING + 2, "session-items-too-many")]
