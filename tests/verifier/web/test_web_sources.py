"""Bundles come from the folder or the gateway the operator named, and from nowhere else."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from verifier.web.settings import WebSettings
from verifier.web.sources import GatewayBundles, LocalBundles, SourceUnavailableError, UnknownBundleError

if TYPE_CHECKING:
    from tests.verifier.web.small_ledger import Chain
    from tests.verifier.web.world import GatewayScript, World

    Script = Callable[..., GatewayScript]
    ServeGateway = Callable[[GatewayScript], str]


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../secret",
        "a/../../secret",
        "acme:..",
        "..:secret",
        "a:b:c",
        "",
        ":",
        "secret\x00",
        ".secret",
        "-x",
        "%2e",
    ],
)
def test_a_name_that_leaves_the_folder_opens_nothing(world: World, name: str) -> None:
    (world.folder.parent / "secret.zip").write_bytes(b"secret")
    with pytest.raises(UnknownBundleError), LocalBundles(folder=world.folder).open_named(name):
        pass


def test_paths_in_the_address_open_nothing(world: World, story: Chain) -> None:
    world.store(story)
    client = world.client(link_keys=None)
    for path in (
        "/bundles/..%2f..%2fetc%2fpasswd",
        "/bundles/../keys",
        "/bundles//etc/passwd",
        "/bundles/acme%3a..%2fx",
    ):
        assert client.get(path).status_code == 404


def test_a_symbolic_link_out_of_the_folder_opens_nothing(world: World, tmp_path: Path) -> None:
    (tmp_path / "outside.zip").write_bytes(b"secret")
    (world.folder / "inside.zip").symlink_to(tmp_path / "outside.zip")
    assert world.client(link_keys=None).get("/bundles/inside").status_code == 404


def test_a_pipe_or_a_directory_in_the_folder_does_not_hang_the_page(world: World) -> None:
    os.mkfifo(world.folder / "pipe.zip")
    (world.folder / "folder.zip").mkdir()
    client = world.client(link_keys=None)
    assert client.get("/bundles/pipe").status_code == 404
    assert client.get("/bundles/folder").status_code == 404
    assert "pipe" not in client.get("/").text


def test_the_folder_is_listed_on_an_auditors_own_machine_only(world: World, story: Chain) -> None:
    world.store(story)
    (world.folder / "acme").mkdir()
    world.store(story, name="acme/other")
    auditor = world.client(link_keys=None)
    assert 'href="/bundles/demo-1"' in auditor.get("/").text
    assert auditor.get("/bundles/acme:other").status_code == 200
    public = world.client()
    assert "demo-1" not in public.get("/").text
    assert public.get("/bundles/demo-1").status_code == 404
    assert public.get("/bundles/demo-1/bundle.zip").status_code == 404


def test_a_bundle_that_changes_while_it_is_checked_is_not_judged(world: World, story: Chain) -> None:
    world.store(story)
    with LocalBundles(folder=world.folder).open_named("demo-1") as bundle:
        bundle.require_unchanged()
        with (world.folder / "demo-1.zip").open("ab") as file:
            file.write(b"x")
        with pytest.raises(SourceUnavailableError):
            bundle.require_unchanged()


def test_the_gateways_bundle_is_verified_by_the_page_itself(
    world: World, story: Chain, gateway_script: Script, serve_gateway: ServeGateway
) -> None:
    script = gateway_script(body=story.bundle(*world.authorities))
    client = world.client(bundles=None, link_keys=None, gateway=serve_gateway(script))
    token = world.link(story)
    report = world.report(f"/v/{token}", client)
    assert report["verdict"] == "VERIFIED"
    assert script.asked == [f"/api/verify-links/{token}/bundle"]


def test_a_gateway_that_hands_out_a_swapped_chain_is_caught(
    world: World, story: Chain, make_chain: Callable[..., Chain], gateway_script: Script, serve_gateway: ServeGateway
) -> None:
    swapped = make_chain()
    swapped.close()
    script = gateway_script(body=swapped.bundle(*world.authorities))
    client = world.client(bundles=None, link_keys=None, gateway=serve_gateway(script))
    report = world.report(f"/v/{world.link(story)}", client)
    assert report["verdict"] == "FAILED"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"status": 404}, 404),
        ({"status": 410}, 410),
        ({"status": 503}, 503),
        ({"status": 500}, 503),
        ({"status": 302}, 503),
        ({"status": 200, "content_type": "text/html"}, 503),
        ({"status": 200, "body": b"PK", "announced": 5}, 503),
        ({"status": 200, "body": b"PK", "cut_off": True}, 503),
        ({"status": 429}, 503),
        ({"status": 200, "body": b"not a zip"}, 502),
        ({"status": 200, "body": b""}, 502),
    ],
)
def test_each_answer_of_the_gateway_becomes_the_right_page(
    world: World,
    story: Chain,
    gateway_script: Script,
    serve_gateway: ServeGateway,
    answer: dict[str, object],
    status: int,
) -> None:
    client = world.client(bundles=None, link_keys=None, gateway=serve_gateway(gateway_script(**answer)))
    got = client.get(f"/v/{world.link(story)}")
    assert got.status_code == status
    assert ("Retry-After" in got.headers) == (status == 503)


def test_a_gateway_that_is_down_gives_a_page_that_says_so(world: World, story: Chain) -> None:
    client = world.client(bundles=None, link_keys=None, gateway="http://127.0.0.1:9")
    assert client.get(f"/v/{world.link(story)}").status_code == 503


def test_a_forged_link_never_reaches_the_gateway_where_the_page_has_the_keys(
    world: World, story: Chain, gateway_script: Script, serve_gateway: ServeGateway
) -> None:
    script = gateway_script(body=story.bundle(*world.authorities))
    client = world.client(bundles=None, gateway=serve_gateway(script))
    assert client.get(f"/v/{world.link(story, secret=bytes(32))}").status_code == 404
    assert script.asked == []
    assert client.get(f"/v/{world.link(story)}").status_code == 200


def test_a_gateways_bundle_over_the_limit_is_not_read_to_its_end(
    gateway_script: Script, serve_gateway: ServeGateway
) -> None:
    gateway = GatewayBundles(serve_gateway(gateway_script(body=bytes(100_000))), max_bytes=50_000)
    with pytest.raises(SourceUnavailableError, match="exceeds"), gateway.open_link("k1.a.b", name="x.zip"):
        pass


def test_a_fetched_bundle_serves_the_next_pages_and_makes_room_for_others(
    gateway_script: Script, serve_gateway: ServeGateway
) -> None:
    script = gateway_script(body=b"x" * 1000)
    gateway = GatewayBundles(serve_gateway(script), max_bytes=1000, shelf_bytes=2500)
    for _ in range(3):
        with gateway.open_link("k1.a.a", name="x.zip") as bundle:
            assert bundle.file.read() == script.body
    assert len(script.asked) == 1
    with gateway.open_link("k1.a.a", name="x.zip") as still_open:
        for token in ("k1.a.b", "k1.a.c"):
            with gateway.open_link(token, name="x.zip"):
                pass
        assert len(script.asked) == 3
        assert still_open.file.read() == script.body, "a reader keeps the file that made room"
    with gateway.open_link("k1.a.a", name="x.zip"):
        assert len(script.asked) == 4


def test_readers_of_one_link_wait_for_one_transfer_and_share_no_position(
    gateway_script: Script, serve_gateway: ServeGateway
) -> None:
    body = bytes(range(256)) * 4000
    script = gateway_script(body=body)
    gateway = GatewayBundles(serve_gateway(script), max_bytes=len(body))
    outcomes: list[bool] = []

    def read() -> None:
        with gateway.open_link("k1.a.a", name="x.zip") as bundle:
            outcomes.append(bundle.file.read() == body)

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert outcomes == [True] * 8
    assert len(script.asked) == 1


def test_a_download_is_byte_for_byte_the_bundle(world: World, story: Chain) -> None:
    content = world.store(story)
    client = world.client()
    token = world.link(story)
    answer = client.get(f"/v/{token}/bundle.zip")
    assert answer.data == content
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == "attachment; filename=demo-1.zip"
    assert int(answer.headers["Content-Length"]) == len(content)
    assert zipfile.is_zipfile(world.folder / "demo-1.zip")


@pytest.mark.parametrize(
    "settings",
    [
        {"gateway": "file:///etc/passwd"},
        {"gateway": "ftp://example.org"},
        {"gateway": "http://"},
        {"gateway": "http://user:secret@example.org"},
        {"gateway": "http://example.org/?x=1"},
        {"bundles": Path("/nonexistent")},
        {"bundles": Path("/tmp"), "gateway": "http://example.org"},
        {"link_keys": Path("/tmp/keys.toml")},
        {"max_upload_bytes": 0},
        {"burst": 0},
        {"proxy_hops": -1},
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        WebSettings(**settings)  # type: ignore[arg-type]  # each case breaks one setting on purpose
