"""The page as a reader sees it, kept as a build artefact."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from tests.verifier.web.small_ledger import Chain
    from tests.verifier.web.world import World

ARTIFACTS = Path(__file__).parents[3] / "artifacts"


@pytest.fixture
def chromium() -> str:
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine (set CHROMIUM to its path, or install the package chromium)")
    return found


@pytest.fixture
def address(world: World, story: Chain) -> Iterator[str]:
    world.store(story)
    server = make_server("127.0.0.1", 0, world.app(), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v/{world.link(story)}"
    server.shutdown()
    thread.join()


def browse(chromium: str, profile: Path, *arguments: str) -> str:
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
    ]
    done = subprocess.run([chromium, *options, *arguments], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize(("width", "name"), [(1200, "verify-page.png"), (500, "verify-page-phone.png")])
def test_the_page_is_drawn_in_a_browser(chromium: str, address: str, tmp_path: Path, width: int, name: str) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    picture = ARTIFACTS / name
    picture.unlink(missing_ok=True)
    browse(chromium, tmp_path / "profile", f"--window-size={width},2600", f"--screenshot={picture}", address)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">I", content[16:20]) == (width,)
    # A blank page of this size packs to a few kilobytes.
    assert len(content) > 50_000


def test_the_browser_finds_nothing_that_its_security_policy_blocks(chromium: str, address: str, tmp_path: Path) -> None:
    log = browse(chromium, tmp_path / "profile", "--enable-logging=stderr", "--v=0", "--dump-dom", address)
    assert "<strong>Verified</strong>" in log
    assert "Refused to" not in log
    assert "Content Security Policy" not in log
