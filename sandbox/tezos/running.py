"""Starting, moving and describing the network, from the side of whoever needs it."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.announced import Announced, NotAnnouncedError
from sandbox.doors import NotDoneError, ask
from sandbox.tezos.account import ADDRESS, SECRET
from sandbox.tezos.faults import NodeFaults

DEFAULT_TTL = 600


class TezosError(RuntimeError):
    """The local network could not be started or moved; the text says why."""


class TezosMissingError(TezosError):
    """This machine lacks what the local network needs; the text says what. Everything else can do without it."""


class TezosSandbox:
    """A network in a process of its own: addresses of its `nodes`, its `chain_id`, and an account with funds.

    `contract` is the address of the contract, empty when the network was launched without it. A block is made every
    `block_seconds` while something is going on, and the network is the same again after a restart; with 0, a block is
    made only by `bake`, and the network is a new one each time. Its log, and the blocks, are in `directory`.
    """

    secret = SECRET
    address = ADDRESS

    def __init__(
        self, directory: Path, *, block_seconds: float = 0.0, ttl: int = DEFAULT_TTL, with_contract: bool = False
    ) -> None:
        self.nodes: tuple[str, ...] = ()
        self.chain_id = ""
        self.contract = ""
        self._directory = directory.resolve()
        self._options = [str(block_seconds), str(ttl), *(["with-contract"] if with_contract else [])]
        self._control = ""
        self._process: Announced | None = None

    def launch(self) -> None:
        """Start the process; `wait_ready` must follow. Others can start in the meantime."""
        self._process = Announced("sandbox.tezos", [str(self._directory), *self._options], self._directory)

    def wait_ready(self) -> None:
        """Wait until every node answers. Raises TezosError, or TezosMissingError, and ends the process otherwise."""
        if self._process is None:
            raise TezosError("the local Tezos network was not launched")
        try:
            ready = self._process.wait_ready()
        except NotAnnouncedError as error:
            self.stop()
            raise TezosError(f"the local Tezos network did not start; its log ends with:\n{error}") from error
        if "missing" in ready:
            self.stop()
            raise TezosMissingError(f"the local Tezos network needs {ready['missing']}")
        self.nodes = tuple(ready["nodes"])
        self.chain_id, self.contract, self._control = ready["chain_id"], ready["contract"], ready["control"]

    def stop(self) -> None:
        """End the process. Does nothing when it has ended."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    @property
    def process_id(self) -> int | None:
        """The network's process, or None while it is stopped."""
        return self._process.process_id if self._process else None

    def bake(self, count: int = 1, *, nodes: Sequence[int] | None = None, empty: bool = False) -> None:
        """Add blocks; for `nodes` only, these go on without the others."""
        self._do("/bake", {"count": count, "nodes": nodes, "empty": empty})

    def reorganise(self, depth: int, *, lose_operations: bool = False) -> None:
        """Replace the newest `depth` blocks by others without our operations, which wait again or are lost."""
        self._do("/reorganise", {"depth": depth, "lose_operations": lose_operations})

    def misbehave(self, faults: NodeFaults, *, nodes: Sequence[int]) -> None:
        """Let `nodes` do what `faults` says from now on."""
        self._do("/faults", {"nodes": list(nodes), "faults": dataclasses.asdict(faults)})

    def heal(self) -> None:
        """End all faults; every node follows the longest chain."""
        self._do("/heal", {})

    def status(self) -> dict[str, Any]:
        """Heads, pools, accounts, and the operations on the first node's chain."""
        status: dict[str, Any] = _told(f"{self._control}/status")
        return status

    def configuration(self, name: str, contract: str, key_file: Path, **members: float) -> str:
        """The table for the ledger's authorities file (TOML); writes the account's secret to `key_file`.

        `members` are further ones of the table, such as `confirmations`.
        """
        key_file.write_text(f"{self.secret}\n", encoding="ascii")
        key_file.chmod(0o600)
        table: dict[str, object] = {
            "backend": "tezos",
            "chain_id": self.chain_id,
            "contract": contract,
            "nodes": list(self.nodes),
            "key_file": str(key_file),
            **members,
        }
        return _toml_table(name, table)

    def trust(self, name: str, contract: str, *, block_hashes: Sequence[str] = ()) -> str:
        """The table for a verifier's trust policy (TOML): network, contract, account, nodes and known blocks."""
        table: dict[str, object] = {
            "backend": "tezos",
            "chain_id": self.chain_id,
            "contracts": [contract],
            "signers": [self.address],
            "nodes": list(self.nodes),
            "block_hashes": list(block_hashes),
        }
        return _toml_table(name, table)

    def block_hash(self, level: int) -> str:
        """The hash of the block at `level`, which every node must say alike. Raises TezosError."""
        found = {_told(f"{node}/chains/main/blocks/{level}/hash") for node in self.nodes}
        if len(found) != 1:
            raise TezosError(f"the nodes of the local Tezos network do not agree on block {level}")
        return str(found.pop())

    def _do(self, path: str, body: dict[str, object]) -> None:
        _told(f"{self._control}{path}", body)


@contextlib.contextmanager
def start_tezos(directory: Path, *, ttl: int = DEFAULT_TTL) -> Iterator[TezosSandbox]:
    """Run a network with the contract until the block ends; blocks are made by `bake` only.

    Raises TezosError, or TezosMissingError, when it does not come up.
    """
    network = TezosSandbox(directory, ttl=ttl, with_contract=True)
    network.launch()
    try:
        network.wait_ready()
        yield network
    finally:
        network.stop()


def _told(url: str, order: Mapping[str, object] | None = None) -> Any:
    try:
        return json.loads(ask(url, order))
    except NotDoneError as error:
        raise TezosError(f"the local Tezos network {error}") from error


def _toml_table(name: str, members: Mapping[str, object]) -> str:
    # JSON texts, numbers and lists of texts are TOML as well.
    lines = [f"[authorities.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in members.items())]
    return "\n".join(lines) + "\n"
