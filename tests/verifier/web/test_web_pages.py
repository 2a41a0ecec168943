"""The pages say what the verifier found, to people and to programs, and are not moved by what a record holds."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from tests.verifier.web.conftest import Chain, World

AS_JSON = {"Accept": "application/json"}
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


def send(client: FlaskClient, content: bytes, *, headers: dict[str, str] | None = None) -> TestResponse:
    return client.post("/", data={"bundle": (io.BytesIO(content), "upload.zip")}, headers=headers)


class Page(HTMLParser):
    """Collects the elements of a page and complains about what must not be in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_a_good_record_is_shown_as_verified_with_what_was_checked(world: World, story: Chain) -> None:
    world.store(story)
    text = world.client().get(f"/v/{world.link(story)}").text
    assert "<strong>Verified</strong>" in text
    assert "Acme Security" in text
    assert story.hashes[-1].hex() in text
    assert text.count("What it does not prove") == 2
    assert "openssl ts -verify" in text
    assert "sha256sum" in text
    assert "indelible-verify bundle demo-1.zip" in text
    assert "2 January 2026, 04:00:00 UTC" in text


def test_a_program_gets_the_report_itself(world: World, story: Chain) -> None:
    world.store(story)
    client = world.client()
    answer = client.get(f"/v/{world.link(story)}", headers=AS_JSON)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Vary"] == "Accept"
    report = json.loads(answer.text)
    assert report["verdict"] == "VERIFIED"
    assert report["chain_integrity"]["ok"] is True
    assert [token["ok"] for token in report["tokens"]] == [True, True]
    assert report["event_count"] == 7
    assert report["issuing_org_name"] == "Acme Security"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "text/html"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("application/json", "application/json"),
        ("application/json;q=0.5, text/html", "text/html"),
        ("image/png", "text/html"),
        ("", "text/html"),
        (";;;,,,=", "text/html"),
    ],
)
def test_the_reader_chooses_between_a_page_and_json(world: World, story: Chain, accept: str, media_type: str) -> None:
    world.store(story)
    client = world.client()
    for path in (f"/v/{world.link(story)}", "/v/unknown"):
        assert client.get(path, headers={"Accept": accept}).mimetype == media_type


def test_an_upload_is_judged_and_shown_like_a_stored_bundle(world: World, story: Chain) -> None:
    client = world.client(bundles=None, link_keys=None)
    content = story.bundle(*world.authorities)
    assert "<strong>Verified</strong>" in send(client, content).text
    assert json.loads(send(client, content, headers=AS_JSON).text)["verdict"] == "VERIFIED"


def test_an_upload_with_one_changed_byte_fails_and_names_the_event(world: World, story: Chain) -> None:
    story.lines[3] = story.lines[3].replace(b"field user", b"field usor")
    answer = send(world.client(), story.bundle(*world.authorities))
    assert answer.status_code == 200
    assert "<strong>Failed</strong>" in answer.text
    assert "event 4" in answer.text
    assert (
        json.loads(send(world.client(), story.bundle(*world.authorities), headers=AS_JSON).text)["verdict"] == "FAILED"
    )


def test_without_a_trust_policy_nothing_is_verified_and_the_page_says_why(world: World, story: Chain) -> None:
    client = world.client(trust=None)
    answer = send(client, story.bundle(*world.authorities))
    assert "<strong>Indeterminate</strong>" in answer.text
    assert "without a trust policy" in client.get("/").text


def test_a_record_without_time_stamps_is_indeterminate(world: World, story: Chain) -> None:
    answer = send(world.client(), story.bundle())
    assert "<strong>Indeterminate</strong>" in answer.text
    assert "holds no time stamps" in answer.text


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" + bytes(100), bytes(70_000)])
def test_an_upload_that_is_no_bundle_gets_a_clear_page(world: World, content: bytes) -> None:
    answer = send(world.client(), content)
    assert answer.status_code == 422
    assert "not a bundle" in answer.text


def test_a_form_without_a_file_or_of_another_type_is_refused(world: World) -> None:
    client = world.client()
    assert client.post("/").status_code == 400
    assert client.post("/", data={"bundle": "text, not a file"}).status_code == 400
    assert client.post("/", data={"other": (io.BytesIO(b"x"), "x.zip")}).status_code == 400
    assert client.post("/", data=b"PK", content_type="application/zip").status_code == 400
    assert client.post("/", data=b"--x\r\nbroken", content_type="multipart/form-data; boundary=x").status_code == 400
    assert client.post("/", data=b"x", content_type="multipart/form-data").status_code == 400


