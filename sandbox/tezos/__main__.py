"""A network as a process: `python -m sandbox.tezos SECONDS TTL`; a block every SECONDS, or, with 0, only when told to.

Prints one line of JSON when it is ready, then serves until it is ended, or until its standard input closes: whoever
started it holds the other end, so it never outlives them, however they end.
"""

import json
import os
import sys
import threading
import time

from sandbox.tezos.account import ADDRESS
from sandbox.tezos.network import Network
from sandbox.tezos.rpc import NodeRpc
from sandbox.tezos.server import ControlDesk, Server, serve_in_thread

NODES = 3


def main(arguments: list[str]) -> None:
    """Serve until standard input closes."""
    block_seconds, ttl = float(arguments[1]), int(arguments[2])
    network = Network(nodes=NODES, funded=ADDRESS, ttl=ttl)
    servers = [Server(NodeRpc(network, node), network, node) for node in range(NODES)]
    control = Server(ControlDesk(network), network, -1)
    for server in (*servers, control):
        serve_in_thread(server)
    if block_seconds > 0:
        threading.Thread(target=_bake_for_ever, args=(network, block_seconds), daemon=True).start()
    ready = {
        "nodes": [server.url for server in servers],
        "control": control.url,
        "chain_id": network.chain_id,
    }
    print(json.dumps(ready), flush=True)  # noqa: T201  # the parent waits for this line
    sys.stdin.buffer.read()
    os._exit(0)


def _bake_for_ever(network: Network, block_seconds: float) -> None:
    while True:
        time.sleep(block_seconds)
        network.bake()


if __name__ == "__main__":
    main(sys.argv)
