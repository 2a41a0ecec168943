"""The page that LiveKit films, in a real browser, with a double of LiveKit's client library."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from flask import Flask, request
from werkzeug.serving import make_server

from media.commands.recording_layout import recording_layout
from media.recordings.layout_page import LayoutSettings, layout_app
from media.recordings.tiles import MOST_TILES, tile_layout
from media.video.placing import Rect

DOUBLE = Path(__file__).with_name("livekit_client_double.js")
EVERYBODY = [f"person-{tile}" for tile in range(MOST_TILES)]


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def chromium() -> str:
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine (set CHROMIUM to its path, or install the package chromium)")
    return found


def browse(chromium: str, profile: Path, address: str) -> str:
    """What the page holds in the end, and what it logged."""
    command = [
        *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio"),
        *("--autoplay-policy=no-user-gesture-required", "--window-size=1280,720", "--enable-logging=stderr", "--v=0"),
        *(f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--dump-dom", address),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    return done.stdout + done.stderr


class Hosts:
    """The page at one address; LiveKit and the place where its library is hosted at another."""

    def __init__(self) -> None:
        self.measured: queue.Queue[dict[str, Any]] = queue.Queue()
        self.elsewhere = Flask("elsewhere")
        self.elsewhere.add_url_rule("/livekit-client.umd.js", view_func=self._library)
        self.elsewhere.add_url_rule("/measured", view_func=self._measured, methods=["POST"])

    def _library(self) -> Any:
        return DOUBLE.read_bytes(), 200, {"Content-Type": "text/javascript"}

    def _measured(self) -> str:
        self.measured.put(json.loads(request.get_data()))
        return ""


@pytest.fixture(scope="module")
def filmed(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything that the double measured in one visit."""
    return visit(chromium, tmp_path_factory.mktemp("chromium"), "")


def visit(chromium: str, profile: Path, layout: str) -> dict[str, Any]:
    hosts = Hosts()
    with serving(hosts.elsewhere) as livekit:
        settings = LayoutSettings(client=f"{livekit}/livekit-client.umd.js", servers=(livekit,))
        with serving(layout_app(settings)) as page:
            log = browse(chromium, profile, f"{page}/?layout={layout}&url={livekit}&token=secret-1")
    measured = hosts.measured.get(timeout=60)
    assert "error" not in measured, measured
    return measured | {"log": log}


def rects(step: dict[str, Any]) -> dict[int, Rect]:
    return {
        int(tile): Rect(x=found["rect"][0], y=found["rect"][1], width=found["rect"][2], height=found["rect"][3])
        for tile, found in step["tiles"].items()
    }


def shows(step: dict[str, Any]) -> dict[int, list[str]]:
    return {int(tile): found["shows"] for tile, found in step["tiles"].items()}


def cameras(*but: int) -> dict[int, list[str]]:
    return {tile: [] if tile in but else [f"person-{tile}/camera"] for tile in range(MOST_TILES)}


def microphones(*but: int) -> set[str]:
    return {f"person-{tile}/microphone" for tile in range(MOST_TILES) if tile not in but}


def test_the_page_connects_as_it_was_told_and_asks_for_nothing_by_itself(filmed: dict[str, Any]) -> None:
    asked = filmed["steps"]["asked"]
    assert asked["token"] == "secret-1"
    assert asked["autoSubscribe"] is False


def test_who_did_not_consent_is_not_shown_not_heard_and_not_subscribed_to(filmed: dict[str, Any]) -> None:
    step = filmed["steps"]["nobody consented"]
    assert step["tiles"] == {}
    assert step["media"] == 0
    assert step["subscribed"] == []


def test_recording_starts_when_the_page_is_connected_and_ends_with_the_room(filmed: dict[str, Any]) -> None:
    assert filmed["steps"]["nobody consented"]["logged"] == ["START_RECORDING"]
    assert filmed["steps"]["the room is closed"]["logged"] == ["START_RECORDING", "END_RECORDING"]
    assert "START_RECORDING" in filmed["log"]
    assert filmed["steps"]["the room is closed"]["media"] == 0


@pytest.mark.parametrize("count", range(1, MOST_TILES + 1))
def test_tiles_stand_on_the_page_where_the_composite_has_them(filmed: dict[str, Any], count: int) -> None:
    step = filmed["steps"][f"{count} joined"]
    even = filmed["width"] // 2 * 2, filmed["height"] // 2 * 2
    assert rects(step) == tile_layout(range(count), *even)
    assert shows(step) == {tile: [f"person-{tile}/camera"] for tile in range(count)}
    assert set(step["heard"]) == {f"person-{tile}/microphone" for tile in range(count)}
    for found in step["tiles"].values():
        assert found["fits"] == ["contain"]
        assert found["fills"]


