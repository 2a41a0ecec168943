import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.anchoring.authorities import load_authorities
from sandbox import freetsa
from sandbox.authorities import Authorities
from sandbox.processes import LOOPBACK, StartError, free_port


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A web site of our own in FreeTSA's place: its folder and the address of its root certificate."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path), **options)  # type: ignore[arg-type]  # passed on as they came

        def log_message(self, *_: object) -> None:
            """Requests of a test need no log."""

    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path, f"http://{LOOPBACK}:{server.server_port}/cacert.pem"
        server.shutdown()


def test_the_real_authority_is_configured_with_the_root_it_publishes(
    site: tuple[Path, str], authorities: Authorities, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, address = site
    (folder / "cacert.pem").write_bytes(authorities.one.root_pem)
    monkeypatch.setattr(freetsa, "ROOT_URL", address)
    extra = freetsa.fetch_freetsa(tmp_path / "roots")
    assert extra.root_pem.encode() == authorities.one.root_pem
    configuration = tmp_path / "authorities.toml"
    configuration.write_text(extra.configuration)
    assert [target.authority for target in load_authorities(configuration).targets] == ["freetsa"]


@pytest.mark.parametrize("content", [None, b"<html>moved</html>", b"", b"A" * 100_000, b"\xff"])
def test_a_root_that_is_missing_or_no_certificate_is_an_error_that_says_so(
    site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    folder, address = site
    if content is not None:
        (folder / "cacert.pem").write_bytes(content)
    monkeypatch.setattr(freetsa, "ROOT_URL", address)
    with pytest.raises(StartError, match=r"root certificate could not be fetched .* without --authority"):
        freetsa.fetch_freetsa(tmp_path / "roots")


def test_without_the_internet_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(freetsa, "ROOT_URL", f"http://{LOOPBACK}:{free_port()}/cacert.pem")
    with pytest.raises(StartError, match=r"ConnectError.*needs the internet"):
        freetsa.fetch_freetsa(tmp_path / "roots")
