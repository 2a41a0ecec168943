"""What one client may ask for is bounded in number, size, time and memory."""

from __future__ import annotations

import io
import threading
import zipfile
from typing import TYPE_CHECKING

import pytest

from verifier.web.examine import BusyError, Turns
from verifier.web.pages import EXTENSION
from verifier.web.ratelimit import RateLimiter

if TYPE_CHECKING:
    from tests.verifier.web.small_ledger import Chain
    from tests.verifier.web.world import World


def test_of_a_thousand_requests_at_once_only_the_burst_is_answered(world: World) -> None:
    # So few come back with time that the machine may take a quarter of an hour for all of them.
    client = world.client(burst=50, requests_per_minute=3)
    answers = [client.get("/") for _ in range(1000)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:50] == [200] * 50
    assert 900 <= statuses.count(429) <= 950
    assert set(statuses) == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["Retry-After"]) >= 1
    assert "Too many requests" in refused.text


def test_one_client_that_floods_does_not_shut_out_another(world: World) -> None:
    client = world.client(burst=2, requests_per_minute=1)
    for _ in range(5):
        client.get("/", environ_base={"REMOTE_ADDR": "192.0.2.1"})
    assert client.get("/", environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 429
    assert client.get("/", environ_base={"REMOTE_ADDR": "192.0.2.2"}).status_code == 200


def test_a_load_balancer_may_always_ask_after_health(world: World) -> None:
    client = world.client(burst=1, requests_per_minute=1)
    client.get("/")
    assert client.get("/").status_code == 429
    assert client.get("/healthz").status_code == 200


def test_a_forwarded_address_counts_only_when_a_proxy_is_trusted(world: World) -> None:
    for hops, expected in ((0, 429), (1, 200)):
        client = world.client(burst=1, requests_per_minute=1, proxy_hops=hops)
        client.get("/", headers={"X-Forwarded-For": "198.51.100.1"})
        assert client.get("/", headers={"X-Forwarded-For": "198.51.100.2"}).status_code == expected
    spoofing = world.client(burst=1, requests_per_minute=1, proxy_hops=1)
    spoofing.get("/", headers={"X-Forwarded-For": "203.0.113.1, 198.51.100.1"})
    assert spoofing.get("/", headers={"X-Forwarded-For": "203.0.113.2, 198.51.100.1"}).status_code == 429


def test_tokens_come_back_with_time() -> None:
    limiter = RateLimiter(per_minute=60, burst=2)
    assert [limiter.seconds_to_wait("192.0.2.1", cost=1, now=0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert limiter.seconds_to_wait("192.0.2.1", cost=1, now=0.5) == pytest.approx(0.5)
    assert limiter.seconds_to_wait("192.0.2.1", cost=1, now=1.0) == 0.0
    assert limiter.seconds_to_wait("192.0.2.1", cost=99, now=3.0) == 0.0


def test_a_whole_ipv6_network_of_one_subscriber_is_one_client() -> None:
    limiter = RateLimiter(per_minute=1, burst=1)
    assert limiter.seconds_to_wait("2001:db8:1:2::1", cost=1, now=0.0) == 0.0
    assert limiter.seconds_to_wait("2001:db8:1:2:ffff::9", cost=1, now=0.0) > 0
    assert limiter.seconds_to_wait("2001:db8:1:3::1", cost=1, now=0.0) == 0.0
    assert limiter.seconds_to_wait("192.0.2.7", cost=1, now=0.0) == 0.0
    assert limiter.seconds_to_wait("::ffff:192.0.2.7", cost=1, now=0.0) > 0


def test_a_flood_of_addresses_does_not_grow_the_memory() -> None:
    limiter = RateLimiter(per_minute=1, burst=1, max_addresses=100)
    for number in range(5_000):
        limiter.seconds_to_wait(f"10.0.{number // 250}.{number % 250}", cost=1, now=0.0)
    assert len(limiter._buckets) == 100
    assert limiter.seconds_to_wait("not an address", cost=1, now=0.0) == 0.0
    assert limiter.seconds_to_wait("nor this", cost=1, now=0.0) > 0


def test_a_giant_upload_is_refused(world: World) -> None:
    client = world.client(max_upload_bytes=100_000)
    answer = client.post("/", data={"bundle": (io.BytesIO(bytes(300_000)), "x.zip")})
    assert answer.status_code == 413
    assert "too large" in answer.text


def test_a_form_of_thousands_of_parts_is_refused(world: World) -> None:
    fields = {f"field{number}": "x" for number in range(2_000)}
    assert world.client().post("/", data=fields, content_type="multipart/form-data").status_code == 413


def test_a_zip_bomb_is_refused_without_being_unpacked(world: World) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("demo-1/bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
        for name in ("data/bundle.json", "data/events.jsonl", "manifest-sha256.txt", "tagmanifest-sha256.txt"):
            with archive.open(f"demo-1/{name}", "w") as entry:
                for _ in range(50):
                    entry.write(bytes(1024 * 1024))
    answer = world.client().post("/", data={"bundle": (io.BytesIO(bomb.getvalue()), "x.zip")})
    assert answer.status_code == 422


def test_an_upload_of_very_many_files_is_sent_to_the_command_line(world: World, story: Chain) -> None:
    packed = io.BytesIO(story.bundle(*world.authorities))
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_STORED) as archive:
        for number in range(1_000):
            archive.writestr(f"demo-1/data/artefacts/{number}", b"")
    answer = world.client().post("/", data={"bundle": (io.BytesIO(packed.getvalue()), "x.zip")})
    assert answer.status_code == 413
    assert "indelible-verify" in answer.text


def test_an_upload_that_unpacks_to_gigabytes_is_sent_to_the_command_line(
    world: World, story: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = story.bundle(*world.authorities)
    monkeypatch.setattr("verifier.web.sources.MAX_UPLOAD_UNPACKED_BYTES", len(content) // 2)
    assert world.client().post("/", data={"bundle": (io.BytesIO(content), "x.zip")}).status_code == 413
    world.store(story)
    assert world.client().get(f"/v/{world.link(story)}").status_code == 200, "the operator's own bundles may be large"


def test_uploads_cannot_take_the_turns_of_links(world: World, story: Chain) -> None:
    content = world.store(story)
    app = world.app()
    with app.extensions[EXTENSION].upload_turns.take():
        refused = app.test_client().post("/", data={"bundle": (io.BytesIO(content), "x.zip")})
        assert refused.status_code == 503
        assert app.test_client().get(f"/v/{world.link(story)}").status_code == 200


def test_when_all_turns_are_taken_a_reader_is_asked_to_come_back(world: World, story: Chain) -> None:
    world.store(story)
    app = world.app()
    turns: Turns = app.extensions[EXTENSION].turns
    with turns.take(), turns.take():
        answer = app.test_client().get(f"/v/{world.link(story)}")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert app.test_client().get("/healthz").status_code == 200
    assert app.test_client().get(f"/v/{world.link(story)}").status_code == 200


def test_a_turn_is_given_back_even_when_the_work_fails() -> None:
    turns = Turns(count=1, patience=0.01)
    with pytest.raises(ZeroDivisionError), turns.take():
        raise ZeroDivisionError
    with turns.take(), pytest.raises(BusyError), turns.take():
        pass


def test_many_readers_of_one_record_cause_one_verification(
    world: World, story: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store(story)
    app, link = world.app(), world.link(story)
    examiner = app.extensions[EXTENSION].trust.current().examiner
    # Nobody is sent away by a busy machine.
    monkeypatch.setattr(examiner._turns, "_patience", 120.0)
    checked: list[str] = []

    def read() -> None:
        text = app.test_client().get(f"/v/{link}").text
        checked.append(text.split("Checked by this page", 1)[1][:200])

    readers = [threading.Thread(target=read) for _ in range(6)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(checked) == 6
    assert len(examiner._remembered) == 1


def test_remembered_verdicts_are_bounded_in_number_and_size(
    world: World, story: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = world.app(link_keys=None)
    examiner = app.extensions[EXTENSION].trust.current().examiner
    for limit, value, kept in (("MAX_REMEMBERED", 3, 3), ("MAX_REMEMBERED_BYTES", 1, 0)):
        monkeypatch.setattr(f"verifier.web.examine.{limit}", value)
        for number in range(5):
            story.append("note.added", {"number": number})
            world.store(story)
            assert app.test_client().get("/bundles/demo-1").status_code == 200
        assert len(examiner._remembered) == kept
    assert examiner._remembered_bytes == 0
