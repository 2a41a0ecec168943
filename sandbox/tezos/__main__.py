"""A network as a process: `python -m sandbox.tezos DIRECTORY SECONDS TTL [with-contract]`.

With 0 SECONDS blocks are made only when told to, and the network is a new one. With more, a block is made every SECONDS
while something is going on, and the blocks are kept in DIRECTORY, for the next start. `with-contract` puts the contract
on the network, unless it is there already.

Prints one line of JSON when it is ready, or when it cannot be, then serves until it is ended, or until its standard
input closes: whoever started it holds the other end, so it never outlives them, however they end.
"""

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.anchoring.tezos.originate import originate
from sandbox.tezos.account import ADDRESS, SECRET

if TYPE_CHECKING:
    from sandbox.tezos.network import Network

NODES = 3
ORIGINATION_BLOCK_SECONDS = 0.05
# After the last operation, blocks enough for any number of confirmations that a sandbox asks for. Then the network
# rests: one that is left running for days would fill the memory with empty blocks.
BLOCKS_BEFORE_REST = 30


def main(arguments: list[str]) -> None:
    """Serve until standard input closes."""
    try:
        import pytezos  # noqa: F401, PLC0415  # it needs the system's libsodium, and one of its parts not every Python has
    except ModuleNotFoundError as error:
        _say({"missing": f"the Python package {error.name}"})
        return
    except (ImportError, OSError, ValueError):
        _say({"missing": "the system's libsodium (Debian: apt-get install libsodium23)"})
        return
    _serve(Path(arguments[1]), float(arguments[2]), int(arguments[3]), with_contract="with-contract" in arguments)
    sys.stdin.buffer.read()
    os._exit(0)


def _serve(directory: Path, block_seconds: float, ttl: int, *, with_contract: bool) -> None:
    from sandbox.tezos.history import History  # noqa: PLC0415  # as above
    from sandbox.tezos.network import Network  # noqa: PLC0415  # as above
    from sandbox.tezos.rpc import NodeRpc  # noqa: PLC0415  # as above
    from sandbox.tezos.server import ControlDesk, Server  # noqa: PLC0415  # as above

    history = History(directory / "blocks.jsonl") if block_seconds > 0 else None
    network = Network(nodes=NODES, funded=ADDRESS, ttl=ttl, history=history)
    servers = [Server(NodeRpc(network, node), network, node) for node in range(NODES)]
    control = Server(ControlDesk(network), network, -1)
    for server in (*servers, control):
        server.serve_in_thread()
    contract = _contract(network, servers[0].url) if with_contract else ""
    if block_seconds > 0:
        threading.Thread(target=_bake_for_ever, args=(network, block_seconds), daemon=True).start()
    nodes = [server.url for server in servers]
    _say({"nodes": nodes, "control": control.url, "chain_id": network.chain_id, "contract": contract})


def _contract(network: "Network", node: str) -> str:
    """The address of the contract, put on the network now if it is a new one."""
    for kept in network.head(0).state.contracts:
        return kept
    with ThreadPoolExecutor() as pool:
        made = pool.submit(originate, node, SECRET, confirmations=1, poll_seconds=ORIGINATION_BLOCK_SECONDS)
        while not made.done():
            network.bake()
            time.sleep(ORIGINATION_BLOCK_SECONDS)
        return made.result()


def _bake_for_ever(network: "Network", block_seconds: float) -> None:
    while True:
        time.sleep(block_seconds)
        if not network.is_quiet(BLOCKS_BEFORE_REST):
            network.bake()


def _say(line: dict[str, object]) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201  # the parent waits for this line


if __name__ == "__main__":
    main(sys.argv)
