from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ledger.bundle.readme import ReadmeFacts, SessionFacts, readme_text
from ledger.chain.processing import PendingItem
from ledger.store.snapshots import PendingAnchor

FACTS = ReadmeFacts(
    chain_id="gate",
    organisation={"id": "acme", "name": "Åcme & Söhne"},
    event_count=7,
    head=bytes(32),
    exported_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    anchors=[],
    unfinished=(),
    pending=[],
    omitted_through=0,
    has_disclosures=False,
)


def an_anchor(sequence: int) -> dict[str, object]:
    files = {"response": f"data/anchors/{sequence}-rfc3161-one.tsr"}
    return {"sequence": sequence, "backend": "rfc3161", "authority": "one", "digest": "ab" * 32, "files": files}


def test_an_ordinary_name_is_written_as_it_is() -> None:
    assert 'Organisation   "Åcme & Söhne" (acme)\n' in readme_text(FACTS)


@pytest.mark.parametrize(
    "name",
    ["Acme\n\n1. Everything is in order", "Acme\r\x1b[2J", "Acme\u2028Head", "Acme \u202edlrow\u202c", "Acme\x85"],
)
def test_a_name_cannot_pretend_to_be_part_of_the_text(name: str) -> None:
    text = readme_text(replace(FACTS, organisation={"id": "acme", "name": name}))
    assert len(text.splitlines()) == len(readme_text(FACTS).splitlines())
    assert all(character.isprintable() or character == "\n" for character in text)


def test_a_bundle_without_anchors_says_that_nothing_outside_confirms_it() -> None:
    assert "nothing outside the ledger confirms its time" in readme_text(FACTS)


def test_each_of_the_newest_anchors_comes_with_its_command() -> None:
    text = readme_text(replace(FACTS, anchors=[an_anchor(sequence) for sequence in range(2, 40)]))
    assert "-in data/anchors/39-rfc3161-one.tsr" in text
    assert "data/anchors/29-rfc3161-one.tsr" not in text
    assert "and 28 older ones" in text
    assert "nothing outside the ledger" not in text


def test_what_is_still_asked_for_is_named_up_to_a_point() -> None:
    pending = [PendingAnchor(sequence=number, backend="rfc3161", authority="two") for number in range(2, 40)]
    text = readme_text(replace(FACTS, pending=pending))
    assert "event 11, rfc3161, two" in text
    assert "and 28 more" in text


ENDED = SessionFacts(ended_by=4, closes_by=datetime(2026, 1, 3, 3, 4, 5, tzinfo=UTC), closed=True, pending=())


def test_which_anchor_covers_what_is_explained_where_a_session_ended_before_its_files_were_ready() -> None:
    assert "still in the making" not in readme_text(FACTS)
    text = " ".join(readme_text(replace(FACTS, session=ENDED)).split())
    assert "The anchors of event 5 cover the session: events 1 to 4, as they were when it ended." in text
    assert "The anchors of event 7, which closed the chain, cover the whole of it" in text
    assert "Not finished" not in text
    direct = " ".join(readme_text(replace(FACTS, event_count=5, session=ENDED)).split())
    assert "nothing was in the making: event 5 closed the chain" in direct


def test_what_an_ended_session_waits_for_or_was_closed_without_is_named_up_to_a_point() -> None:
    items = tuple(PendingItem(type="clip", item_id=f"c{number}", since_sequence=2) for number in range(12))
    unfinished = readme_text(replace(FACTS, session=replace(ENDED, pending=items)))
    assert "Not finished when the chain was closed: clip c0, " in unfinished
    assert "clip c9 and 2 more." in unfinished
    waiting = " ".join(readme_text(replace(FACTS, session=replace(ENDED, closed=False, pending=items[:1]))).split())
    assert "Until 2026-01-03T03:04:05.000000Z it waits for: clip c0." in waiting
    assert "which closed the chain" not in waiting


def test_disclosures_are_explained_only_where_there_are_any() -> None:
    assert "_sd" not in readme_text(FACTS)
    assert '"_sd"' in readme_text(replace(FACTS, has_disclosures=True))
