"""What docs/guides/graphql.md says of limits is what the code has."""

import re
from pathlib import Path

from graphql import parse, validate

from gateway.graphql import limits, operations, view
from gateway.graphql.limits import Document, check_limits, read_document
from gateway.graphql.schema import make_schema
from gateway.rest.models import MAX_PAGE

GUIDE = (Path(__file__).parents[3] / "docs/guides/graphql.md").read_text(encoding="utf-8")
SCHEMA = make_schema()


def test_the_guide_states_the_limits_of_the_code() -> None:
    rows = dict(re.findall(r"^\| ([a-z ]+) \| ([\d,]+) \|$", GUIDE, re.MULTILINE))
    assert {name: int(number.replace(",", "")) for name, number in rows.items()} == {
        "depth of fields": limits.MAX_DEPTH,
        "aliases": limits.MAX_ALIASES,
        "the same field in one place": limits.MAX_REPEATED,
        "tokens of a query": limits.MAX_TOKENS,
        "cost": limits.MAX_COST,
    }
    assert f"`first` is {operations.DEFAULT_FIRST} unless you say ({MAX_PAGE:,} at most)" in GUIDE
    body = f"A body may have {view.MAX_BODY_BYTES // 1024 // 1024} MiB, the query in it {limits.MAX_QUERY_CHARACTERS:,}"
    assert body in GUIDE
    assert f"something of the services {limits.CALL_COST} more" in GUIDE
    assert f"(`checkSession`, `verifyClip`, `verifyRecording`) {limits.SLOW_COST:,} more" in GUIDE
    slow = {name for name, one in SCHEMA.operations.items() if one.route.slow}
    assert slow == {"checkSession", "verifyClip", "verifyRecording"}


def cost(query: str) -> int:
    document: Document = read_document(query, None)
    assert validate(SCHEMA.graphql, parse(query)) == []
    return check_limits(SCHEMA.graphql, document, {}, SCHEMA.calls)


def test_the_example_costs_what_the_guide_says() -> None:
    ten = "clipId source camera incident state eventAt askedFrom askedTo requestedBy requestedAt"
    query = f"{{ clips(first: 50) {{ edges {{ node {{ {ten} session {{ state }} }} }} }} }}"
    assert "costs about 1,200" in GUIDE
    assert 1_150 <= cost(query) <= 1_250


def test_a_list_in_a_list_costs_the_product_of_both() -> None:
    calls = limits.CALL_COST
    inner = "anchors(first: 7) { edges { cursor } }"
    # The outer list, its edges, each node, and behind each another list with its edges and cursors.
    expected = (1 + calls) + 5 * (1 + 1) + 5 * ((1 + calls) + 7 * (1 + 1))
    assert cost(f"{{ sessions(first: 5) {{ edges {{ node {{ {inner} }} }} }} }}") == expected
    fragment = f"{{ sessions(first: 5) {{ edges {{ node {{ ...A }} }} }} }} fragment A on Session {{ {inner} }}"
    assert cost(fragment) == expected
