"""Nothing that a record holds or an address says moves a page, and every page keeps its manners."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

    from tests.verifier.web.small_ledger import Chain
    from tests.verifier.web.world import World
from tests.verifier.web.asking import AS_JSON, POLICY, Page, send


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
