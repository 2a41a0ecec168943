"""The pages say what the verifier found, to people and to programs."""

from __future__ import annotations

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
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.verifier.web.small_ledger import Chain
    from tests.verifier.web.world import World
from tests.verifier.web.asking import AS_JSON, send


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


def test_a_damaged_bundle_still_shows_what_can_be_read_of_it(world: World, story: Chain) -> None:
    story.lines[4] = b'{"hash":broken'
    answer = send(world.client(), story.bundle(*world.authorities))
    assert answer.status_code == 200
    assert "<strong>Failed</strong>" in answer.text
    assert "session.joined" in answer.text


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
