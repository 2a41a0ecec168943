"""The tables of a trust policy about public ledgers: what they give, and every mistake that is refused."""

from pathlib import Path

import pytest

from tests.verifier.opentimestamps import public_facts as facts
from tests.verifier.tezos.forge import CONTRACT, NETWORK, Signer, block
from verifier.opentimestamps import BitcoinTrust
from verifier.policy import TrustPolicy, UnusablePolicyError, load_policy

HASH = block().document()["block_hash"]
SIGNER = Signer(0).address


def load(folder: Path, *lines: str) -> TrustPolicy:
    path = folder / "trust.toml"
    path.write_text("\n".join(['format = "indelible-trust/1"', "[authorities.one]", *lines]))
    (folder / "headers.txt").write_bytes(facts.HEADERS)
    return load_policy(path)


def tezos(folder: Path, *lines: str) -> TrustPolicy:
    return load(folder, 'backend = "tezos"', f'chain_id = "{NETWORK}"', *lines)


def test_a_tezos_table_gives_what_it_says_and_careful_defaults(tmp_path: Path) -> None:
    trust = tezos(tmp_path).tezos["one"]
    assert (trust.chain_id, trust.entrypoint, trust.minimum_confirmations) == (NETWORK, "anchor", 10)
    assert not trust.block_hashes
    trust = tezos(
        tmp_path,
        f'contracts = ["{CONTRACT}"]',
        f'signers = ["{SIGNER}"]',
        f'block_hashes = ["{HASH}"]',
        "minimum_confirmations = 2",
        'nodes = ["https://a.example", "https://b.example/rpc", "http://127.0.0.1:1"]',
    ).tezos["one"]
    assert (trust.contracts, trust.signers) == (frozenset({CONTRACT}), frozenset({SIGNER}))
    assert (trust.block_hashes, trust.minimum_confirmations, len(trust.nodes)) == (frozenset({HASH}), 2, 3)


def test_an_opentimestamps_table_reads_its_headers(tmp_path: Path) -> None:
    policy = load(tmp_path, 'backend = "opentimestamps"', 'headers = "headers.txt"')
    assert policy.bitcoin == {"one": BitcoinTrust(headers={facts.HEIGHT: facts.HEADER})}
    assert not policy.trusts_nobody


def test_the_backends_may_be_required(tmp_path: Path) -> None:
    path = tmp_path / "trust.toml"
    path.write_text('format = "indelible-trust/1"\nrequire_backends = ["tezos", "opentimestamps"]\n')
    assert load_policy(path).require_backends == ("tezos", "opentimestamps")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('roots = ["x.pem"]', "unknown"),
        ('contracts = ["KT1nonsense"]', "mistyped"),
        (f'contracts = ["{SIGNER}"]', "mistyped"),
        (f'signers = ["{CONTRACT}"]', "mistyped"),
        (f'block_hashes = ["{HASH[:-1]}"]', "mistyped"),
        (f'block_hashes = "{HASH}"', "list of strings"),
        ("entrypoint = 1", "must be a string"),
        ("minimum_confirmations = 0", "number from 1"),
        ("minimum_confirmations = true", "number from 1"),
        ('nodes = ["http://node.example"]', "must begin with https"),
        ('nodes = ["https://a.example", "https://A.example:443/x"]', "another host or port"),
        (f"nodes = {[f'https://{number}.example' for number in range(17)]}", "at most 16"),
    ],
)
def test_a_mistake_in_a_tezos_table_is_refused_with_its_place(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(UnusablePolicyError, match=complaint) as caught:
        tezos(tmp_path, line)
    assert "authorities.one" in str(caught.value) or "node" in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (['backend = "tezos"'], "chain_id"),
        (['backend = "tezos"', 'chain_id = "NetXdQprcVkpaWu"'], "chain_id"),
        (['backend = "opentimestamps"'], "no file of block headers"),
        (['backend = "opentimestamps"', 'headers = "missing.txt"'], "No such file"),
        (['backend = "opentimestamps"', 'headers = "trust.toml"'], "line 1"),
        (['backend = "opentimestamps"', 'headers = "."'], "headers"),
        (['backend = "opentimestamps"', 'headers = "headers.txt"', "nodes = []"], "unknown"),
        (['backend = "ethereum"'], "this program can verify"),
        (["backend = 1"], "this program can verify"),
    ],
)
def test_an_unusable_table_is_refused(tmp_path: Path, lines: list[str], complaint: str) -> None:
    with pytest.raises(UnusablePolicyError, match=complaint):
        load(tmp_path, *lines)
