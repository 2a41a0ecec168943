"""Accounts and contracts, and what operations do to them. Contracts run in pytezos's interpreter."""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from pytezos.michelson.repl import Interpreter

from sandbox.tezos.operations import SignedOperation
from verifier.tezos import base58
from verifier.tezos.block import blake2b
from verifier.tezos.keys import ADDRESS_BYTES, is_signature, parse_public_key

# Round numbers near to what the main network charges. The interpreter measures nothing.
_MILLIGAS = {"reveal": 170_000, "transaction": 1_300_000, "origination": 700_000}
_BYTE_COST = 250  # millionths of a tez
_ORIGINATION_BYTES = 257
_MUTEZ_PER_TEZ = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """An account's balance (millionths of a tez), last used counter and, once revealed, key."""

    balance: int
    counter: int = 1
    key: str | None = None
    fees_paid: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """An originated contract, in Micheline."""

    code: Any
    storage: Any


@dataclass(frozen=True, kw_only=True)
class State:
    """The context after a block."""

    accounts: dict[str, Account] = field(default_factory=dict)
    contracts: dict[str, Contract] = field(default_factory=dict)


class RefusedOperationError(ValueError):
    """The operation may not enter a block now. `error_id` as the protocol would name it."""

    def __init__(self, error_id: str, *, for_good: bool) -> None:
        super().__init__(error_id)
        self.error_id = error_id
        self.for_good = for_good


def check_signature(state: State, operation: SignedOperation) -> None:
    """Raises RefusedOperationError unless the source's key signed it."""
    first = operation.contents[0]
    text = state.accounts.get(first["source"], Account(balance=0)).key or first.get("public_key", "")
    key = parse_public_key(text)
    if key is None:
        raise RefusedOperationError("contract.unrevealed_key", for_good=True)
    if key.address != first["source"] or not is_signature(key, operation.signature, operation.digest):
        raise RefusedOperationError("operation.invalid_signature", for_good=True)


def apply_operation(state: State, operation: SignedOperation) -> tuple[State, dict[str, Any]]:
    """The state after an operation, and its document with results. Raises RefusedOperationError."""
    document = operation.document()
    source = operation.contents[0]["source"]
    account = state.accounts.get(source, Account(balance=0))
    fee = sum(int(content["fee"]) for content in operation.contents)
    for place, content in enumerate(operation.contents, start=1):
        if content["source"] != source:
            raise RefusedOperationError("inconsistent_sources", for_good=True)
        if int(content["counter"]) != account.counter + place:
            past = int(content["counter"]) <= account.counter
            raise RefusedOperationError(f"contract.counter_in_the_{'past' if past else 'future'}", for_good=past)
    if fee > account.balance:
        raise RefusedOperationError("contract.balance_too_low", for_good=False)
    account = replace(
        account,
        balance=account.balance - fee,
        fees_paid=account.fees_paid + fee,
        counter=account.counter + len(operation.contents),
    )
    # Fees and counters are spent whatever happens next, as on the real network.
    spent = replace(state, accounts={**state.accounts, source: account})
    result_state, failed = spent, False
    originations = 0
    for content in document["contents"]:
        if failed:
            content["metadata"] = {"balance_updates": [], "operation_result": {"status": "skipped"}}
            continue
        result_state, content["metadata"] = _run(
            result_state, content, blake2b(operation.raw) + originations.to_bytes(4)
        )
        originations += content["kind"] == "origination"
        failed = content["metadata"]["operation_result"]["status"] != "applied"
    return (spent if failed else result_state), document


def _run(state: State, content: dict[str, Any], nonce: bytes) -> tuple[State, dict[str, Any]]:
    milligas = _MILLIGAS[content["kind"]]
    result: dict[str, Any] = {"status": "applied", "consumed_milligas": str(milligas)}
    metadata: dict[str, Any] = {"balance_updates": [], "operation_result": result}
    if int(content["gas_limit"]) * 1000 < milligas:
        result |= {"status": "failed", "errors": [_error("gas_exhausted.operation")]}
        return state, metadata
    if content["kind"] == "reveal":
        account = replace(state.accounts[content["source"]], key=content["public_key"])
        return replace(state, accounts={**state.accounts, content["source"]: account}), metadata
    if content["kind"] == "origination":
        # As the protocol names contracts: the operation's hash, and which of its originations it is.
        address = base58.encode(base58.CONTRACT, hashlib.blake2b(nonce, digest_size=ADDRESS_BYTES).digest())
        script = content["script"]
        size = len(str(script))
        result |= {
            "originated_contracts": [address],
            "storage_size": str(size),
            "paid_storage_size_diff": str(size),
        }
        account = state.accounts[content["source"]]
        account = replace(account, balance=account.balance - (size + _ORIGINATION_BYTES) * _BYTE_COST)
        contract = Contract(code=script["code"], storage=script["storage"])
        return (
            replace(
                state,
                accounts={**state.accounts, content["source"]: account},
                contracts={**state.contracts, address: contract},
            ),
            metadata,
        )
    return _transfer(state, content, metadata)


def _transfer(state: State, content: dict[str, Any], metadata: dict[str, Any]) -> tuple[State, dict[str, Any]]:
    result, destination, amount = metadata["operation_result"], content["destination"], int(content["amount"])
    source = state.accounts[content["source"]]
    if amount > source.balance:
        result |= {"status": "failed", "errors": [_error("contract.balance_too_low")]}
        return state, metadata
    accounts = {**state.accounts, content["source"]: replace(source, balance=source.balance - amount)}
    if not destination.startswith("KT1"):
        receiver = accounts.get(destination, Account(balance=0))
        accounts[destination] = replace(receiver, balance=receiver.balance + amount)
        return replace(state, accounts=accounts), metadata
    contract = state.contracts.get(destination)
    if contract is None:
        result |= {"status": "failed", "errors": [_error("contract.non_existing_contract")]}
        return state, metadata
    parameters = content.get("parameters", {"entrypoint": "default", "value": {"prim": "Unit"}})
    try:
        operations, storage, _, _, failure = Interpreter.run_code(
            parameters["value"],
            contract.storage,
            contract.code,
            entrypoint=parameters["entrypoint"],
            amount=amount,
            source=content["source"],
            sender=content["source"],
        )
    except Exception as error:  # noqa: BLE001  # the interpreter raises many kinds on a parameter of a wrong type
        operations, storage, failure = [], None, error
    if failure is not None:
        errors = [_error("michelson_v1.runtime_error"), _error("michelson_v1.script_rejected")]
        result |= {"status": "failed", "errors": errors}
        return state, metadata
    result["storage"] = storage
    events = [operation for operation in operations if operation["kind"] == "event"]
    metadata["internal_operation_results"] = [
        {
            "kind": "event",
            "source": destination,
            "nonce": nonce,
            "type": event["event_type"],
            "tag": event["tag"],
            "payload": event["payload"],
            "result": {"status": "applied", "consumed_milligas": "100000"},
        }
        for nonce, event in enumerate(events)
    ]
    contracts = {**state.contracts, destination: replace(contract, storage=storage)}
    return replace(state, accounts=accounts, contracts=contracts), metadata


def _error(error_id: str) -> dict[str, str]:
    return {"kind": "temporary", "id": f"proto.024-PtTALLiN.{error_id}"}


def genesis_state(funded: str, tez: int) -> State:
    """The state of a new network, in which one account has everything."""
    return State(accounts={funded: Account(balance=tez * _MUTEZ_PER_TEZ)})
