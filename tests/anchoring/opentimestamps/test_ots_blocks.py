"""Where headers come from: the operator's file, whatever is in it, and explorers, whatever they say."""

from pathlib import Path

import httpx
import pytest

from ledger.anchoring.opentimestamps.blocks import HEADERS_KEPT, TrustedBlocks
from ledger.anchoring.opentimestamps.configuration import OpenTimestampsConfiguration
from sandbox.calendar import CalendarFaults
from tests.anchoring.opentimestamps.ots_under_test import Anchoring
from tests.verifier.opentimestamps import public_facts as facts


async def from_file(path: Path, height: int) -> bytes | None:
    configuration = OpenTimestampsConfiguration(name="one", calendars=(), minimum_calendars=1, headers=path)
    async with httpx.AsyncClient() as client:
        return await TrustedBlocks(configuration, client).header(height)


@pytest.mark.parametrize(
    "around",
    ["{line}", "# a comment\n\n  {line}", "000{line}", "1700 nonsense\n17 nonsense\n{line}", "{line}{line}"],
)
async def test_a_header_is_found_in_a_file_whatever_else_is_in_it(tmp_path: Path, around: str) -> None:
    (tmp_path / "headers.txt").write_text(around.format(line=facts.HEADERS.decode()))
    assert await from_file(tmp_path / "headers.txt", facts.HEIGHT) == facts.HEADER


@pytest.mark.parametrize(
    "content",
    [
        "",
        f"# {facts.HEADERS.decode()}",
        f"{facts.HEIGHT} {facts.HEADER.hex()[:-2]}\n",
        f"{facts.HEIGHT} {facts.HEADER[:-1].hex()}00\n",
        f"{facts.HEIGHT} {facts.HEADER.hex()} more\n",
        f"{facts.HEADERS.decode()}{facts.HEIGHT} {'00' * 80}\n",
        f"17{facts.HEIGHT} {facts.HEADER.hex()}\n",
    ],
    ids=["empty", "comment", "short", "without its work", "too much", "contradicted", "other height"],
)
async def test_a_file_that_does_not_show_a_sound_header_shows_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "headers.txt").write_text(content)
    assert await from_file(tmp_path / "headers.txt", facts.HEIGHT) is None


async def test_a_file_that_is_gone_shows_nothing(tmp_path: Path) -> None:
    assert await from_file(tmp_path / "headers.txt", facts.HEIGHT) is None


async def test_the_file_comes_before_the_explorers_and_they_fill_its_gaps(anchoring: Anchoring, tmp_path: Path) -> None:
    await anchoring.mine()
    *_, before, newest = anchoring.sandbox.headers().splitlines()
    (tmp_path / "headers.txt").write_text(f"{before}\n")
    async with httpx.AsyncClient() as client:
        blocks = TrustedBlocks(anchoring.configuration(headers=tmp_path / "headers.txt"), client)
        anchoring.sandbox.misbehave(CalendarFaults(down=True), explorers=[0, 1, 2])
        assert await blocks.header(int(before.split()[0])) == bytes.fromhex(before.split()[1])
        assert await blocks.header(int(newest.split()[0])) is None
        anchoring.sandbox.heal()
        assert await blocks.header(int(newest.split()[0])) == bytes.fromhex(newest.split()[1])


async def test_a_header_that_was_found_is_not_asked_for_again(anchoring: Anchoring) -> None:
    height = anchoring.sandbox.height()
    async with httpx.AsyncClient() as client:
        blocks = TrustedBlocks(anchoring.configuration(), client)
        found = await blocks.header(height)
        anchoring.sandbox.misbehave(CalendarFaults(down=True), explorers=[0, 1, 2])
        assert found is not None
        assert await blocks.header(height) == found


async def test_a_block_far_beyond_the_newest_is_not_there(anchoring: Anchoring) -> None:
    async with httpx.AsyncClient() as client:
        blocks = TrustedBlocks(anchoring.configuration(), client)
        for height in (anchoring.sandbox.height() + 1, 2**62):
            assert await blocks.header(height) is None


async def test_no_more_headers_are_kept_than_needed(tmp_path: Path) -> None:
    (tmp_path / "headers.txt").write_bytes(facts.HEADERS)
    configuration = OpenTimestampsConfiguration(
        name="one", calendars=(), minimum_calendars=1, headers=tmp_path / "headers.txt"
    )
    async with httpx.AsyncClient() as client:
        blocks = TrustedBlocks(configuration, client)
        blocks._kept = dict.fromkeys(range(1000, 1000 + HEADERS_KEPT), b"")
        assert await blocks.header(facts.HEIGHT) == facts.HEADER
        assert len(blocks._kept) == HEADERS_KEPT
