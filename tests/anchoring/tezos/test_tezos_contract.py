import importlib
import secrets

import pytest

from ledger.anchoring.tezos.originate import contract_source
from tests.anchoring.tezos.tezos_under_test import require_pytezos

UNIT = {"prim": "Unit"}


def run(value: bytes, entrypoint: str = "anchor") -> tuple[list[dict[str, object]], object, object]:
    require_pytezos()
    repl = importlib.import_module("pytezos.michelson.repl")
    parse = importlib.import_module("pytezos.michelson.parse")
    code = parse.michelson_to_micheline(contract_source())
    operations, storage, _, _, failure = repl.Interpreter.run_code({"bytes": value.hex()}, UNIT, code, entrypoint)
    return operations, storage, failure


def test_the_contract_emits_a_32_byte_digest_and_keeps_nothing() -> None:
    digest = secrets.token_bytes(32)
    operations, storage, failure = run(digest)
    assert failure is None
    assert storage == UNIT
    assert [(event["kind"], event["tag"], event["payload"]) for event in operations] == [
        ("event", "anchor", {"bytes": digest.hex()})
    ]


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64, 1000])
def test_the_contract_refuses_any_other_length(length: int) -> None:
    operations, _, failure = run(bytes(length))
    assert "not 32 bytes" in str(failure)
    assert operations == []
