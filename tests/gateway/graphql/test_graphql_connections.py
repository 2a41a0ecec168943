"""Whoever goes through a list sees every item once, from wherever they begin."""

import base64
import json
import secrets
from typing import Any

import pytest

from tests.gateway.graphql.asking import Asker
from tests.gateway.rest.world import World

EVENTS = """query ($id: ID!, $first: Int!, $after: String) {
  events(sessionId: $id, first: $first, after: $after) {
    edges { cursor node { sequence } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}"""
HOLDS = """query ($first: Int!, $after: String) {
  holds(first: $first, after: $after) {
    edges { cursor node { holdId clipId } } pageInfo { hasNextPage endCursor }
  }
}"""
CLIPS = """query ($first: Int!, $after: String) {
  clips(eventFrom: "2025-06-06T00:00:00Z", eventTo: "2025-06-07T00:00:00Z", first: $first, after: $after) {
    edges { cursor node { clipId } } pageInfo { hasNextPage endCursor }
  }
}"""
LENGTH = 12


@pytest.fixture(scope="module")
def ann(world: World) -> Asker:
    return Asker.of(world.caller())


@pytest.fixture(scope="module")
def chain(world: World, ann: Asker) -> str:
    name = world.session()
    events = [{"kind": "a.b", "payload": {"number": number}} for number in range(LENGTH - 1)]
    append = "mutation ($id: ID!, $e: [EventInput!]!) { appendEvents(sessionId: $id, events: $e) { lastSequence } }"
    assert ann.data(append, id=name, e=events)["appendEvents"]["lastSequence"] == LENGTH
    return name


def clip_of(ann: Asker, event_at: str) -> str:
    ask = """mutation ($i: String!, $at: DateTime!) {
      requestClip(source: "gate-1", incident: $i, eventAt: $at) { clipId }
    }"""
    return str(ann.data(ask, i=f"c-{secrets.token_hex(4)}", at=event_at)["requestClip"]["clipId"])


