"""What a node answers: the part of the RPC that pytezos and the ledger use, from `sandbox.tezos.network`."""

import re
from datetime import UTC, datetime
from typing import Any

from sandbox.tezos.block import MadeBlock
from sandbox.tezos.network import PROTOCOL, Network
from sandbox.tezos.operations import MalformedOperationError, SignedOperation
from sandbox.tezos.state import Account, RefusedOperationError, apply_operation

_BLOCK_ID = re.compile(r"(head|genesis|B[1-9A-HJ-NP-Za-km-z]{50}|[0-9]{1,9})([~-]([0-9]{1,9}))?")
_CONSTANTS = {
    "hard_gas_limit_per_operation": "1040000",
    "hard_gas_limit_per_block": "1040000",
    "hard_storage_limit_per_operation": "60000",
    "cost_per_byte": "250",
    "origination_size": 257,
    "minimal_block_delay": "1",
    "delay_increment_per_round": "1",
}
_VERSION = {
    "version": {"major": 24, "minor": 0, "build": 0, "additional_info": "release"},
    "network_version": {"chain_name": "SANDBOXED_TEZOS", "distributed_db_version": 2, "p2p_version": 1},
}
_FILTER = {
    "minimal_fees": "100",
    "minimal_nanotez_per_gas_unit": ["100", "1"],
    "minimal_nanotez_per_byte": ["1000", "1"],
}


class NotServedError(LookupError):
    """The node has nothing at this path."""


