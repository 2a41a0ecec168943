"""The page about a session that ended before its files were ready: which time stamp covers what."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.verifier.web.small_ledger import Chain
    from tests.verifier.web.world import World
from tests.verifier.bundle_forge import zipped
from tests.verifier.web.asking import send

BUNDLES = Path(__file__).parents[2] / "vectors" / "bundles"


def page(world: World, name: str) -> str:
    """The page about a stored vector, its text in one line."""
    folder = BUNDLES / name / "bundle"
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    client = world.client(bundles=None, link_keys=None, trust=BUNDLES / name / "trust.toml")
    text = re.sub(r"<[^>]+>", " ", send(client, zipped(files)).text)
    return " ".join(unescape(text).split())


@pytest.mark.parametrize(
    ("name", "sentences"),
    [
        (
            "VERIFIED-ended-session-closed-when-done",
            [
                "demo-1 (a session, sealed)",
                (
                    "1 to 5 The session, up to its end. Nothing could be added to it from then on but what is said "
                    "below. "
                    "4 valid time stamps"
                ),
                (
                    "6 to 8 What came of the recordings and clips that were still in the making when the session "
                    "ended. "
                    "2 valid time stamps"
                ),
                "1 to 9 The whole record, with its closing: nothing can follow it. 2 valid time stamps",
                "The whole session up to its end, as it was when it ended: events 1 to 6.",
                "The whole record with its closing: events 1 to 9.",
            ],
        ),
        (
            "VERIFIED-ended-session-still-processing",
            [
                "demo-1 (a session, ended)",
                (
                    "1 to 5 The session, up to its end. Nothing could be added to it from then on but what is said "
                    "below. "
                    "2 valid time stamps"
                ),
                "More may follow: the chain is not closed yet. no valid time stamp yet",
            ],
        ),
        (
            "VERIFIED-ended-session-closed-at-its-deadline",
            [
                "1 of them was not finished when the chain was closed. no valid time stamp yet",
                "When the chain was closed, this was not finished: recording r1.",
            ],
        ),
    ],
)
def test_the_page_says_which_time_stamps_cover_the_session_and_which_the_processing(
    world: World, name: str, sentences: list[str]
) -> None:
    text = page(world, name)
    for sentence in sentences:
        assert sentence in text


def test_the_page_vouches_for_nothing_behind_an_event_that_could_not_follow(world: World) -> None:
    text = page(world, "FAILED-ordinary-event-after-the-end-of-a-session")
    assert "The first event that is not as it was recorded is event 8." in text
    assert "Which time stamps cover what" not in text


def test_the_page_of_a_session_that_was_only_closed_has_no_such_table(world: World, story: Chain) -> None:
    world.store(story)
    assert "Which time stamps cover what" not in world.client().get(f"/v/{world.link(story)}").text
