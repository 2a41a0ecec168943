"""Putting the contract on a network: once for each network, by any account that has a little tez.

pytezos forges the operation (it takes seconds to import, so only here, and only when asked for); its waiting is not
used, since it reports success for operations that a reorganisation removed.
"""

import hashlib
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from verifier.tezos import base58
from verifier.tezos.keys import ADDRESS_BYTES
from verifier.tezos.nodes import parse_node

POLL_SECONDS = 3.0
WAIT_SECONDS = 3600.0  # the time to live of an operation: 600 blocks of 6 s
_NODE_SECONDS = 20.0
_ORIGINATION_INDEX = bytes(4)


class OriginationError(RuntimeError):
    """The contract was not put there; the text says why."""


def contract_source() -> str:
    """The contract, in Michelson."""
    return files("ledger.anchoring.tezos").joinpath("anchor.tz").read_text(encoding="utf-8")


def originate(
    node: str,
    secret: str,
    *,
    confirmations: int,
    poll_seconds: float = POLL_SECONDS,
    report: Callable[[str], None] = lambda _: None,
) -> str:
    """Put the contract on the network of `node`, paid by the owner of `secret`; returns its address (KT1...).

    Returns when the contract is `confirmations` blocks deep. Raises OriginationError.
    """
    try:
        parse_node(node)
    except ValueError as error:
        raise OriginationError(str(error)) from None
    client = _client(node, secret)
    try:
        revealed = client.shell.head.context.contracts[client.key.public_key_hash()].manager_key
        if revealed() is None:
            report(f"Revealing the key of {client.key.public_key_hash()} ...")
            operation = client.reveal().autofill().sign()
            operation.inject()
            _wait(revealed, poll_seconds)
        script = {"code": _code(), "storage": {"prim": "Unit"}}
        operation = client.origination(script).autofill().sign()
        operation_hash: str = operation.inject()["hash"]
    except OriginationError:
        raise
    except Exception as error:
        # pytezos raises many kinds; what a node answered is in the text, on one line and short.
        text = " ".join(str(error).split())[:300]
        raise OriginationError(f"the node or pytezos refused: {type(error).__name__}: {text}") from error
    raw = base58.decode(operation_hash, base58.OPERATION_HASH, 32)
    if raw is None:
        raise OriginationError("the node answered with something that is no operation hash")
    # As the protocol names contracts: the operation's hash and the place of the origination in it.
    digest = hashlib.blake2b(raw + _ORIGINATION_INDEX, digest_size=ADDRESS_BYTES).digest()
    address = base58.encode(base58.CONTRACT, digest)
    report(f"Sent {operation_hash}; waiting for {address} to be {confirmations} blocks deep ...")
    _wait(lambda: _exists(node, address, confirmations), poll_seconds)
    return address


def _client(node: str, secret: str) -> Any:
    try:
        from pytezos import pytezos  # noqa: PLC0415  # seconds to import, and it needs the system's libsodium
    except ImportError as error:
        if error.name == "pytezos":
            raise OriginationError("pytezos is missing: install Indelible with its `tezos` extra") from None
        raise OriginationError(
            "pytezos cannot be used; it needs the system's libsodium (Debian: apt-get install libsodium23)"
        ) from None
    except (OSError, ValueError) as error:
        raise OriginationError(
            f"pytezos cannot be used; it needs the system's libsodium (Debian: apt-get install libsodium23): {error}"
        ) from None
    try:
        return pytezos.using(shell=node, key=secret)
    except Exception as error:
        raise OriginationError("the key is not an unencrypted Tezos secret key (edsk..., spsk..., p2sk...)") from error


def _code() -> Any:
    from pytezos.michelson.parse import michelson_to_micheline  # noqa: PLC0415  # as above

    parse: Callable[[str], Any] = michelson_to_micheline
    return parse(contract_source())


def _exists(node: str, address: str, depth: int) -> bool:
    """Whether the contract exists in the block that lies `depth` below the head."""
    url = f"{node.rstrip('/')}/chains/main/blocks/head~{depth}/context/contracts/{address}/script"
    request = Request(url, headers={"Accept": "application/json"})  # noqa: S310  # checked by parse_node
    try:
        with urlopen(request, timeout=_NODE_SECONDS) as answer:  # noqa: S310  # as above
            return bool(answer.status == 200)  # noqa: PLR2004  # HTTP's OK
    except (HTTPError, URLError, OSError):
        return False


def _wait(done: Callable[[], object], poll_seconds: float) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise OriginationError("the operation was not included in time; look it up and try again")
        time.sleep(poll_seconds)