def test_what_a_record_holds_can_never_become_markup(world: World, make_chain: Callable[..., Chain]) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><style>*{}</style>{{7*7}}"
    chain = make_chain(organisation={"id": "acme", "name": attack})
    chain.append("door.opened", {attack: attack, "nested": [{"a": attack}]})
    chain.close()
    world.store(chain)
    client = world.client()
    token = world.link(chain)
    for path in (f"/v/{token}", f"/v/{token}/events/2", f"/v/{token}?kind=door.opened"):
        page = Page(client.get(path).text)
        assert page.all("script") == page.all("img") == page.all("style") == []
        for _, attributes in page.elements:
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert "&lt;script&gt;" in client.get(f"/v/{token}").text
    assert "{{7*7}}" in client.get(f"/v/{token}/events/2").text


def test_text_that_would_hide_or_reorder_is_shown_as_code_points(
    world: World, make_chain: Callable[..., Chain]
) -> None:
    chain = make_chain(organisation={"id": "acme", "name": "Acme\u202egnp.exe"})
    chain.append("note.added", {"text": "pay \u202e001\u202c euro\u200b\u0007"})
    chain.close()
    world.store(chain)
    client = world.client()
    token = world.link(chain)
    for path in (f"/v/{token}", f"/v/{token}/events/2"):
        text = client.get(path).text
        assert not re.search("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\u0007]", text)
        assert "⟨U+202E⟩" in text


def test_no_address_leads_to_a_redirect(world: World) -> None:
    client = world.client()
    for path in ("/x//evil.example", "/v//x", "/healthz/", "/static", "/static//style.css", "/bundles/"):
        answer = client.get(path, headers={"Host": "evil.example"})
        assert 400 <= answer.status_code < 500, path
        assert "Location" not in answer.headers


def test_a_filter_in_the_address_is_not_reflected_unescaped(world: World, story: Chain) -> None:
    world.store(story)
    client = world.client()
    answer = client.get(f"/v/{world.link(story)}", query_string={"kind": "<script>alert(1)</script>"})
    assert answer.status_code == 404
    assert "<script" not in answer.text
    assert "<script" not in client.get("/<script>alert(1)</script>").text


def test_commands_shown_to_be_copied_cannot_smuggle_in_another_command(
    world: World, make_chain: Callable[..., Chain]
) -> None:
    chain = make_chain(chain_id="x; rm -rf ~ #")
    chain.close()
    text = send(world.client(), chain.bundle(*world.authorities)).text
    commands = "\n".join(re.findall(r'<pre class="commands">(.*?)</pre>', text, re.DOTALL))
    assert "rm -rf" not in commands


@pytest.mark.skipif(not all(map(shutil.which, ("bash", "openssl", "sha256sum", "unzip"))), reason="needs these tools")
def test_the_commands_shown_work_as_they_stand(world: World, story: Chain, tmp_path: Path) -> None:
    world.store(story)
    client, token = world.client(), world.link(story)
    (tmp_path / "demo-1.zip").write_bytes(client.get(f"/v/{token}/bundle.zip").data)
    (tmp_path / "ROOT.pem").write_text("".join(authority.root_pem for authority in world.authorities))
    commands = re.findall(r'<pre class="commands">(.*?)</pre>', client.get(f"/v/{token}").text, re.DOTALL)
    script = html.unescape("\n".join(["set -e", *commands]))
    search = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": search},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Verification: OK") + done.stderr.count("Verification: OK") == 2
    assert "VERIFIED" in done.stdout
    assert hashlib.sha256((tmp_path / "demo-1.zip").read_bytes()).hexdigest() in done.stdout


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


def test_no_damaged_byte_breaks_a_page_or_passes(world: World, story: Chain) -> None:
    content = story.bundle(*world.authorities)
    client = world.client()
    for position in range(0, len(content), 41):
        damaged = content[:position] + bytes([content[position] ^ 0x21]) + content[position + 1 :]
        answer = send(client, damaged)
        assert answer.status_code in {200, 413, 422}, position
        if answer.status_code == 200 and "<strong>Verified</strong>" in answer.text:
            # Times and other fields of the container that no reader uses are the zip's own, not the record's.
            before, after = (zipfile.ZipFile(io.BytesIO(one)) for one in (content, damaged))
            assert {e.filename: before.read(e) for e in before.infolist()} == {
                e.filename: after.read(e) for e in after.infolist()
            }, position


def test_a_damaged_bundle_still_shows_what_can_be_read_of_it(world: World, story: Chain) -> None:
    story.lines[4] = b'{"hash":broken'
    answer = send(world.client(), story.bundle(*world.authorities))
    assert answer.status_code == 200
    assert "<strong>Failed</strong>" in answer.text
    assert "session.joined" in answer.text


