"""The tables of a trust policy about public ledgers: Tezos and, for OpenTimestamps, Bitcoin."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from verifier.opentimestamps import BitcoinTrust, Network, UnusableHeadersError, read_headers
from verifier.policy_values import read_number, read_strings, read_text, require_known_members
from verifier.tezos import TezosTrust, base58
from verifier.tezos.block import HASH_BYTES
from verifier.tezos.keys import ADDRESS_BYTES, is_address
from verifier.tezos.nodes import MAX_NODES, parse_node
from verifier.tezos.trust import DEFAULT_CONFIRMATIONS

MAX_CONFIRMATIONS = 1_000_000
"""Two months of blocks. More is a mistake, not caution."""

DEFAULT_ENTRYPOINT = "anchor"
_TEZOS_MEMBERS = {
    "backend", "chain_id", "contracts", "entrypoint", "signers", "minimum_confirmations", "block_hashes", "nodes",
}  # fmt: skip
_OPENTIMESTAMPS_MEMBERS = {"backend", "headers", "network"}
_BITCOIN_NETWORKS: tuple[Network, ...] = ("bitcoin", "regtest")


def is_block_hash(text: str) -> bool:
    """Whether `text` is the hash of a Tezos block (B...)."""
    return base58.decode(text, base58.BLOCK_HASH, HASH_BYTES) is not None


def read_tezos(table: dict[str, Any], where: str) -> TezosTrust:
    """Read a table with backend "tezos"; raise ValueError with what is wrong."""
    require_known_members(table, _TEZOS_MEMBERS, where)
    chain_id = read_text(table, "chain_id", where)
    if chain_id is None or base58.decode(chain_id, base58.CHAIN_ID, base58.CHAIN_ID_BYTES) is None:
        raise ValueError(f"{where}.chain_id must name the network (Net...; the main one is NetXdQprcVkpaWU)")
    entrypoint = read_text(table, "entrypoint", where)
    nodes = read_strings(table, "nodes", where)
    names = [parse_node(node).name for node in nodes]
    if len(set(names)) != len(names) or len(names) > MAX_NODES:
        raise ValueError(f"{where}.nodes must be at most {MAX_NODES}, each on another host or port")
    return TezosTrust(
        chain_id=chain_id,
        contracts=_hashes(table, "contracts", where, _is_contract),
        entrypoint=DEFAULT_ENTRYPOINT if entrypoint is None else entrypoint,
        signers=_hashes(table, "signers", where, is_address),
        block_hashes=_hashes(table, "block_hashes", where, is_block_hash),
        minimum_confirmations=read_number(
            table, "minimum_confirmations", where, default=DEFAULT_CONFIRMATIONS, highest=MAX_CONFIRMATIONS
        ),
        nodes=tuple(nodes),
    )


def read_opentimestamps(table: dict[str, Any], where: str, folder: Path) -> BitcoinTrust:
    """Read a table with backend "opentimestamps" and the headers it names; raise ValueError with what is wrong."""
    require_known_members(table, _OPENTIMESTAMPS_MEMBERS, where)
    name = read_text(table, "headers", where)
    if name is None:
        raise ValueError(f"{where} names no file of block headers, so nothing of it could be trusted")
    stated = read_text(table, "network", where)
    network = next((known for known in _BITCOIN_NETWORKS if known == ("bitcoin" if stated is None else stated)), None)
    if network is None:
        raise ValueError(f'{where}.network must be "bitcoin", or "regtest" for tests only')
    try:
        return BitcoinTrust(headers=read_headers(folder / name, network=network), network=network)
    except (OSError, UnusableHeadersError) as error:
        raise ValueError(f"{where}.headers: {name}: {getattr(error, 'strerror', None) or error}") from error


def _hashes(table: dict[str, Any], name: str, where: str, is_one: Callable[[str], bool]) -> frozenset[str]:
    values = read_strings(table, name, where)
    for value in values:
        if not is_one(value):
            raise ValueError(f"{where}.{name}: {value!r:.100} is mistyped: its check digits do not fit")
    return frozenset(values)


def _is_contract(text: str) -> bool:
    return base58.decode(text, base58.CONTRACT, ADDRESS_BYTES) is not None
