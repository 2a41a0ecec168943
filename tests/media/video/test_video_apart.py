"""The child process: whatever happens to it, the caller gets a reason, an empty folder and no process left behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from media.errors import MediaError, Reason
from media.video.apart import probe_apart, write_artefacts_apart
from media.video.values import Limits, Probe, Progress
from tests.media.video.filming import Film, film, numbers, segment, window


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Footage with which the child is busy for seconds."""
    return film(tmp_path_factory.mktemp("long") / "film.mp4", Film(seconds=24, rate=25, size=(640, 360)))


def children() -> set[int]:
    """The processes of this one that look at footage."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        # Whatever ends while one looks is no child at work.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for pid in (task / "children").read_text().split():
                if b"media.video.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.add(int(pid))
    return found


async def child_at_work() -> int:
    for _ in range(12_000):
        if found := children():
            return found.pop()
        await asyncio.sleep(0.01)
    raise AssertionError("no child was started")


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def leftovers(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_the_files_are_the_caller_s_and_progress_is_told(tmp_path: Path) -> None:
    signs: list[Progress] = []
    artefacts = await write_artefacts_apart(
        [segment(film(tmp_path / "film.mp4"))], window(1, 3), tmp_path / "new" / "out", progress=signs.append
    )
    assert {path.name for path in (tmp_path / "new" / "out").iterdir()} == {
        "native.mp4",
        "clip.mp4",
        "thumbnail.jpg",
        "preview.webm",
    }
    assert all(derivative.path.parent == tmp_path / "new" / "out" for derivative in artefacts.all)
    assert numbers(artefacts.clip.path) == list(range(10, 30))
    assert {sign.step for sign in signs} == {"read", "copy", "clip"}
    assert children() == set()


async def test_a_refusal_comes_with_its_reason_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as refused:
        await write_artefacts_apart([segment(film(tmp_path / "film.mp4"))], window(10, 20), tmp_path / "out")
    assert refused.value.reason == Reason.OUTSIDE_FOOTAGE
    assert refused.value.metadata["covers_to"] == "2026-03-01T12:00:04.000000Z"
    assert leftovers(tmp_path / "out") == []


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
async def test_a_crash_is_an_error_that_names_the_signal(number: signal.Signals, tmp_path: Path, long: Path) -> None:
    work = asyncio.create_task(write_artefacts_apart([segment(long)], window(0, 24), tmp_path / "out"))
    os.kill(await child_at_work(), number)
    with pytest.raises(MediaError) as crashed:
        await work
    assert (crashed.value.reason, crashed.value.metadata["signal"]) == (Reason.CRASHED, number.name)
    assert leftovers(tmp_path / "out") == []


async def test_cancelling_kills_the_child_and_clears_up(tmp_path: Path, long: Path) -> None:
    work = asyncio.create_task(write_artefacts_apart([segment(long)], window(0, 24), tmp_path / "out"))
    await child_at_work()
    await asyncio.sleep(0.5)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert children() == set()
    assert leftovers(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(wall_seconds=1), Reason.TOO_SLOW),
        (Limits(cpu_seconds=1), Reason.TOO_SLOW),
        (Limits(silent_seconds=0), Reason.TOO_SLOW),
        (Limits(output_bytes=1000), Reason.INTERNAL),
    ],
    ids=["wall clock", "processor", "silence", "output"],
)
async def test_a_limit_that_is_reached_ends_the_work(
    limits: Limits, reason: Reason, tmp_path: Path, long: Path
) -> None:
    with pytest.raises(MediaError) as ended:
        await write_artefacts_apart([segment(long)], window(0, 24), tmp_path / "out", limits=limits)
    assert ended.value.reason == reason
    assert leftovers(tmp_path / "out") == []
    assert children() == set()


async def test_too_little_memory_is_an_error(tmp_path: Path, long: Path) -> None:
    # Libraries that get no memory may also stop for ever.
    limits = Limits(address_space_bytes=200 << 20, silent_seconds=5)
    with pytest.raises(MediaError) as ended:
        await write_artefacts_apart([segment(long)], window(0, 24), tmp_path / "out", limits=limits)
    assert ended.value.reason in {Reason.TOO_LARGE, Reason.CRASHED, Reason.FOOTAGE_UNREADABLE, Reason.TOO_SLOW}
    assert leftovers(tmp_path / "out") == []


async def test_each_file_that_is_probed_gets_its_own_answer(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", Film(seconds=1))
    os.mkfifo(tmp_path / "pipe")  # would stop whoever opens it
    found = await probe_apart([path, tmp_path / "pipe", path, tmp_path / "missing", path])
    assert [isinstance(one, Probe) for one in found] == [True, False, True, False, True]


async def test_a_killed_probe_goes_on_behind_the_file_it_was_at(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", Film(seconds=1))
    probing = asyncio.create_task(probe_apart([path] * 400))
    os.kill(await child_at_work(), signal.SIGSEGV)
    found = await probing
    crashed = [one for one in found if isinstance(one, MediaError)]
    assert len(found) == 400
    assert [error.reason for error in crashed] == [Reason.CRASHED]


async def test_the_child_knows_nothing_of_this_process_s_environment(
    tmp_path: Path, long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INDELIBLE_EVIDENCE_DSN", "postgresql://:secret@localhost")
    work = asyncio.create_task(write_artefacts_apart([segment(long)], window(0, 24), tmp_path / "out"))
    environment = environment_of(await child_at_work())
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert b"secret" not in environment


def test_the_child_ends_with_a_parent_that_is_killed(tmp_path: Path, long: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from media.video.apart import write_artefacts_apart;"
        "from tests.media.video.filming import segment, window;"
        "asyncio.run(write_artefacts_apart([segment(Path(sys.argv[1]))], window(0, 24), Path(sys.argv[2]),"
        " progress=lambda sign: print(sign.step, flush=True)))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(long), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    (child,) = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    ends = time.monotonic() + 60
    while Path(f"/proc/{child}").exists() and time.monotonic() < ends:
        time.sleep(0.02)
    assert not Path(f"/proc/{child}").exists() or "State:\tZ" in Path(f"/proc/{child}/status").read_text()
