"""One [authorities.NAME] table with `backend = "tezos"`, read key by key; every problem is kept and told at once.

[authorities.tezos]
backend = "tezos"
chain_id = "NetXdQprcVkpaWU"
contract = "KT1..."
nodes = ["https://node-one.example.com", "https://node-two.example.com"]
key_file = "anchor-key"                 # or key_variable, or remote_signer with address
"""

from collections.abc import Mapping
from pathlib import Path

from ledger.anchoring.table import Table
from ledger.anchoring.tezos.configuration import (
    BACKEND,
    DEFAULT_CONFIRMATIONS,
    DEFAULT_MAXIMUM_FEE,
    DEFAULT_MAXIMUM_HEADS,
    DEFAULT_MAXIMUM_WAIT_SECONDS,
    DEFAULT_POLL_SECONDS,
    LocalKey,
    RemoteKey,
    TezosConfiguration,
)
from ledger.anchoring.tezos.keys import MAX_KEY_FILE_BYTES, LocalSigner
from ledger.anchoring.tezos.sending import AGREEING_NODES
from verifier.tezos import base58
from verifier.tezos.keys import ADDRESS_BYTES, is_address
from verifier.tezos.nodes import parse_node

MAX_NODES = 8
MAX_CONFIRMATIONS = 500
MAX_WAIT_SECONDS = 86_400
MAX_HEADS = 100_000  # one batch is formed in one transaction, in about a second
MAX_FEE = 1_000_000
_KEYS = frozenset(
    {
        "backend",
        "chain_id",
        "contract",
        "nodes",
        "key_file",
        "key_variable",
        "remote_signer",
        "address",
        "authentication_key_file",
        "authentication_key_variable",
        "confirmations",
        "maximum_wait_seconds",
        "maximum_heads",
        "maximum_fee_mutez",
        "poll_seconds",
    }
)
_SIGNER_KEYS = ("key_file", "key_variable", "remote_signer")
_AUTHENTICATION_KEYS = ("authentication_key_file", "authentication_key_variable")


class TezosTable(Table):
    """Reads one table. `directory` is where relative paths begin; `environ` holds what `key_variable` may name."""

    def __init__(
        self, name: str, content: Mapping[str, object], *, directory: Path, environ: Mapping[str, str]
    ) -> None:
        super().__init__(name, content, directory=directory)
        self._environ = environ

    def read(self) -> TezosConfiguration:
        """The configuration. Raises TableProblem with everything that is wrong."""
        self._require_known_keys(_KEYS)
        if self._content.get("backend") != BACKEND:
            self._note("backend", f'must be "{BACKEND}"')
        configuration = TezosConfiguration(
            name=self._name,
            chain_id=self._hash("chain_id", base58.CHAIN_ID, base58.CHAIN_ID_BYTES, "NetXdQprcVkpaWU"),
            contract=self._hash("contract", base58.CONTRACT, ADDRESS_BYTES, "KT1..."),
            nodes=self._nodes(),
            key=self._key(),
            confirmations=self._number("confirmations", DEFAULT_CONFIRMATIONS, 2, MAX_CONFIRMATIONS),
            maximum_wait_seconds=self._number(
                "maximum_wait_seconds", DEFAULT_MAXIMUM_WAIT_SECONDS, 0.0, MAX_WAIT_SECONDS
            ),
            maximum_heads=self._number("maximum_heads", DEFAULT_MAXIMUM_HEADS, 1, MAX_HEADS),
            maximum_fee=self._number("maximum_fee_mutez", DEFAULT_MAXIMUM_FEE, 100, MAX_FEE),
            poll_seconds=self._number("poll_seconds", DEFAULT_POLL_SECONDS, 0.1, 600.0),
        )
        self._raise_problems()
        return configuration

    def _hash(self, key: str, prefix: bytes, length: int, example: str) -> str:
        value = self._content.get(key)
        if not isinstance(value, str) or base58.decode(value, prefix, length) is None:
            self._note(key, f'missing or mistyped; it looks like "{example}"')
            return ""
        return value

    def _nodes(self) -> tuple[str, ...]:
        value = self._content.get("nodes")
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or len(value) > MAX_NODES:
            self._note("nodes", f"must be a list of {AGREEING_NODES} to {MAX_NODES} addresses of nodes")
            return ()
        names: set[str] = set()
        for address in value:
            try:
                names.add(parse_node(address).name)
            except ValueError as error:
                self._note("nodes", str(error))
        if len(names) < AGREEING_NODES or len(names) < len(value):
            self._note("nodes", f"must name at least {AGREEING_NODES} nodes, all on different hosts or ports")
        return tuple(value)

    def _key(self) -> LocalKey | RemoteKey:
        nothing = LocalKey(secret="")
        given = [key for key in _SIGNER_KEYS if key in self._content]
        if len(given) != 1:
            self._note("key_file", f"give exactly one of {', '.join(_SIGNER_KEYS)}")
            return nothing
        if given[0] == "remote_signer":
            return self._remote(self._content["remote_signer"])
        for key in ("address", *_AUTHENTICATION_KEYS):
            if key in self._content:
                self._note(key, "is only for a remote signer")
        return LocalKey(secret=self._secret(given[0]))

    def _secret(self, key: str) -> str:
        """The secret key that `key`, the name of a file or of a variable, leads to."""
        value = self._content[key]
        if not isinstance(value, str) or not value:
            self._note(key, "must be a text")
            return ""
        secret = self._read_file(value) if key.endswith("_file") else self._environ.get(value)
        if secret is None:
            self._note(key, f"{value!r} cannot be read; is the name right?")
            return ""
        try:
            LocalSigner(secret)
        except ValueError as error:
            self._note(key, f"holds no usable key: {error}")
        return secret

    def _remote(self, url: object) -> RemoteKey:
        if not isinstance(url, str) or not url:
            self._note("remote_signer", "must be a text")
            url = ""
        address = self._content.get("address")
        if not isinstance(address, str) or not is_address(address) or address.startswith("tz4"):
            self._note(
                "address", "missing or mistyped; give the account (tz1, tz2 or tz3) that the remote signer keeps"
            )
            address = ""
        try:
            parse_node(url)
        except ValueError as error:
            self._note("remote_signer", str(error))
        given = [key for key in _AUTHENTICATION_KEYS if key in self._content]
        if len(given) > 1:
            self._note(given[1], f"is given beside {given[0]}; leave one of them out")
        return RemoteKey(url=url, address=address, authentication=self._secret(given[0]) if given else "")

    def _read_file(self, name: str) -> str | None:
        try:
            with (self._directory / name).open("rb") as file:
                return file.read(MAX_KEY_FILE_BYTES).decode("ascii").strip()
        except (OSError, ValueError):
            return None
