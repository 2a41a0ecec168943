"""docs/guides/api.md says what the code does."""

import re
from pathlib import Path

import pytest

from ledger.chain import processing
from ledger.errors import Reason
from ledger.identity import tokens
from ledger.service import appends, bundles, chains, permissions
from ledger.service.errors import CODES
from ledger.serving import calls, paging, server
from ledger.store import erasures, intake

GUIDE = (Path(__file__).parents[2] / "docs/guides/api.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    section = GUIDE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_the_guide_lists_every_method_with_its_scope() -> None:
    stated = {row[0].strip("`"): row[1].strip("`") for row in rows("Who may call")}
    public = {name: scope for name, scope in stated.items() if scope.startswith("none")}
    assert public.keys() == set(permissions.PUBLIC_METHODS)
    assert {name: stated[name] for name in stated.keys() - public.keys()} == dict(permissions.METHOD_SCOPES)


def test_the_guide_lists_every_reason_with_its_status() -> None:
    stated = {row[0].strip("`"): row[1].strip("`") for row in rows("Errors")}
    assert stated == {reason.value: CODES[reason].name for reason in Reason}


@pytest.mark.parametrize(
    ("label", "numbers"),
    [
        ("one message in either direction", [server.MAX_MESSAGE_BYTES]),
        ("appends under way on one stream", [appends.MAX_IN_FLIGHT, appends.MAX_IN_FLIGHT_BYTES]),
        ("page", [paging.DEFAULT_PAGE_SIZE, paging.MAX_PAGE_SIZE]),
        ("kinds to filter by", [chains.MAX_KINDS]),
        ("events in one append", [intake.MAX_EVENTS]),
        ("canonical payloads of one append, together with what is sealed", [intake.MAX_APPEND_BYTES]),
        ("sealed members of one event", [intake.MAX_SEALED_MEMBERS]),
        (
            "wait for what is pending after the end of a session",
            [
                processing.SHORTEST_WAIT_SECONDS,
                processing.LONGEST_WAIT_SECONDS,
                processing.DEFAULT_WAIT_SECONDS,
            ],
        ),
        ("recordings and clips pending when a session is ended", [processing.MAX_PENDING]),
        ("reason of an erasure", [erasures.MAX_REASON_CHARACTERS]),
        (
            "bundles being exported at once",
            [bundles.MAX_EXPORTS_PER_ORGANISATION, bundles.MAX_EXPORTS, int(bundles.MAX_EXPORT_SECONDS)],
        ),
        ("validity of a verify link", [bundles.DEFAULT_LINK_DAYS, bundles.MAX_LINK_DAYS]),
        ("a unary call without a deadline of its own", [int(calls.MAX_UNARY_SECONDS), int(chains.MAX_CHECK_SECONDS)]),
    ],
)
def test_the_guide_states_the_limits_of_the_code(label: str, numbers: list[int]) -> None:
    stated = dict(rows("Limits"))
    assert [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\d|\d", stated[label])] == numbers


def test_the_guide_names_the_signatures_that_are_accepted() -> None:
    for algorithm in tokens.ALGORITHMS:
        assert algorithm in GUIDE or algorithm == "Ed25519"  # the newer name of EdDSA with that curve
