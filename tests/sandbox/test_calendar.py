"""The local calendars, as the OpenTimestamps project's own library sees them."""

import http.client
import io
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.announced import NotAnnouncedError, announced
from sandbox.calendar import CalendarError, CalendarFaults, CalendarSandbox, start_calendar
from verifier.opentimestamps import UnusableHeadersError, check_proof, load_headers

calendar = pytest.importorskip("opentimestamps.calendar", reason="the reference library is not installed")
notary = pytest.importorskip("opentimestamps.core.notary")
op = pytest.importorskip("opentimestamps.core.op")
serialize = pytest.importorskip("opentimestamps.core.serialize")
timestamp = pytest.importorskip("opentimestamps.core.timestamp")

DIGEST = bytes(range(32))


@pytest.fixture(scope="module")
def running(sandbox_directory: Path) -> Iterator[CalendarSandbox]:
    with start_calendar(sandbox_directory / "calendars-of-the-library") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: CalendarSandbox) -> Iterator[CalendarSandbox]:
    running.heal()
    yield running
    running.heal()


def submit(sandbox: CalendarSandbox, number: int = 0) -> tuple[Any, Any, bytes]:
    """A proof by the library with one calendar's promise, and what the promise is about."""
    proof = timestamp.DetachedTimestampFile(op.OpSHA256(), timestamp.Timestamp(DIGEST))
    remote = calendar.RemoteCalendar(f"{sandbox.calendars[number]}/")
    proof.timestamp.merge(remote.submit(DIGEST))
    ((message, promise),) = list(proof.timestamp.all_attestations())
    assert promise == notary.PendingAttestation(sandbox.calendars[number])
    return proof, remote, message


def written(proof: Any) -> bytes:
    stream = io.BytesIO()
    proof.serialize(serialize.StreamSerializationContext(stream))
    return stream.getvalue()


def test_the_library_submits_waits_and_upgrades(sandbox: CalendarSandbox) -> None:
    proof, remote, message = submit(sandbox)
    with pytest.raises(calendar.CommitmentNotFoundError):
        remote.get_timestamp(message)
    sandbox.mine()
    merge_at(proof.timestamp, remote.get_timestamp(message))
    headers = load_headers(sandbox.headers().encode().splitlines(), network="regtest")
    result = check_proof(written(proof), digest=DIGEST, headers=headers, network="regtest")
    assert (result.status, result.height) == ("valid", sandbox.height())


def merge_at(tree: Any, upgrade: Any) -> None:
    """Merge where the library's own client would: at the node with the promised message."""
    for below in tree.ops.values():
        if below.msg == upgrade.msg:
            below.merge(upgrade)
        else:
            merge_at(below, upgrade)


def test_all_digests_that_wait_share_a_transaction_whoever_handed_them_in(sandbox: CalendarSandbox) -> None:
    headed = [submit(sandbox, number) for number in (0, 0, 0, 1, 2)]
    sandbox.mine()
    roots = set()
    for _, remote, message in headed:
        ((root, claim),) = list(remote.get_timestamp(message).all_attestations())
        assert claim.height == sandbox.height()
        roots.add(root)
    assert len(roots) == 1


def test_its_blocks_are_refused_as_blocks_of_bitcoin(sandbox: CalendarSandbox) -> None:
    sandbox.mine()
    with pytest.raises(UnusableHeadersError, match="impossible difficulty"):
        load_headers(sandbox.headers().encode().splitlines())


@pytest.mark.parametrize(
    "faults",
    [
        CalendarFaults(down=True),
        CalendarFaults(status=503),
        CalendarFaults(garbage=True),
        CalendarFaults(oversize=True),
        CalendarFaults(truncated=True),
    ],
)
def test_a_calendar_that_misbehaves_gives_the_library_nothing(sandbox: CalendarSandbox, faults: CalendarFaults) -> None:
    sandbox.misbehave(faults, calendars=[0])
    with pytest.raises((OSError, ValueError, http.client.HTTPException, serialize.DeserializationError)):
        submit(sandbox)
    sandbox.heal()
    submit(sandbox)


def test_a_calendar_that_forgets_never_upgrades(sandbox: CalendarSandbox) -> None:
    _, remote, message = submit(sandbox)
    sandbox.forget([0])
    sandbox.mine()
    with pytest.raises(calendar.CommitmentNotFoundError):
        remote.get_timestamp(message)


def test_explorers_show_headers_that_hash_to_their_name(sandbox: CalendarSandbox) -> None:
    height = sandbox.height()
    name = fetch(f"{sandbox.explorers[0]}/block-height/{height}").decode()
    header = bytes.fromhex(fetch(f"{sandbox.explorers[0]}/block/{name}/header").decode())
    assert load_headers([b"%d %s" % (height, header.hex().encode())], network="regtest") == {height: header}
    with pytest.raises(urllib.error.HTTPError):
        fetch(f"{sandbox.explorers[0]}/block-height/{height + 1}")


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


def test_calendars_that_are_gone_are_told_apart_from_misuse(sandbox_directory: Path) -> None:
    with (
        start_calendar(sandbox_directory / "calendars-gone") as sandbox,
        pytest.raises(CalendarError, match="refused"),
    ):
        sandbox._ask("/nowhere", {})
    with pytest.raises(CalendarError, match="did not answer"):
        sandbox.mine()


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(NotAnnouncedError, match=r"No module named sandbox\.calendar\.nowhere"),
        announced("sandbox.calendar.nowhere", [], tmp_path),
    ):
        pytest.fail("it has started")
