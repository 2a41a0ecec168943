"""Every command in the documentation that a reader can run is run here, and must say what the text says it says.

A block that begins with ```console run``` holds commands after `$ ` (continued after `> `), each followed by what it
prints; `...` stands for anything. `exit=N` is the exit code of the block's last command. A block that begins with
```python run``` is a program. Blocks of one document share a directory that holds what the text speaks of: the bundle
of the chain visit-17, two root certificates, a trust policy, gate.mp4 from a camera; and a running ledger, gateway and
evidence service with the camera pump-7.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.client import LedgerClient
from sandbox.camera import Recording, write_segment
from sandbox.stack import ORGANISATION_ID, ORGANISATION_NAME, Part, running_stack

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
ANCHORS_SECONDS = 150.0
COMMAND_SECONDS = 240.0
_BLOCK = re.compile(
    r"^```(?P<language>console|python) run(?: exit=(?P<exit>\d+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_MARK = "-- end of command --"
OWNERS_TOKEN = "INDELIBLE_TOKEN_OF_EXAMPLE"
# Whose clips are asked for.
_ABOUT_CAMERAS = frozenset({"graphql.md", "integrate.md"})

pytestmark = [
    pytest.mark.timeout(1200),  # a document has several blocks, and the first one starts the stack
    pytest.mark.skipif(
        any(shutil.which(name) is None for name in ("openssl", "sha256sum", "curl")),
        reason="openssl, sha256sum or curl is not installed, and the documents use them",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A runnable block: its language, its exit code, its text and where it stands."""

    language: str
    exit_code: int
    text: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command and what it should print."""

    command: str
    expected: str


def blocks_of(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    return [
        Block(
            language=match["language"],
            exit_code=int(match["exit"] or 0),
            text=match["text"],
            line=text.count("\n", 0, match.start()) + 1,
        )
        for match in re.finditer(
            r"^```(?P<language>console|python) run(?: exit=(?P<exit>\d+))?\n(?P<text>.*?)^```$",
            text,
            re.MULTILINE | re.DOTALL,
        )
    ]


def steps_of(text: str) -> list[Step]:
    steps: list[Step] = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        length = 1
        while length < len(lines) and lines[length].startswith("> "):
            length += 1
        command = "\n".join([lines[0], *(line.removeprefix("> ") for line in lines[1:length])])
        steps.append(Step(command=command, expected="\n".join(lines[length:])))
    return steps


def says(output: str, expected: str) -> bool:
    pattern = ".*".join(re.escape(piece) for piece in expected.strip().split("..."))
    return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None


@pytest.fixture(scope="module")
def prepared() -> Iterator[tuple[Path, dict[str, str]]]:
    """A directory with what the documents speak of, and the environment for their commands."""
    with tempfile.TemporaryDirectory(prefix="indelible-docs-") as made:
        directory = Path(made)
        directory.chmod(0o711)
        with running_stack(directory / "stack", parts=[Part.LEDGER, Part.GATEWAY, Part.EVIDENCE]) as stack:
            stack.add_organisation("acme", "Acme Security")
            stack.add_organisation(ORGANISATION_ID, ORGANISATION_NAME)
            environment = {
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "HOME": made,
                "LC_ALL": "C.UTF-8",
                "INDELIBLE_LEDGER": stack.ledger_address,
                "INDELIBLE_GATEWAY": stack.gateway_url,
                "INDELIBLE_TOKEN": stack.issuer.mint("acme", roles=["org_admin"]),
                # The sandbox's camera is this organisation's.
                OWNERS_TOKEN: stack.issuer.mint(ORGANISATION_ID, roles=["org_admin"]),
            }
            material = directory / "material"
            material.mkdir()
            asyncio.run(_record_visit(environment, material / "bundle.zip"))
            for authority in stack.authorities:
                (material / f"{authority.name}.pem").write_bytes(authority.root_pem)
            shutil.copy(stack.trust_policy, material / "trust.toml")
            write_segment(material / "gate.mp4", Recording(starts_at=0, seconds=24, width=160, height=96, rate=5))
            yield material, environment


async def _record_visit(environment: dict[str, str], bundle: Path) -> None:
    async with LedgerClient(environment["INDELIBLE_LEDGER"], token=environment["INDELIBLE_TOKEN"]) as ledger:
        await ledger.open_chain("visit-17", {"site": "north gate"})
        for kind in ("person.joined", "consent.granted", "snapshot.taken", "person.left"):
            await ledger.append_event("visit-17", kind, {"by": "Ann"})
        await ledger.close_chain("visit-17")
        async with asyncio.timeout(ANCHORS_SECONDS):
            while any([anchor.state == "pending" async for anchor in ledger.list_anchors("visit-17")]):  # noqa: ASYNC110 - a worker in another process
                await asyncio.sleep(0.1)
        await ledger.export_bundle("visit-17", bundle)


@pytest.mark.parametrize(
    "document", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in DOCUMENTS if blocks_of(path)]
)
def test_the_commands_of_a_document_do_what_it_says(
    document: Path, prepared: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    material, environment = prepared
    if document.name in _ABOUT_CAMERAS:
        environment = environment | {"INDELIBLE_TOKEN": environment[OWNERS_TOKEN]}
    place = tmp_path / "reader"
    shutil.copytree(material, place)
    for block in blocks_of(document):
        where = f"{document.name}, line {block.line}"
        if block.language == "python":
            command = [sys.executable, "-c", block.text]
            done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == block.exit_code, f"{where}:\n{done.stdout}{done.stderr}"
        else:
            _run_console(block, place, environment, where)


def _run_console(block: Block, place: Path, environment: dict[str, str], where: str) -> None:
    steps = steps_of(block.text)
    assert steps, f"{where}: no command"
    ending = f"\nstatus=$?; printf '\\n%s\\n' '{_MARK}'; printf '\\n%s\\n' '{_MARK}' >&2\n"
    script = "".join(f"{step.command}{ending}" for step in steps) + "exit $status\n"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_SECONDS,
    )
    printed = zip(steps, done.stdout.split(_MARK), done.stderr.split(_MARK), strict=False)
    for step, output, errors in printed:
        assert says(output, step.expected) or says(output + errors, step.expected), (
            f"{where}: $ {step.command}\nprinted:\n{output}{errors}\nbut the text says:\n{step.expected}"
        )
    assert done.returncode == block.exit_code, f"{where}:\n{done.stdout}{done.stderr}"


def test_documents_with_commands_are_found() -> None:
    found = {path.name for path in DOCUMENTS if blocks_of(path)}
    assert {"README.md", "verify.md", "operate.md", "integrate.md"} <= found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_between_documents_is_broken(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