def test_the_page_computes_the_same_geometry_for_windows_of_any_shape(filmed: dict[str, Any]) -> None:
    assert len(filmed["layouts"]) == 560
    for found in filmed["layouts"]:
        even = found["width"] // 2 * 2, found["height"] // 2 * 2
        assert {tile: Rect(**rect) for tile, rect in found["rects"]} == tile_layout(found["tiles"], *even)


def test_nobody_gets_in_with_a_tile_that_is_none_taken_or_without_consent(filmed: dict[str, Any]) -> None:
    step = filmed["steps"]["intruders came"]
    assert shows(step) == cameras()
    assert set(step["heard"]) == microphones()
    assert {name.split("/")[0] for name, subscribed in step["subscribed"] if subscribed} == set(EVERYBODY)


def test_who_withdraws_is_gone_at_once_and_nothing_else_moves(filmed: dict[str, Any]) -> None:
    steps = filmed["steps"]
    for name in ("3 withdrew, at once", "3 withdrew"):
        assert shows(steps[name]) == cameras(3)
        assert set(steps[name]["heard"]) == microphones(3)
        assert rects(steps[name]) == rects(steps["7 joined"])
        assert dict(steps[name]["subscribed"])["person-3/camera"] is False
        assert dict(steps[name]["subscribed"])["person-3/microphone"] is False


def test_who_consents_again_is_back_in_the_same_place(filmed: dict[str, Any]) -> None:
    step = filmed["steps"]["3 consented again"]
    assert shows(step) == cameras()
    assert set(step["heard"]) == microphones()


def test_who_leaves_leaves_an_empty_tile_and_comes_back_to_it(filmed: dict[str, Any]) -> None:
    left, back = filmed["steps"]["2 left"], filmed["steps"]["2 came back"]
    assert shows(left) == cameras(2)
    assert set(left["heard"]) == microphones(2)
    assert shows(back) == cameras()
    assert rects(left) == rects(back) == rects(filmed["steps"]["7 joined"])


def test_a_shared_screen_takes_the_place_of_the_camera_and_moves_nobody(filmed: dict[str, Any]) -> None:
    shared, over = filmed["steps"]["1 shares a screen"], filmed["steps"]["1 shares no longer"]
    assert shows(shared) == cameras() | {1: ["person-1/screen_share"]}
    assert set(shared["heard"]) == microphones() | {"person-1/screen_share_audio"}
    assert rects(shared) == rects(filmed["steps"]["7 joined"])
    assert shows(over) == cameras()
    assert set(over["heard"]) == microphones()


def test_a_page_that_is_opened_later_leaves_room_for_those_who_had_a_tile_before(chromium: str, tmp_path: Path) -> None:
    filmed = visit(chromium, tmp_path / "profile", "tiles-0-2-6")
    even = filmed["width"] // 2 * 2, filmed["height"] // 2 * 2
    nobody, one, two = (filmed["steps"][name] for name in ("nobody consented", "1 joined", "2 joined"))
    assert rects(nobody) == rects(one) == tile_layout([0, 2, 6], *even)
    assert shows(nobody) == {0: [], 2: [], 6: []}
    assert shows(one) == {0: ["person-0/camera"], 2: [], 6: []}
    assert rects(two) == tile_layout([0, 1, 2, 6], *even)


def test_a_camera_that_is_off_leaves_no_last_picture(filmed: dict[str, Any]) -> None:
    assert shows(filmed["steps"]["4 turned the camera off"]) == cameras(4)


def test_while_a_withdrawal_could_not_be_heard_nobody_is_shown(filmed: dict[str, Any]) -> None:
    assert filmed["steps"]["the connection is interrupted"]["media"] == 0
    assert shows(filmed["steps"]["the connection is back"]) == cameras()


def test_names_are_never_read_as_html(filmed: dict[str, Any]) -> None:
    # Newcomers do not take over the tiles of those who left, whatever they are called.
    assert shows(filmed["steps"]["hostile names"]) == cameras(0, 1, 2)
    assert filmed["broken"] is None
    assert filmed["images"] == 0
    assert filmed["text"].strip() == ""


def test_the_background_is_the_published_one(filmed: dict[str, Any]) -> None:
    assert filmed["background"] == "rgb(0, 0, 0)"


def test_the_browser_finds_nothing_that_the_security_policy_blocks(filmed: dict[str, Any]) -> None:
    assert "Refused to" not in filmed["log"]
    assert "Content Security Policy" not in filmed["log"]


