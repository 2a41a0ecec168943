"""The verifier as a stranger gets it: its wheel alone in an empty environment, with the network unplugged."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors" / "bundles"
FORBID = (
    "import socket\n"
    "def refuse(*arguments, **options):\n"
    "    raise OSError('the network is unplugged')\n"
    "socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse\n"
    "socket.create_connection = socket.getaddrinfo = refuse\n"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but the wheel and what it depends on; the path of its indelible-verify."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "verifier"
    # Built from a copy: a build leaves its own folders behind.
    shutil.copytree(ROOT / "verifier", source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("indelible_verifier-*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", str(wheel)], capture_output=True, text=True, check=False
    )
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("no package index can be reached to install asn1crypto, click and cryptography from")
    assert done.returncode == 0, done.stderr
    return python


def offline(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed program without a network: in a network namespace of its own if that is allowed."""
    command = [str(python.parent / "indelible-verify"), *arguments]
    (folder / "sitecustomize.py").write_text(FORBID)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder)}
    unplug = ["unshare", "--net"]
    if shutil.which("unshare") and subprocess.run([*unplug, "true"], check=False, capture_output=True).returncode == 0:
        command = [*unplug, *command]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)


@pytest.mark.parametrize(
    ("name", "code"),
    [("VERIFIED-closed-session", 0), ("FAILED-edited-payload", 1), ("INDETERMINATE-no-root-trusted", 3)],
)
def test_the_wheel_alone_verifies_a_bundle_without_a_network(
    name: str, code: int, installed: Path, tmp_path: Path
) -> None:
    folder = VECTORS / name
    done = offline(
        installed, tmp_path, "bundle", str(folder / "bundle"), "--trust", str(folder / "trust.toml"), "--json"
    )
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["verdict"] == name.partition("-")[0]


def test_the_wheel_says_clearly_that_the_page_needs_its_extra(installed: Path, tmp_path: Path) -> None:
    done = offline(installed, tmp_path, "serve", "--port", "0")
    assert done.returncode == 2
    assert "indelible-verifier[web]" in done.stderr


def test_the_wheel_brings_few_libraries_and_none_for_networks_or_servers(installed: Path) -> None:
    done = subprocess.run(
        [installed, "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True
    )
    names = {entry["name"].lower() for entry in json.loads(done.stdout)}
    allowed = {"indelible-verifier", "asn1crypto", "click", "cryptography", "cffi", "pycparser", "pip", "setuptools"}
    assert names <= allowed | {"typing-extensions", "typing_extensions"}


def test_the_wheel_holds_the_verifier_and_nothing_of_the_ledger(installed: Path) -> None:
    script = "import verifier, pathlib; print(pathlib.Path(verifier.__file__).parent)"
    done = subprocess.run([installed, "-I", "-c", script], capture_output=True, text=True, check=True)
    place = Path(done.stdout.strip())
    assert {path.name for path in place.parent.iterdir()} >= {"verifier"}
    assert not (place.parent / "ledger").exists()
    assert (place / "py.typed").exists()