def walk(ann: Asker, query: str, field: str, first: int, after: str | None = None, **variables: Any) -> list[Any]:
    """The edges from a cursor to the end."""
    edges: list[Any] = []
    for _ in range(200):
        page = ann.data(query, first=first, after=after, **variables)[field]
        assert len(page["edges"]) <= first
        edges += page["edges"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return edges
    raise AssertionError("it has no end")


@pytest.mark.parametrize("first", [1, 5, LENGTH, 100])
def test_a_list_is_gone_through_once_whatever_the_size_of_a_page(ann: Asker, chain: str, first: int) -> None:
    edges = walk(ann, EVENTS, "events", first, id=chain)
    assert [edge["node"]["sequence"] for edge in edges] == list(range(1, LENGTH + 1))
    assert len({edge["cursor"] for edge in edges}) == LENGTH


@pytest.mark.parametrize("size", [5, 100])
def test_the_cursor_of_any_item_leads_to_what_follows_it(ann: Asker, chain: str, size: int) -> None:
    for number, edge in enumerate(walk(ann, EVENTS, "events", size, id=chain), start=1):
        rest = walk(ann, EVENTS, "events", 4, edge["cursor"], id=chain)
        assert [one["node"]["sequence"] for one in rest] == list(range(number + 1, LENGTH + 1))


def test_a_page_says_where_it_is(ann: Asker, chain: str) -> None:
    page = ann.data(EVENTS, id=chain, first=5)["events"]
    info = page["pageInfo"]
    assert (info["hasNextPage"], info["hasPreviousPage"]) == (True, False)
    assert (info["startCursor"], info["endCursor"]) == (page["edges"][0]["cursor"], page["edges"][-1]["cursor"])
    last = ann.data(EVENTS, id=chain, first=100, after=info["endCursor"])["events"]["pageInfo"]
    assert (last["hasNextPage"], last["hasPreviousPage"]) == (False, True)


def test_events_that_are_appended_meanwhile_are_found_behind_the_end(ann: Asker, chain: str, world: World) -> None:
    name = world.session()
    end = ann.data(EVENTS, id=name, first=5)["events"]["pageInfo"]["endCursor"]
    assert ann.data(EVENTS, id=name, first=5, after=end)["events"]["edges"] == []
    append = (
        'mutation ($id: ID!) { appendEvents(sessionId: $id, events: [{kind: "a.b", payload: {}}]) { lastSequence } }'
    )
    ann.data(append, id=name)
    (edge,) = ann.data(EVENTS, id=name, first=5, after=end)["events"]["edges"]
    assert edge["node"]["sequence"] == 2


def test_newer_items_before_the_cursor_move_nothing(ann: Asker) -> None:
    old = [clip_of(ann, f"2025-06-06T12:00:{10 + number}Z") for number in range(6)]
    page = ann.data(CLIPS, first=4)["clips"]
    place = next(edge for edge in page["edges"] if edge["node"]["clipId"] == old[-2])
    for number in range(7):
        clip_of(ann, f"2025-06-06T13:00:{10 + number}Z")
    rest = [edge["node"]["clipId"] for edge in walk(ann, CLIPS, "clips", 3, place["cursor"])]
    assert rest[:4] == list(reversed(old[:4]))
    assert len(set(rest)) == len(rest)


def test_several_holds_of_one_clip_are_pages_of_their_own(ann: Asker) -> None:
    place = "mutation ($id: ID!, $r: String!) { placeHold(clipId: $id, reason: $r) { hold { holdId } } }"
    clip = clip_of(ann, "2026-03-05T12:00:10Z")
    placed = {ann.data(place, id=clip, r=f"case {number}")["placeHold"]["hold"]["holdId"] for number in range(3)}
    edges = walk(ann, HOLDS, "holds", 2)
    found = [edge["node"]["holdId"] for edge in edges]
    assert len(found) == len(set(found))
    assert placed <= set(found)
    gone = next(edge for edge in edges if edge["node"]["holdId"] in placed)
    lift = 'mutation ($id: ID!, $h: ID!) { liftHold(clipId: $id, holdId: $h, reason: "over") { holdId } }'
    ann.data(lift, id=clip, h=gone["node"]["holdId"])
    # Whoever stood there learns it, or stands at the end of a page, which stays where it is.
    answer = ann.send(HOLDS, {"first": 2, "after": gone["cursor"]})
    assert {error["extensions"]["code"] for error in answer.json.get("errors", [])} <= {"INVALID_REQUEST"}


def test_a_list_without_pages_of_its_own_is_walked_like_any_other(ann: Asker) -> None:
    clip = clip_of(ann, "2026-03-05T12:00:10Z")
    place = "mutation ($id: ID!, $r: String!) { placeHold(clipId: $id, reason: $r) { hold { holdId } } }"
    placed = [ann.data(place, id=clip, r=f"case {number}")["placeHold"]["hold"]["holdId"] for number in range(3)]
    query = """query ($id: ID!, $first: Int!, $after: String) {
      clipHolds(clipId: $id, first: $first, after: $after) {
        edges { cursor node { holdId } } pageInfo { hasNextPage endCursor }
      }
    }"""
    edges = walk(ann, query, "clipHolds", 2, id=clip)
    assert sorted(edge["node"]["holdId"] for edge in edges) == sorted(placed)


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "after",
    [
        "",
        "x",
        "é",
        "AAAA",
        "=" * 8,
        cursor(),
        cursor(None, 5),
        cursor(None, "5", None),
        cursor(None, True, None),
        cursor(None, 0, "x"),
        cursor(None, 10**9, "x"),
        cursor(None, -1, "x"),
        cursor(None, 2**70, "x"),
        cursor(None, 5, "nothing of this list"),
        cursor("!", 5, None),
        cursor("AAAA", 5, None),
        cursor("a" * 1_100, 5, None),
        cursor("A" * 5_000, 5, None),
        cursor(None, 5, [1]),
    ],
)
def test_a_cursor_that_is_none_is_refused(ann: Asker, chain: str, after: str) -> None:
    error = ann.error(EVENTS, id=chain, first=5, after=after)
    assert (error["extensions"]["code"], error["path"]) == ("INVALID_REQUEST", ["events"])


@pytest.mark.parametrize("first", [0, -1, 1_001])
def test_a_page_has_a_size(ann: Asker, chain: str, first: int) -> None:
    error = ann.error(
        "query ($id: ID!, $first: Int!) { events(sessionId: $id, first: $first) { edges { cursor } } }",
        id=chain,
        first=first,
    )
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("INVALID_REQUEST", "first")
