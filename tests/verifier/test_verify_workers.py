"""Long chains: several processes, the quick path, constant memory. The result is that of one process line by line."""

import io
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.verifier.bundle_forge import Chain, data_files, sealed, write_directory, zipped
from verifier import merkle, worker_start, workers
from verifier.chain import ChainClaims, ChainResult, check_chain
from verifier.line_source import FileRange, blocks_of_lines, ranges_of_lines
from verifier.policy import TrustPolicy
from verifier.quick_lines import QuickReader
from verifier.slices import SliceResult, check_slice
from verifier.verify import verify_bundle

EVENTS = 3600
WANTED = frozenset({3})


@pytest.fixture(scope="module")
def long_chain() -> Chain:
    chain = Chain().open()
    for number in range(EVENTS // 2):
        chain.add("door.opened", {"door": f"d{number % 7}", "n": number, "note": "é" * (number % 50)})
        if number % 500 == 0:
            chain.checkpoint()
        chain.add("camera.motion_seen", {"box": [0.5, 1, number], "confidence": 0.75, "text": "x" * 300})
    return chain.close()


def on_disk(events: bytes, folder: Path) -> FileRange:
    path = folder / "events.jsonl"
    path.write_bytes(b"head" + events + b"tail")
    return FileRange(path=str(path), offset=4, length=len(events))


def by_workers(whole: FileRange, count: int, pin: str | None = None) -> ChainResult:
    with workers.check_ranges(whole, pin=pin, workers=count) as results:
        return check_chain(results, claims=ChainClaims(), wanted=WANTED)


def by_lines(events: bytes) -> ChainResult:
    def results() -> Iterator[SliceResult]:
        for line in events.splitlines(keepends=True):
            yield check_slice(line, QuickReader())

    return check_chain(results(), claims=ChainClaims(), wanted=WANTED)


def test_the_result_does_not_depend_on_how_the_chain_is_cut_or_who_checks_it(long_chain: Chain, tmp_path: Path) -> None:
    whole = on_disk(long_chain.events, tmp_path)
    assert len(list(ranges_of_lines(whole))) > 2
    expected = by_lines(long_chain.events)
    assert expected.ok
    assert expected.event_count == len(long_chain.lines)
    assert by_workers(whole, 1) == by_workers(whole, 2) == by_workers(whole, 4) == expected
    blocks = blocks_of_lines([long_chain.events[at : at + 1000] for at in range(0, len(long_chain.events), 1000)])
    assert check_chain((check_slice(b, QuickReader()) for b in blocks), claims=ChainClaims(), wanted=WANTED) == (
        expected
    )


@pytest.mark.parametrize("checkpoints", [(), (1,), (2, 700), (5, 2900)])
def test_events_after_the_last_checkpoint_are_checked_like_all_others(
    checkpoints: tuple[int, ...], tmp_path: Path
) -> None:
    chain = Chain().open()
    for number in range(1, 3000):
        chain.add("door.opened", {"kind": "chain.closed", "n": number, "text": "x" * 500})
        if number in checkpoints:
            chain.checkpoint()
    whole = on_disk(chain.events, tmp_path)
    expected = by_lines(chain.events)
    assert expected.ok
    assert by_workers(whole, 2) == expected
    changed = chain.events.replace(b'"n":2950', b'"n":2951')
    assert [finding.code for finding in by_workers(on_disk(changed, tmp_path), 2).findings] == ["event-hash"]


@pytest.mark.parametrize("limit", [merkle.MAX_WAITING_BYTES, 32 * 100])
def test_a_checkpoint_that_was_overlooked_is_checked_like_one_that_was_expected(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merkle, "MAX_WAITING_BYTES", limit)
    for root, codes in ((None, []), ("00" * 32, ["checkpoint-merkle-root"])):
        chain = Chain().open()
        for number in range(4000):
            chain.add("door.opened", {"n": number, "text": "x" * 500})
            if number == 200:
                chain.checkpoint(**({"merkle_root": root} if root else {}))
        whole = on_disk(chain.events, tmp_path)
        assert not any(one.grow for one in ranges_of_lines(whole))
        assert [finding.code for finding in by_workers(whole, 2).findings] == codes


def test_a_checkpoint_near_the_end_is_expected(long_chain: Chain, tmp_path: Path) -> None:
    assert all(one.grow for one in ranges_of_lines(on_disk(long_chain.events, tmp_path)))


@pytest.mark.parametrize("place", [0.0, 0.4, 0.9999])
@pytest.mark.parametrize("change", [b"\n", b'"', b"", b"\xff"])
def test_a_change_far_inside_is_found_at_the_same_event_with_the_same_finding(
    place: float, change: bytes, long_chain: Chain, tmp_path: Path
) -> None:
    events = long_chain.events
    at = int(len(events) * place) + 20
    changed = events[:at] + change + events[at + 1 :]
    if changed == events:
        changed = events[:at] + b"x" + events[at + 1 :]
    expected = by_lines(changed)
    assert not expected.ok
    assert by_workers(on_disk(changed, tmp_path), 2) == expected


def test_a_line_longer_than_a_slice_is_found(long_chain: Chain, tmp_path: Path) -> None:
    cut = long_chain.events.index(b"\n", 300_000) + 1
    events = long_chain.events[:cut] + b"x" * 600_000 + long_chain.events[cut:]
    result = by_workers(on_disk(events, tmp_path), 2)
    assert [finding.code for finding in result.findings] == ["event-too-long"]
    assert result.event_count == events[:cut].count(b"\n")


def test_a_hash_the_caller_knows_is_found_wherever_it_is(long_chain: Chain, tmp_path: Path) -> None:
    whole = on_disk(long_chain.events, tmp_path)
    for sequence in (1, 2, EVENTS // 2, len(long_chain.hashes)):
        assert by_workers(whole, 2, long_chain.hashes[sequence - 1].hex()).pinned_at == sequence
    assert by_workers(whole, 2, "00" * 32).pinned_at is None


def die(_tasks: IO[bytes], _answers: IO[bytes]) -> None:
    os._exit(1)


def talk_rubbish(_tasks: IO[bytes], answers: IO[bytes]) -> None:
    answers.write(bytes(8) + b"rubbish" * 100)


def die_in_the_middle(tasks: IO[bytes], answers: IO[bytes]) -> None:
    tasks.read(1)
    answers.write(struct.pack(">Q", 1000) + b"half an answer")


def fail(_tasks: IO[bytes], _answers: IO[bytes]) -> None:
    raise RuntimeError


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("serve", [die, talk_rubbish, die_in_the_middle, fail])
def test_copies_of_this_process_that_die_change_nothing_but_the_time(
    serve: Callable[[IO[bytes], IO[bytes]], None], long_chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = on_disk(long_chain.events, tmp_path)
    expected = by_workers(whole, 1)
    monkeypatch.setattr(workers, "_serve", serve)
    assert by_workers(whole, 3) == expected


def test_interpreters_that_die_or_cannot_start_change_nothing_but_the_time(
    long_chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_start, "_THREADS", tmp_path / "nothing")
    whole = on_disk(long_chain.events, tmp_path)
    expected = by_workers(whole, 1)
    assert by_workers(whole, 3) == expected
    monkeypatch.setattr(worker_start, "_START", "import sys; sys.exit(1)")
    assert by_workers(whole, 3) == expected
    monkeypatch.setattr(worker_start, "_START", "import os; os.write(1, bytes(8) + b'rubbish' * 100)")
    assert by_workers(whole, 3) == expected
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert by_workers(whole, 3) == expected


def no_more_processes() -> int:
    raise BlockingIOError


@pytest.mark.usefixtures("threads")
def test_a_system_that_allows_no_more_processes_changes_nothing_but_the_time(
    long_chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = on_disk(long_chain.events, tmp_path)
    expected = by_workers(whole, 1)
    monkeypatch.setattr(os, "fork", no_more_processes)
    assert by_workers(whole, 3) == expected


@pytest.fixture
def threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the system seems to say of this process's threads: there is one. Whoever runs the tests may have more."""
    directory = tmp_path / "threads"
    (directory / "1").mkdir(parents=True)
    monkeypatch.setattr(worker_start, "_THREADS", directory)
    return directory


def test_a_process_is_copied_only_while_it_has_a_single_thread(threads: Path) -> None:
    copied = worker_start.start_process(die)
    assert not isinstance(copied, subprocess.Popen)
    (threads / "2").mkdir()
    fresh = worker_start.start_process(die)
    assert isinstance(fresh, subprocess.Popen)
    for process in (copied, fresh):
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the workers are seen in Linux's /proc")
@pytest.mark.usefixtures("threads")
def test_workers_that_have_ended_where_nobody_hears_of_ended_processes_are_left_alone(
    long_chain: Chain, tmp_path: Path
) -> None:
    before, expected = children(), by_workers(on_disk(long_chain.events, tmp_path), 1)
    heard = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with workers.check_ranges(on_disk(long_chain.events, tmp_path), pin=None, workers=3) as results:
            assert check_chain(results, claims=ChainClaims(), wanted=WANTED) == expected
            deadline = time.monotonic() + 60
            while children() - before:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    finally:
        signal.signal(signal.SIGCHLD, heard)


def show_what_is_open(tasks: IO[bytes], answers: IO[bytes]) -> None:
    tasks.read(1)
    answers.write(" ".join(sorted(one.name for one in Path("/proc/self/fd").iterdir())).encode())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what is open is seen in Linux's /proc")
@pytest.mark.usefixtures("threads")
def test_a_copy_keeps_nothing_open_but_what_it_hears_and_says() -> None:
    copied = worker_start.start_process(show_what_is_open)
    assert copied.stdin is not None
    assert copied.stdout is not None
    copied.stdin.close()
    # And the descriptor by which it looks.
    assert copied.stdout.read().split() == [b"0", b"1", b"2", b"3"]
    copied.wait()
    copied.stdout.close()


def children() -> set[str]:
    return {pid for one in Path("/proc/self/task").glob("*/children") for pid in one.read_text().split()}


def give_a_long_answer(_tasks: IO[bytes], answers: IO[bytes]) -> None:
    answers.write(bytes(500_000))
    answers.flush()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has pipes of a chosen size")
@pytest.mark.usefixtures("threads")
def test_a_worker_goes_on_while_nobody_has_read_its_answer() -> None:
    before = children()
    process = worker_start.start_process(give_a_long_answer)
    (pid,) = children() - before
    deadline = time.monotonic() + 60
    while " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


@pytest.mark.parametrize("copied", [True, False])
def test_no_process_and_no_thread_is_left_behind(
    copied: bool,  # noqa: FBT001 - as named
    long_chain: Chain,
    tmp_path: Path,
    threads: Path,
) -> None:
    if not copied:
        (threads / "2").mkdir()
    whole = on_disk(long_chain.events, tmp_path)
    # Threads that other tests left may end meanwhile.
    running, before = set(threading.enumerate()), children()
    with workers.check_ranges(whole, pin=None, workers=3) as results:
        next(results)
    assert set(threading.enumerate()) <= running
    assert children() <= before


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the workers are seen in Linux's /proc")
def test_ctrl_c_ends_the_command_and_its_workers_without_a_traceback(tmp_path: Path) -> None:
    chain = Chain().open()
    for number in range(40_000):
        chain.add("door.opened", {"n": number, "text": "x" * 200})
    write_directory(sealed(data_files(chain)), tmp_path)
    command = [sys.executable, "-c", "from verifier.cli import main; main()", "bundle", str(tmp_path)]
    # A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that.
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads are left here
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None and not (worker := children.read_text().split()):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (2, b"", b"Error: Stopped before anything was decided\n")
    # A worker that was just being started when the signal came ends by itself when its input does.
    deadline = time.monotonic() + 60
    while Path(f"/proc/{worker[0]}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_memory_does_not_grow_with_the_chain(tmp_path: Path) -> None:
    def peak(events: int) -> int:
        chain = Chain().open()
        for number in range(events):
            chain.add("door.opened", {"door": f"d{number % 7}", "text": "x" * 2000})
        folder = write_directory(sealed(data_files(chain)), tmp_path / str(events))
        script = (
            "import sys; from pathlib import Path; from verifier.verify import verify_bundle; "
            "from verifier.policy import TrustPolicy; "
            "report = verify_bundle(Path(sys.argv[1]), policy=TrustPolicy(), workers=1); assert report.chain_ok; "
            "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
        )
        done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, check=True)
        return int(done.stdout)

    small, large = peak(1000), peak(8000)
    assert large < 150 * 1024
    # Seven times 2 MiB more events; allocators may keep a little.
    assert large - small < 6 * 1024


def test_progress_reaches_its_end_and_never_goes_back(long_chain: Chain) -> None:
    told: list[tuple[int, int]] = []
    archive = zipped(sealed(data_files(long_chain)))
    verify_bundle(io.BytesIO(archive), policy=TrustPolicy(), progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    assert {total for _, total in told} == {told[0][1]}
