import importlib
import secrets

import pytest

from ledger.anchoring.tezos.forge import Call, Limits, public_key_text
from ledger.anchoring.tezos.keys import LocalSigner
from tests.anchoring.tezos.tezos_under_test import require_pytezos
from verifier.tezos import base58
from verifier.tezos.operation import parse_operation

SECRETS = {"tz1": bytes([13, 15, 58, 7]), "tz2": bytes([17, 162, 224, 201]), "tz3": bytes([16, 81, 238, 189])}
BRANCH = secrets.token_bytes(32)
CONTRACT = base58.encode(base58.CONTRACT, bytes(range(20)))


async def make_call(kind: str, *, reveal: bool, counter: int = 77) -> tuple[LocalSigner, Call]:
    signer = LocalSigner(base58.encode(SECRETS[kind], secrets.token_bytes(32)))
    call = Call(
        key=await signer.public_key(),
        contract=CONTRACT,
        value=secrets.token_bytes(32),
        counter=counter,
        limits=Limits(fee=523, gas=1_400, storage=0),
        reveal=Limits(fee=1_000_000, gas=1_000) if reveal else None,
    )
    return signer, call


@pytest.mark.parametrize("reveal", [False, True])
@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("counter", [1, 127, 128, 2**40])
async def test_every_forged_byte_is_the_one_that_pytezos_forges(kind: str, *, reveal: bool, counter: int) -> None:
    require_pytezos()
    forge = importlib.import_module("pytezos.operation.forge")
    _, call = await make_call(kind, reveal=reveal, counter=counter)
    group = {"branch": base58.encode(base58.BLOCK_HASH, BRANCH), "contents": call.contents()}
    assert call.forge(BRANCH) == forge.forge_operation_group(group)


@pytest.mark.parametrize("kind", SECRETS)
async def test_what_is_signed_reads_back_in_the_verifier_and_in_pytezos(kind: str) -> None:
    require_pytezos()
    keys = importlib.import_module("pytezos.crypto.key")
    signer, call = await make_call(kind, reveal=True)
    unsigned = call.forge(BRANCH)
    signature = await signer.sign(unsigned)
    key = await signer.public_key()
    operation = parse_operation(unsigned + signature)
    transaction = operation.contents[-1]
    assert transaction is not None
    assert (transaction.source, transaction.destination) == (key.address, CONTRACT)
    assert transaction.value == call.value
    assert key.address[:3] == kind
    public = keys.Key.from_encoded_key(public_key_text(key))
    assert public.public_key_hash() == key.address
    if kind == "tz3":
        return  # pytezos cannot verify P-256 with the newest fastecdsa; our own check was made when signing
    assert public.verify(base58.encode(bytes([4, 130, 43]), signature).encode(), b"\x03" + unsigned)


async def test_the_same_operation_is_signed_with_the_same_bytes() -> None:
    for kind in SECRETS:
        signer, call = await make_call(kind, reveal=False)
        assert await signer.sign(call.forge(BRANCH)) == await signer.sign(call.forge(BRANCH))


@pytest.mark.parametrize(
    "text", ["", "edsk", "edesk1abc", "hello", "edpkuBknW28nW72KG6RoHtYW7p12T6GKc7nAbwYX5m8Wd9sDVC9yav"]
)
def test_what_is_no_secret_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="secret key"):
        LocalSigner(text)