def test_a_page_that_cannot_begin_says_so_where_egress_looks_and_gives_up(chromium: str, tmp_path: Path) -> None:
    settings = LayoutSettings(client="http://127.0.0.1:9/livekit-client.umd.js", servers=("ws://127.0.0.1:9",))
    with serving(layout_app(settings)) as page:
        shown = browse(chromium, tmp_path / "profile", f"{page}/?layout=&url=ws://127.0.0.1:9&token=t")
    assert (
        '<div class="error">This recording cannot begin: LiveKit\'s client library could not be loaded.</div>' in shown
    )
    assert "END_RECORDING" in shown
    assert "START_RECORDING" not in shown


def client(**changes: Any) -> Any:
    settings = {"client": "https://cdn.example/a/livekit-client.umd.js?v=2", "servers": ("wss://lk.example:7443/rtc",)}
    return layout_app(LayoutSettings(**(settings | changes))).test_client()


def test_the_policy_names_one_script_and_the_servers_in_both_of_their_protocols() -> None:
    policy = client().get("/?url=wss://evil.example&token=t").headers["Content-Security-Policy"]
    assert policy == (
        "default-src 'none'; script-src 'self' https://cdn.example/a/livekit-client.umd.js; style-src 'self'; "
        "connect-src 'self' https://lk.example:7443 wss://lk.example:7443; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    )


@pytest.mark.parametrize("path", ["/", "/layout.js", "/geometry.js", "/layout.css", "/tiles.json", "/nothing"])
def test_every_answer_carries_the_headers_that_keep_the_token_in(path: str) -> None:
    answer = client().get(path)
    assert answer.status_code == (404 if path == "/nothing" else 200)
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/../tiles.py", "/layout/index.html", "/index.html", "/tiles.py", "/%2e%2e/tiles.py"])
def test_only_the_files_of_the_page_are_served(path: str) -> None:
    assert client().get(path).status_code == 404


def test_the_page_takes_nothing_but_reading() -> None:
    assert client().post("/").status_code == 405


def test_an_address_in_the_page_is_text() -> None:
    answer = client(client="https://cdn.example/?a=1&b=2").get("/").text
    assert '<script src="https://cdn.example/?a=1&amp;b=2"></script>' in answer


@pytest.mark.parametrize(
    "changes",
    [
        {"client": "ws://cdn.example/x.js"},
        {"client": "/x.js"},
        {"client": "https://cdn.example/x.js; script-src *"},
        {"client": "https://cdn.example/x.js 'unsafe-inline'"},
        {"client": "javascript:alert(1)"},
        {"client": ""},
        {"client": "https://*/x.js"},
        {"client": "https:///x.js"},
        {"client": "https://[x/y.js"},
        {"servers": ("lk.example",)},
        {"servers": ("wss://",)},
        {"servers": ("wss://lk.example; script-src *",)},
        {"servers": ("wss://lk.example,*",)},
        {"servers": ()},
    ],
)
def test_an_address_that_could_loosen_the_policy_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="address"):
        client(**changes)


def test_the_command_serves_the_page_until_it_is_told_to_stop() -> None:
    program = "from media.commands.recording_layout import recording_layout; recording_layout()"
    options = ["--listen", "127.0.0.1:0", "--client", "https://cdn.example/x.js", "--livekit", "wss://lk.example"]
    with subprocess.Popen([sys.executable, "-c", program, *options], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = process.stderr.readline().removeprefix("Serving the layout page at ").strip()
        answer = httpx.get(address, timeout=60)
        assert "https://cdn.example/x.js" in answer.text
        assert "wss://lk.example" in answer.headers["Content-Security-Policy"]
        assert httpx.get(f"{address}/tiles.json", timeout=60).json()["format"] == "indelible-tiles/1"
        assert httpx.get(f"{address}/?{'x' * 20_000}", timeout=60).status_code == 431
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--livekit", "wss://lk.example"], "Missing option '--client'"),
        (["--client", "https://cdn.example/x.js"], "Missing option '--livekit'"),
        (["--client", "x.js", "--livekit", "wss://lk.example"], "x.js is not an http or https address"),
        (["--client", "https://cdn.example/x.js", "--livekit", "lk"], "lk is not an address such as wss://"),
        (
            ["--client", "https://cdn.example/x.js", "--livekit", "wss://lk.example", "--listen", "8083"],
            "write it as HOST:PORT",
        ),
    ],
)
def test_the_command_says_what_is_wrong_with_its_options(options: list[str], message: str) -> None:
    outcome = CliRunner().invoke(recording_layout, options)
    assert outcome.exit_code == 2
    assert message in outcome.output
