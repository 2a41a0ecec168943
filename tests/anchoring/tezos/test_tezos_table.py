import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ledger.anchoring.authorities import AuthoritiesError, load_authorities
from ledger.anchoring.table import TableProblem
from ledger.anchoring.tezos import LocalKey, RemoteKey
from ledger.anchoring.tezos.commands import tezos
from ledger.anchoring.tezos.originate import contract_source
from ledger.anchoring.tezos.table import TezosTable
from sandbox.authorities import Authorities
from sandbox.database import Database
from verifier.tezos import base58

SECRET = base58.encode(bytes([13, 15, 58, 7]), secrets.token_bytes(32))
CONTRACT = base58.encode(base58.CONTRACT, bytes(20))
GOOD: dict[str, Any] = {
    "backend": "tezos",
    "chain_id": "NetXdQprcVkpaWU",
    "contract": CONTRACT,
    "nodes": ["https://one.example.com", "https://two.example.com/rpc"],
    "key_variable": "ANCHOR_KEY",
}


def read(tmp_path: Path, **changes: Any) -> Any:
    content = {key: value for key, value in (GOOD | changes).items() if value is not None}
    return TezosTable("tezos", content, directory=tmp_path, environ={"ANCHOR_KEY": SECRET}).read()


def test_a_table_is_read_with_a_key_from_the_environment_a_file_or_a_remote_signer(tmp_path: Path) -> None:
    assert read(tmp_path).key == LocalKey(secret=SECRET)
    (tmp_path / "key").write_text(f"{SECRET}\n")
    assert read(tmp_path, key_variable=None, key_file="key").key == LocalKey(secret=SECRET)
    remote = {"remote_signer": "http://127.0.0.1:6732", "address": "tz1burnburnburnburnburnburnburjAYjjX"}
    assert read(tmp_path, key_variable=None, **remote).key == RemoteKey(
        url=remote["remote_signer"], address=remote["address"]
    )


def test_a_remote_signer_may_want_to_know_who_asks(tmp_path: Path) -> None:
    remote = {"remote_signer": "http://127.0.0.1:6732", "address": "tz1burnburnburnburnburnburnburjAYjjX"}
    (tmp_path / "key").write_text(f"{SECRET}\n")
    for key, value in (("authentication_key_file", "key"), ("authentication_key_variable", "ANCHOR_KEY")):
        configured = read(tmp_path, key_variable=None, **remote, **{key: value}).key
        assert configured.authentication == SECRET
        assert SECRET not in repr(configured)


def test_a_secret_does_not_show_when_a_configuration_is_printed(tmp_path: Path) -> None:
    assert SECRET not in repr(read(tmp_path))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"backend": "rfc3161"}, 'must be "tezos"'),
        ({"chain_id": "NetXdQprcVkpaWV"}, "chain_id: missing or mistyped"),
        ({"contract": "tz1burnburnburnburnburnburnburjAYjjX"}, "contract: missing or mistyped"),
        ({"contract": None}, "contract: missing or mistyped"),
        ({"nodes": ["https://one.example.com"]}, "at least 2 nodes"),
        ({"nodes": ["https://one.example.com", "https://one.example.com/other"]}, "at least 2 nodes"),
        ({"nodes": ["http://one.example.com", "https://two.example.com"]}, "must begin with https://"),
        ({"nodes": "https://one.example.com"}, "must be a list"),
        ({"key_variable": "OTHER"}, "cannot be read"),
        ({"key_variable": None}, "exactly one of"),
        ({"key_file": "key"}, "exactly one of"),
        ({"key_variable": None, "key_file": "missing"}, "cannot be read"),
        ({"key_variable": None, "remote_signer": "https://signer.example.com"}, "address: missing"),
        ({"address": "tz1burnburnburnburnburnburnburjAYjjX"}, "only for a remote signer"),
        ({"key_variable": None, "remote_signer": 3}, "remote_signer: must be a text"),
        ({"authentication_key_variable": "ANCHOR_KEY"}, "only for a remote signer"),
        (
            {"key_variable": None, "remote_signer": "https://s.example.com", "authentication_key_file": "missing"},
            "authentication_key_file: 'missing' cannot be read",
        ),
        (
            {
                "key_variable": None,
                "remote_signer": "https://s.example.com",
                "authentication_key_file": "missing",
                "authentication_key_variable": "ANCHOR_KEY",
            },
            "given beside authentication_key_file",
        ),
        ({"confirmations": 1}, "from 2 to 500"),
        ({"confirmations": 10.5}, "whole number"),
        ({"confirmations": True}, "whole number"),
        ({"maximum_heads": 0}, "from 1 to"),
        ({"maximum_wait_seconds": -1}, "from 0 to"),
        ({"unknown": 1}, "unknown key"),
    ],
)
def test_a_table_that_cannot_work_is_refused_with_its_key(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(TableProblem) as caught:
        read(tmp_path, **changes)
    assert text in "\n".join(caught.value.lines)


def test_the_command_prints_the_contract() -> None:
    assert CliRunner().invoke(tezos, ["contract"]).output == contract_source()


def test_originating_without_a_key_says_how_to_give_one() -> None:
    result = CliRunner().invoke(tezos, ["originate", "--node", "http://127.0.0.1:9"], env={"TEZOS_KEY": ""})
    assert result.exit_code == 2
    assert "--key-file" in result.output


@pytest.mark.parametrize(
    ("node", "key", "text"),
    [
        ("http://127.0.0.1:9", "edesk1xyz", "encrypted"),
        ("http://127.0.0.1:9", "nonsense", "not an unencrypted Tezos secret key"),
        ("http://example.com", SECRET, "must begin with https://"),
        ("http://127.0.0.1:9", SECRET, "Error: "),
    ],
    # The secret is another in every process, and tests that several processes share need the same names in each.
    ids=["encrypted", "nonsense", "unencrypted-node", "no-node"],
)
def test_originating_that_cannot_work_ends_with_one_clear_line(node: str, key: str, text: str) -> None:
    result = CliRunner().invoke(tezos, ["originate", "--node", node], env={"TEZOS_KEY": key})
    assert result.exit_code == 1
    assert text in result.output
    assert len(result.output.splitlines()) == 1


async def test_an_authorities_file_may_name_both_kinds(
    tmp_path: Path, authorities: Authorities, database: Database
) -> None:
    table = "\n".join(f"{key} = {json.dumps(value)}" for key, value in GOOD.items())
    path = tmp_path / "authorities.toml"
    path.write_text(f"{authorities.one.configuration()}\n[authorities.tezos]\n{table}\n")
    loaded = load_authorities(path, worker_dsn=database.worker_dsn, environ={"ANCHOR_KEY": SECRET})
    assert {(target.backend, target.authority) for target in loaded.targets} == {
        ("rfc3161", "sandbox-one"),
        ("tezos", "tezos"),
    }
    async with loaded.open_backends() as backends:
        assert {backend.target for backend in backends} == set(loaded.targets)


def test_the_problems_of_a_tezos_table_are_told_with_the_file_and_the_table(tmp_path: Path) -> None:
    path = tmp_path / "authorities.toml"
    path.write_text('[authorities.tezos]\nbackend = "tezos"\n')
    with pytest.raises(AuthoritiesError, match=r"\[authorities.tezos\], contract: missing"):
        load_authorities(path)