class RpcProblemError(Exception):
    """The node refuses; `errors` is its answer, with status 500 as nodes do."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__(str(errors))
        self.errors = errors


class NodeRpc:
    """The RPC of one node. Raises NotServedError and RpcProblemError."""

    def __init__(self, network: Network, node: int) -> None:
        self._network = network
        self._node = node

    def get(self, path: str) -> Any:
        """Answer a GET."""
        with self._network.lock:
            parts = path.strip("/").split("/")
            match parts:
                case ["version"]:
                    return _VERSION
                case ["chains", "main", "chain_id"]:
                    wrong = self._network.nodes[self._node].faults.wrong_chain
                    return "NetXdQprcVkpaWU" if wrong else self._network.chain_id
                case ["chains", "main", "mempool", "filter"]:
                    return _FILTER
                case ["chains", "main", "mempool", "pending_operations"]:
                    return self._pending()
                case ["chains", "main", "blocks", which, *rest]:
                    return self._block(self._find(which), rest)
            raise NotServedError(path)

    def post(self, path: str, body: Any) -> Any:
        """Answer a POST."""
        with self._network.lock:
            match path.strip("/").split("/"):
                case ["injection", "operation"]:
                    return self._inject(body)
                case ["chains", "main", "blocks", which, "helpers", "scripts", "run_operation" | "simulate_operation"]:
                    return self._run(self._find(which), body)
                case ["chains", "main", "blocks", which, "context", "contracts", address, "script", "normalized"]:
                    return self._contract(self._find(which), address, ["script"])
            raise NotServedError(path)

    def _find(self, which: str) -> MadeBlock:
        matched = _BLOCK_ID.fullmatch(which)
        if matched is None:
            raise NotServedError(which)
        name, _, back = matched.groups()
        head = self._network.head(self._node)
        found: MadeBlock | None
        if name == "head":
            found = head
        elif name == "genesis":
            found = self._network.blocks[self._network.genesis]
        elif name.isdigit():
            found = self._network.ancestor(head, int(name))
        else:
            found = self._network.blocks.get(name)
        if found is not None and back:
            found = self._network.ancestor(found, found.level - int(back))
        if found is None:
            raise NotServedError(which)
        return found

    def _block(self, block: MadeBlock, rest: list[str]) -> Any:
        match rest:
            case ["operations" | "operation_hashes" as which, *places]:
                found: Any = self._operations(block) if which == "operations" else _operation_hashes(block)
                for place in places:
                    found = found[int(place)]
                return found
            case ["context", "constants"]:
                return _CONSTANTS | {"max_operations_time_to_live": self._network.ttl}
            case ["context", "contracts", address, *what]:
                return self._contract(block, address, what)
        named = {"protocol": PROTOCOL, "chain_id": self._network.chain_id, "hash": block.hash}
        protocols = {"protocol": PROTOCOL, "next_protocol": PROTOCOL}
        shell = self._header(block)
        answers: dict[str, Any] = {
            "": {**named, "header": shell, "metadata": protocols, "operations": self._operations(block)},
            "hash": block.hash,
            "header": {**named, **shell},
            "header/raw": block.header.hex(),
            "header/shell": shell,
            "protocols": protocols,
        }
        if "/".join(rest) not in answers:
            raise NotServedError("/".join(rest))
        return answers["/".join(rest)]

    def _header(self, block: MadeBlock) -> dict[str, Any]:
        return {
            "level": block.level,
            "proto": 24,
            "predecessor": block.predecessor,
            "timestamp": datetime.fromtimestamp(block.time, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "validation_pass": 4,
            "operations_hash": block.operations_hash,
        }

    def _operations(self, block: MadeBlock) -> list[list[dict[str, Any]]]:
        return [
            [{"protocol": PROTOCOL, "chain_id": self._network.chain_id, **document} for _, _, document in pass_]
            for pass_ in block.operations
        ]

    def _contract(self, block: MadeBlock, address: str, what: list[str]) -> Any:
        if address.startswith("KT1"):
            contract = block.state.contracts.get(address)
            if contract is None:
                raise NotServedError(address)
            script = {"code": contract.code, "storage": contract.storage}
            answers: dict[str, Any] = {
                "": {"balance": "0", "script": script},
                "script": script,
                "storage": contract.storage,
                "balance": "0",
                "entrypoints": {"entrypoints": {}},
            }
        else:
            account = block.state.accounts.get(address, Account(balance=0))
            answers = {
                "": {"balance": str(account.balance), "counter": str(account.counter)},
                "counter": str(account.counter),
                "manager_key": account.key,
                "balance": str(account.balance),
            }
        if "/".join(what) not in answers:
            raise NotServedError("/".join(what))
        return answers["/".join(what)]

    def _pending(self) -> dict[str, list[Any]]:
        held = [operation.document() for operation, _ in self._network.nodes[self._node].mempool.values()]
        empty: list[Any] = []
        return {
            "validated": held,
            "refused": empty,
            "outdated": empty,
            "branch_refused": empty,
            "branch_delayed": empty,
            "unprocessed": empty,
        }

    def _inject(self, body: Any) -> str:
        try:
            return self._network.inject(self._node, bytes.fromhex(body))
        except RefusedOperationError as error:
            raise RpcProblemError([{"kind": "temporary", "id": f"proto.024-PtTALLiN.{error.error_id}"}]) from None
        except (MalformedOperationError, TypeError, ValueError):
            raise RpcProblemError([{"kind": "permanent", "id": "node.prevalidation.parse_error"}]) from None

    def _run(self, block: MadeBlock, body: Any) -> dict[str, Any]:
        given = body["operation"]
        operation = SignedOperation(
            raw=repr(given).encode(),
            hash="",
            branch=given["branch"],
            contents=tuple(given["contents"]),
            signature=bytes(64),
            digest=bytes(32),
        )
        try:
            _, document = apply_operation(block.state, operation)
        except RefusedOperationError as error:
            raise RpcProblemError([{"kind": "temporary", "id": f"proto.024-PtTALLiN.{error.error_id}"}]) from None
        return {"contents": document["contents"]}


def _operation_hashes(block: MadeBlock) -> list[list[str]]:
    return [[hash_ for hash_, _, _ in pass_] for pass_ in block.operations]
