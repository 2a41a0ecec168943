"""The list of events, the page of one event, and what is sealed in it."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.verifier.web.small_ledger import Chain
    from tests.verifier.web.world import World
from tests.verifier.web.asking import send


def test_events_are_listed_by_pages_and_kinds(world: World, make_chain: Callable[..., Chain]) -> None:
    chain = make_chain()
    for number in range(120):
        chain.append("door.opened" if number % 3 else "door.closed", {"number": number})
    chain.close()
    world.store(chain)
    client = world.client()
    address = f"/v/{world.link(chain)}"

    def sequences(query: str) -> list[int]:
        text = client.get(f"{address}?{query}").text
        return [int(number) for number in re.findall(r'/events/(\d+)">\1</a></th>', text)]

    assert sequences("") == sequences("page=1") == list(range(1, 51))
    assert sequences("page=3") == list(range(101, 123))
    closed = [2 + number for number in range(120) if number % 3 == 0]
    assert sequences("kind=door.closed") == closed
    opened = [2 + number for number in range(120) if number % 3]
    assert sequences("kind=door.opened&page=2") == opened[50:]
    for query, status in (
        ("page=4", 404),
        ("page=0", 404),
        ("page=-1", 400),
        ("page=x", 400),
        ("page=" + "9" * 40, 400),
    ):
        assert client.get(f"{address}?{query}").status_code == status, query
    assert client.get(f"{address}?kind=door.broken").status_code == 404


def test_an_event_has_a_page_with_its_whole_payload(world: World, make_chain: Callable[..., Chain]) -> None:
    chain = make_chain()
    chain.append("note.added", {"text": "long " * 5_000 + "END"})
    chain.close()
    world.store(chain)
    client = world.client()
    address = f"/v/{world.link(chain)}"
    assert "END" not in client.get(address).text
    assert "END" in client.get(f"{address}/events/2").text
    for sequence in ("0", "4", "99999999999999999999", "x", "-1", "1.0"):
        assert client.get(f"{address}/events/{sequence}").status_code == 404


def test_sealed_members_are_counted_not_guessed(world: World, make_chain: Callable[..., Chain]) -> None:
    chain = make_chain()
    chain.append("note.added", {"_sd": ["lKuoMjLq-JY2CyZpTdqWsZsf1Vjk4XgeABecaGjqjjY"], "where": "gate"})
    chain.close()
    world.store(chain)
    client = world.client()
    assert "1 sealed" in client.get(f"/v/{world.link(chain)}").text
    assert "only their digests are in the chain" in client.get(f"/v/{world.link(chain)}/events/2").text


def test_a_disclosed_member_is_shown_with_its_event_and_only_there(
    world: World, make_chain: Callable[..., Chain]
) -> None:
    disclosure = base64.urlsafe_b64encode(b'["c2FsdHNhbHRzYWx0c2FsdA","name","Ann <b>"]').rstrip(b"=").decode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(disclosure.encode()).digest()).rstrip(b"=").decode()
    chain = make_chain()
    chain.append("note.added", {"_sd": [digest]})
    chain.append("note.added", {"text": "nothing sealed"})
    chain.close()
    world.store(chain, disclosures=[(2, disclosure)])
    client, address = world.client(), f"/v/{world.link(chain)}"
    assert world.report(address, client)["verdict"] == "VERIFIED"
    assert "Ann &lt;b&gt;" in client.get(f"{address}/events/2").text
    assert "Ann" not in client.get(f"{address}/events/3").text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data/bundle.json", b'{"exported_at":"\\ud800","format":"\\ud800","organisation":{"name":"\\ud800"}}'),
        ("data/bundle.json", b'{"a":' + b"[" * 990 + b"]" * 990 + b"}"),
        ("data/events.jsonl", b'{"kind":"\\ud800","payload":{"\\udfff":"\\ud800"}}\n{"kind":"a.b"}\n'),
    ],
)
def test_what_cannot_be_written_in_utf8_or_nests_deeply_breaks_no_page(
    name: str, content: bytes, world: World, story: Chain
) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(story.bundle())) as source, zipfile.ZipFile(target, "w") as forged:
        for entry in source.infolist():
            forged.writestr(entry, content if entry.filename.endswith(name) else source.read(entry))
    (world.folder / f"{story.chain_id}.zip").write_bytes(target.getvalue())
    client, address = world.client(), f"/v/{world.link(story)}"
    assert send(client, target.getvalue()).status_code == 200
    assert world.report(address, client)["verdict"] == "FAILED"
    assert client.get(address).status_code == 200
    assert client.get(f"{address}/events/1").status_code == 200
