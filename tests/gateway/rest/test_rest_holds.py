"""Every hold that stands is on one list, whatever it is on."""

import secrets
from typing import Any

import pytest

from tests.gateway.rest.world import Caller, World


@pytest.fixture(scope="module")
def placed(world: World) -> dict[str, str]:
    """Holds of this module, with what they are on: two on one clip, one on each of two recordings."""
    ann = world.caller()
    asked = {"source": "gate-1", "incident": f"h-{secrets.token_hex(4)}", "event_at": "2026-03-01T12:00:10Z"}
    clip = ann.post("/clips", asked).json["clip_id"]
    where = [f"/clips/{clip}", f"/clips/{clip}", *(f"/recordings/{world.recording()}" for _ in range(2))]
    return {ann.post(f"{one}/holds", {"reason": "case 7"}).json["hold"]["hold_id"]: one for one in where}


def walk(caller: Caller, query: str) -> list[dict[str, Any]]:
    """Everything on the list."""
    found: list[dict[str, Any]] = []
    path: str | None = f"/holds?{query}"
    while path is not None:
        page = caller.get(path)
        assert page.status_code == 200, page.text
        found += page.json["items"]
        cursor = page.json["next_cursor"]
        path = None if cursor is None else f"/holds?{query}&cursor={cursor}"
    return found


@pytest.mark.parametrize("limit", [1, 2, 1_000])
def test_holds_on_recordings_come_behind_those_on_clips_and_each_comes_once(
    world: World, placed: dict[str, str], limit: int
) -> None:
    found = walk(world.caller(roles=["observer"]), f"limit={limit}")
    names = [hold["hold_id"] for hold in found]
    assert len(names) == len(set(names))
    assert set(placed) <= set(names)
    on_recordings = [hold["recording_id"] is not None for hold in found]
    assert on_recordings == sorted(on_recordings)
    for hold in found:
        if hold["hold_id"] in placed:
            assert placed[hold["hold_id"]].endswith(hold["recording_id"] or hold["clip_id"])


def test_the_holds_of_a_camera_are_those_on_its_clips(world: World, placed: dict[str, str]) -> None:
    ann = world.caller()
    clip = next(where for where in placed.values() if where.startswith("/clips/"))
    camera = ann.get(clip).json["camera"]
    found = walk(ann, f"camera={camera}&limit=1000")
    assert {hold["recording_id"] for hold in found} == {None}
    assert len(set(placed) & {hold["hold_id"] for hold in found}) == 2
    refused = ann.get(f"/holds?camera={camera}&cursor=recordings-")
    assert (refused.status_code, refused.json["field"]) == (400, "cursor")


@pytest.mark.parametrize("cursor", ["recordings-AAAA", "recordings-recordings-", "recordings", "Recordings-"])
def test_a_cursor_that_was_made_up_is_refused(world: World, cursor: str) -> None:
    answer = world.caller().get(f"/holds?cursor={cursor}")
    assert (answer.status_code, answer.json["code"]) == (400, "INVALID_REQUEST"), answer.text


def test_nobody_learns_of_holds_on_recordings_by_a_right_to_clips(world: World, placed: dict[str, str]) -> None:
    role = f"clips-{secrets.token_hex(3)}"
    assert world.caller().ask("PUT", f"/access/roles/{role}", {"permissions": ["clip.list"]}).status_code == 200
    reviewer = world.caller(roles=[role], subject="reviewer")
    assert reviewer.get("/holds").json["code"] == "FORBIDDEN"
    assert reviewer.get("/holds?camera=gate-1").status_code == 200
    assert not set(placed) & {hold["hold_id"] for hold in walk(world.foreigner(), "limit=1000")}


def test_one_key_for_everything_of_a_case_holds_each_thing_of_it_once(world: World) -> None:
    ann, key = world.caller(), f"case-{secrets.token_hex(4)}"
    asked = {"source": "gate-1", "event_at": "2026-03-01T12:00:10Z"}
    clips = [ann.post("/clips", asked | {"incident": f"{key}-{number}"}).json["clip_id"] for number in range(2)]
    where = [*(f"/clips/{clip}/holds" for clip in clips), f"/recordings/{world.recording()}/holds"]
    for _ in range(2):
        for one in where:
            placed = ann.post(one, {"reason": "case 7"}, Idempotency_Key=key)
            assert placed.status_code == 201, placed.text
    for one in where:
        assert len(ann.get(one).json["items"]) == 1
    other = ann.post(where[0], {"reason": "case 8"}, Idempotency_Key=key)
    assert (other.status_code, other.json["code"]) == (422, "IDEMPOTENCY_CONFLICT")