def every_answer(world: World, story: Chain) -> dict[str, TestResponse]:
    content = world.store(story)
    client, token = world.client(), world.link(story)
    answers = {
        path: client.get(path)
        for path in (
            "/",
            "/healthz",
            "/nowhere",
            "/static/style.css",
            "/static/../app.py",
            "/static/missing.css",
            f"/v/{token}",
            f"/v/{token}/events/2",
            f"/v/{token}/bundle.zip",
            "/v/forged",
            f"/v/{world.link(story, exp=1)}",
        )
    }
    answers["json"] = client.get(f"/v/{token}", headers=AS_JSON)
    answers["upload"] = send(client, content)
    answers["no bundle"] = send(client, b"x")
    answers["method"] = client.delete("/")
    answers["options"] = client.options("/")
    answers["head"] = client.head(f"/v/{token}")
    answers["too large"] = send(world.client(max_upload_bytes=10), bytes(80_000))
    spent = world.client(burst=1, requests_per_minute=1)
    spent.get("/")
    answers["too many"] = spent.get("/")
    return answers


def test_every_answer_carries_the_security_headers(world: World, story: Chain) -> None:
    answers = every_answer(world, story)
    assert {answer.status_code for answer in answers.values()} >= {200, 400 + 4, 405, 410, 413, 422, 429}
    for name, answer in answers.items():
        assert answer.headers["Content-Security-Policy"] == POLICY, name
        assert answer.headers["X-Content-Type-Options"] == "nosniff", name
        assert answer.headers["Referrer-Policy"] == "no-referrer", name
        assert answer.headers["X-Frame-Options"] == "DENY", name
        assert answer.headers.getlist("Set-Cookie") == [], name
        if name != "/static/style.css":
            assert answer.headers["Cache-Control"] == "no-store", name


def test_every_page_is_accessible_in_its_bones(world: World, story: Chain) -> None:
    for name, answer in every_answer(world, story).items():
        if answer.mimetype != "text/html" or not answer.data:
            continue
        page = Page(answer.text)
        assert page.all("html")[0]["lang"] == "en", name
        assert len(page.all("title")) == len(page.all("main")) == len(page.all("h1")) == 1, name
        first_link = page.all("a")[0]
        assert first_link["href"] == "#content", name
        assert page.all("main")[0]["id"] == "content", name
        identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(identifiers) == len(set(identifiers)), name
        for _, attributes in page.elements:
            for reference in (attributes.get("aria-labelledby") or "").split():
                assert reference in identifiers, name
        labelled = {label["for"] for label in page.all("label")}
        for control in page.all("input") + page.all("select"):
            assert control["id"] in labelled, name
        assert len(page.all("table")) == len(page.all("caption")), name
        assert all("scope" in header for header in page.all("th")), name
        assert all(svg["aria-hidden"] == "true" for svg in page.all("svg")), name


def test_every_colour_of_text_has_enough_contrast(world: World) -> None:
    sheet = world.client().get("/static/style.css").text
    colours = dict(re.findall(r"--([a-z-]+): #([0-9a-f]{6});", sheet))

    def luminance(colour: str) -> float:
        channels = [int(colours[colour][at : at + 2], 16) / 255 for at in (0, 2, 4)]
        red, green, blue = (one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for text in ("ink", "muted", "link", "good", "bad", "open"):
        for ground in ("paper", "sheet", "good-tint", "bad-tint", "open-tint"):
            lighter, darker = sorted((luminance(text), luminance(ground)), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, f"{text} on {ground}"


def test_nothing_is_loaded_from_elsewhere(world: World, story: Chain) -> None:
    for name, answer in every_answer(world, story).items():
        if answer.mimetype == "text/html":
            for tag, attributes in Page(answer.text).elements:
                for attribute in ("src", "href", "action"):
                    target = attributes.get(attribute) or "/"
                    assert target.startswith(("/", "#")), f"{name}: {tag} {target}"
                    assert not target.startswith("//"), f"{name}: {tag} {target}"


def test_a_verdict_is_remembered_for_the_same_bytes_only(world: World, story: Chain) -> None:
    client = world.client(link_keys=None)
    world.store(story)
    assert world.report("/bundles/demo-1", client)["verdict"] == "VERIFIED"
    path = world.folder / "demo-1.zip"
    content = path.read_bytes()
    at = content.index(b"field user")
    path.write_bytes(content[:at] + b"F" + content[at + 1 :])
    assert world.report("/bundles/demo-1", client)["verdict"] == "FAILED"
    path.write_bytes(content)
    assert world.report("/bundles/demo-1", client)["verdict"] == "VERIFIED"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("chain_id", 5),
        ("organisation", "Acme"),
        ("organisation", None),
        ("anchors", {}),
        ("anchors", [5]),
        ("pending", {"a": 1}),
        ("exported_at", []),
        ("event_count", "7"),
        ("head", None),
    ],
)
def test_a_manifest_of_the_wrong_shape_never_breaks_a_page(
    world: World, story: Chain, member: str, value: object
) -> None:
    content = story.bundle(*world.authorities)
    altered = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(altered, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith("data/bundle.json"):
                data = json.dumps({**json.loads(data), member: value}, sort_keys=True, separators=(",", ":")).encode()
            target.writestr(entry, data)
    answer = send(world.client(), altered.getvalue())
    assert answer.status_code in {200, 422}
    assert "<strong>Verified</strong>" not in answer.text
