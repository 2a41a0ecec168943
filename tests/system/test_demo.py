"""The demonstration as a newcomer runs it, and what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

INDELIBLE = Path(sys.executable).with_name("indelible")
VERIFY = Path(sys.executable).with_name("indelible-verify")
SECONDS = 270

pytestmark = pytest.mark.timeout(900)  # on a busy machine a demonstration takes minutes


def processes_mentioning(text: str) -> list[str]:
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            try:
                command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in command:
                found.append(command)
    return found


@pytest.fixture(scope="module")
def outcome(sandbox_directory: Path) -> dict[str, Any]:
    """The demonstration, run once as a newcomer does; what its last line says."""
    finished = subprocess.run(
        [str(INDELIBLE), "demo", "--json"],
        env={**os.environ, "TMPDIR": str(sandbox_directory)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "FAILED" in finished.stderr
    result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return result


@pytest.fixture
def folder(outcome: dict[str, Any]) -> Path:
    return Path(outcome["bundle"]).parent


def verify(outcome: dict[str, Any], bundle: str) -> tuple[int, dict[str, Any]]:
    command = [str(VERIFY), "bundle", bundle, "--trust", outcome["trust"], "--require", "2", "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return finished.returncode, json.loads(finished.stdout)


def test_the_last_line_names_files_that_prove_the_session(outcome: dict[str, Any]) -> None:
    code, report = verify(outcome, outcome["bundle"])
    assert (code, report["verdict"]) == (0, "VERIFIED")
    assert (report["chain_id"], report["head"]) == (outcome["chain_id"], outcome["head"])
    last = report["event_count"]
    assert report["event_count"] == outcome["event_count"]
    assert sorted(token["authority"] for token in report["tokens"] if token["ok"] and token["sequence"] == last) == [
        "sandbox-one",
        "sandbox-tezos",
        "sandbox-two",
    ]
    # Calendars take hours: the bundle holds their promises, and the verifier says what they are worth.
    assert {token["authority"] for token in report["tokens"] if token["status"] == "pending"} == {"sandbox-bitcoin"}
    # The session was anchored when it ended, and again when nothing was pending any more.
    assert len({token["sequence"] for token in report["tokens"] if token["ok"]}) == 2
    assert outcome["verify_url"].startswith("http://127.0.0.1:")


def test_the_session_was_recorded_as_the_story_tells(outcome: dict[str, Any]) -> None:
    with zipfile.ZipFile(outcome["bundle"]) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("data/events.jsonl")]
        events = [json.loads(line) for line in archive.read(name).splitlines()]
    kinds = [event["kind"] for event in events]
    assert kinds[:9] == [
        "chain.opened",
        "participant.joined",
        "participant.joined",
        "snapshot.taken",
        "whiteboard.stroke_added",
        "annotation.added",
        "participant.left",
        "clip.requested",
        "clip.preserved",
    ]
    assert kinds[-2:] == ["recording.completed", "chain.closed"]
    # Nobody is recorded before they agreed, also not the one who came late.
    order = [kind for kind in kinds if kind in {"consent.given", "recording.started", "recording.participant_started"}]
    assert order == [
        *("consent.given", "consent.given", "recording.started"),
        *("recording.participant_started", "recording.participant_started"),
        *("consent.given", "recording.participant_started"),
    ]
    after = set(kinds[kinds.index("session.ended") + 1 : -1])
    assert after <= {"chain.checkpointed"} | {kind for kind in kinds if kind.startswith("recording.")}
    assert "Ada Moreau" not in json.dumps(events), "a sealed name must not be on the chain"


def test_the_forged_copy_is_caught_at_the_event_that_was_changed(outcome: dict[str, Any], folder: Path) -> None:
    code, report = verify(outcome, str(folder / "tampered.zip"))
    assert (code, report["verdict"]) == (1, "FAILED")
    assert report["chain_integrity"]["first_divergent_sequence"] == 6


def test_the_clip_can_be_handed_over_and_is_what_the_chain_recorded(outcome: dict[str, Any]) -> None:
    code, report = verify(outcome, outcome["clip_bundle"])
    assert (code, report["verdict"], report["head"]) == (0, "VERIFIED", outcome["head"])
    [finding] = [one for one in report["findings"] if one["code"].startswith("artefact")]
    assert (finding["code"], finding["where"]) == ("artefacts-recorded", f"data/artefacts/{outcome['clip_id']}")
    assert "6 files" in finding["message"]
    assert "event 9" in finding["message"]


def test_the_forged_clip_is_caught_and_named(outcome: dict[str, Any], folder: Path) -> None:
    code, report = verify(outcome, str(folder / "forged-clip.zip"))
    assert (code, report["verdict"]) == (1, "FAILED")
    wrong = [(one["code"], one["where"]) for one in report["findings"] if one["severity"] == "error"]
    assert wrong == [("artefact-digest-differs", f"data/artefacts/{outcome['clip_id']}/clip.mp4")]


def test_the_recording_can_be_handed_over_with_a_late_joiner_and_the_strokes(outcome: dict[str, Any]) -> None:
    code, report = verify(outcome, outcome["recording_bundle"])
    assert (code, report["verdict"], report["head"]) == (0, "VERIFIED", outcome["head"])
    [finding] = [one for one in report["findings"] if one["code"].startswith("artefact")]
    assert (finding["code"], finding["where"]) == ("artefacts-recorded", f"data/artefacts/{outcome['recording_id']}")
    assert "12 files" in finding["message"]
    with zipfile.ZipFile(outcome["recording_bundle"]) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/recording.json")]
        document = json.loads(archive.read(name))
    joined = [tile["joined_at"] for tile in document["tiles"]]
    assert [tile["participant"] for tile in document["tiles"]] == ["operator-1", "field-1", "field-2"]
    assert joined[2] > max(joined[:2])
    painted = {one["name"]: one["annotations"] for one in document["artefacts"] if one["annotations"]}
    assert painted["composite.mp4"]["strokes_painted"] == 2
    assert Path(outcome["picture"]).read_bytes().startswith(b"\x89PNG")


def test_it_leaves_the_proof_and_nothing_running(folder: Path) -> None:
    left = ["bitcoin-headers.txt", "bundle.zip", "clip.zip", "forged-clip.zip", "recording.png", "recording.zip"]
    left += ["tampered.zip", "trust.toml"]
    assert sorted(file.name for file in folder.iterdir()) == left
    assert processes_mentioning(str(folder)) == []


def test_keep_leaves_the_page_up_until_ctrl_c_and_then_nothing_also_where_parts_cannot_be_had(
    sandbox_directory: Path, tmp_path: Path
) -> None:
    folder, story = sandbox_directory / "kept-demo", tmp_path / "story"
    # As on a machine without libsodium, and on one that PyAV is not made for.
    (tmp_path / "pytezos.py").write_text("raise ValueError('Unable to find libsodium')\n")
    (tmp_path / "av.py").write_text("raise ImportError('no libav here')\n")
    with (
        story.open("w") as telling,
        subprocess.Popen(
            [INDELIBLE, "demo", "--json", "--keep", "--dir", folder],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=telling,
            text=True,
        ) as demo,
    ):
        assert demo.stdout is not None
        line = demo.stdout.readline()
        assert line, story.read_text()
        outcome = json.loads(line)
        page = httpx.get(outcome["verify_url"], headers={"Accept": "application/json"}, timeout=30)
        assert page.json()["verdict"] == "VERIFIED"
        # A terminal sends Ctrl-C to the command; its children are in sessions of their own.
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0
    told = " ".join(story.read_text().split())
    assert "left out: the local Tezos network needs the system's libsodium (Debian: apt-get install" in told
    assert "sandbox-tezos" not in told
    assert "left out: clips need PyAV, which cannot be loaded here (no libav here)" in told
    assert (outcome["clip_id"], outcome["clip_bundle"], outcome["event_count"]) == (None, None, 8)
    assert processes_mentioning(str(folder)) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can tie a child's life to its parent's")
def test_a_demonstration_that_is_killed_in_the_middle_leaves_nothing_running(sandbox_directory: Path) -> None:
    folder = sandbox_directory / "killed-demo"
    with subprocess.Popen(
        [INDELIBLE, "demo", "--json", "--dir", folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as demo:
        deadline = time.monotonic() + 150
        while not (folder / "stack" / "logs").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        demo.kill()
    deadline = time.monotonic() + 90
    while left := processes_mentioning(str(folder)):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
