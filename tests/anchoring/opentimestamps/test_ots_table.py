"""The table in the authorities file: what it gives, and what it says about every mistake."""

from pathlib import Path
from typing import Any

import pytest

from ledger.anchoring.opentimestamps import OpenTimestampsConfiguration, OpenTimestampsTable
from ledger.anchoring.opentimestamps.configuration import PUBLIC_CALENDARS
from ledger.anchoring.table import TableProblem
from tests.verifier.opentimestamps import public_facts as facts

GOOD: dict[str, Any] = {
    "backend": "opentimestamps",
    "calendars": ["https://one.example", "https://two.example/"],
    "header_urls": ["https://explorer-one.example/api", "https://explorer-two.example/api/"],
}


def read(directory: Path, **changes: Any) -> OpenTimestampsConfiguration:
    content = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    return OpenTimestampsTable("bitcoin", content, directory=directory).read()


def test_a_table_gives_addresses_without_slashes_and_careful_defaults(tmp_path: Path) -> None:
    configuration = read(tmp_path)
    assert configuration.calendars == ("https://one.example", "https://two.example")
    assert configuration.header_urls == ("https://explorer-one.example/api", "https://explorer-two.example/api")
    assert (configuration.minimum_calendars, configuration.attestations, configuration.confirmations) == (2, 1, 6)
    assert (configuration.network, configuration.headers) == ("bitcoin", None)
    assert (configuration.first_look_seconds, configuration.look_seconds) == (600.0, 3600.0)
    assert (configuration.target.backend, configuration.target.authority) == ("opentimestamps", "bitcoin")


def test_the_preset_names_the_public_calendars_and_trusts_nobody(tmp_path: Path) -> None:
    assert read(tmp_path, calendars=None, preset="public").calendars == PUBLIC_CALENDARS
    with pytest.raises(TableProblem, match="no proof could ever be confirmed"):
        read(tmp_path, calendars=None, preset="public", header_urls=None)


def test_a_single_calendar_is_enough_if_the_operator_wants_it_so(tmp_path: Path) -> None:
    assert read(tmp_path, calendars=["http://127.0.0.1:14788"]).minimum_calendars == 1


def test_a_header_file_takes_the_place_of_explorers(tmp_path: Path) -> None:
    (tmp_path / "headers.txt").write_bytes(facts.HEADERS)
    configuration = read(tmp_path, header_urls=None, headers="headers.txt")
    assert configuration.headers == tmp_path / "headers.txt"
    assert configuration.header_urls == ()


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        ({"backend": "tezos"}, "backend", '"opentimestamps"'),
        ({"calendar": ["https://one.example"]}, "calendar", "unknown key"),
        ({"calendars": None}, "calendars", "missing"),
        ({"calendars": []}, "calendars", "at least one"),
        ({"calendars": "https://one.example"}, "calendars", "must be a list"),
        ({"calendars": [1]}, "calendars", "must be a list"),
        ({"calendars": [f"https://{n}.example" for n in range(9)]}, "calendars", "at most 8"),
        ({"calendars": ["https://one.example", "https://one.example/"]}, "calendars", "twice"),
        ({"calendars": ["http://one.example"]}, "calendars", "must begin with https://"),
        ({"calendars": ["ftp://one.example"]}, "calendars", "must begin with https://"),
        ({"calendars": ["https://name:word@one.example"]}, "calendars", "plain address"),
        ({"calendars": ["https://one.example/?a=b"]}, "calendars", "plain address"),
        ({"calendars": ["https://"]}, "calendars", "plain address"),
        ({"calendars": ["https://one.example:99999"]}, "calendars", "plain address"),
        ({"calendars": ["https://one.exa mple"]}, "calendars", "characters"),
        ({"calendars": ["https://öne.example"]}, "calendars", "characters"),
        ({"preset": "public"}, "calendars", "beside a preset"),
        ({"calendars": None, "preset": "private"}, "preset", "unknown"),
        ({"minimum_calendars": 3}, "minimum_calendars", "from 1 to 2"),
        ({"minimum_calendars": 0}, "minimum_calendars", "from 1 to 2"),
        ({"minimum_calendars": True}, "minimum_calendars", "whole number"),
        ({"attestations": 3}, "attestations", "from 1 to 2"),
        ({"attestations": 1.5}, "attestations", "whole number"),
        ({"header_urls": ["https://explorer.example"]}, "header_urls", "at least 2"),
        ({"header_urls": ["https://a.example/one", "https://a.example/two"]}, "header_urls", "different hosts"),
        ({"header_urls": None}, "header_urls", "missing"),
        ({"headers": "no-such-file"}, "headers", "cannot read"),
        ({"headers": 7}, "headers", "as text"),
        ({"headers": "broken.txt"}, "headers", "no file of block headers: line 1"),
        ({"headers": "\0"}, "headers", "cannot read"),
        ({"network": "testnet"}, "network", '"regtest"'),
        ({"network": ["bitcoin"]}, "network", '"regtest"'),
        ({"confirmations": 0}, "confirmations", "from 1"),
        ({"look_seconds": 0}, "look_seconds", "number from 0.1"),
        ({"look_seconds": float("nan")}, "look_seconds", "number from 0.1"),
        ({"resubmit_after_seconds": 10**9}, "resubmit_after_seconds", "number from 1"),
        ({"timeout_seconds": "15"}, "timeout_seconds", "number from 1"),
    ],
)
def test_a_mistake_is_told_with_its_key(tmp_path: Path, changes: dict[str, Any], key: str, says: str) -> None:
    (tmp_path / "broken.txt").write_text("not a header\n")
    with pytest.raises(TableProblem) as problem:
        read(tmp_path, **changes)
    assert any(line.startswith(f", {key}: ") and says in line for line in problem.value.lines), problem.value.lines


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(TableProblem) as problem:
        read(tmp_path, calendars=[], header_urls=None, network="x", confirmations="y")
    assert len(problem.value.lines) == 4
