"""The blocks of a network that is to be there again after a restart: one line of JSON for each, in a file.

What was only in a node's memory, an operation that waited, is lost with it, as with real nodes.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from sandbox.tezos.block import MadeBlock
from sandbox.tezos.state import Account, Contract, State


class History:
    """Keeps blocks in the order in which they were made. One process at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def load(self) -> list[MadeBlock]:
        """Every block that was kept whole. A last line that the end of the process cut short is taken away."""
        if not self._file.exists():
            return []
        *whole, rest = self._file.read_bytes().split(b"\n")
        if rest:
            self._file.write_bytes(b"".join(line + b"\n" for line in whole))
        return [_block(json.loads(line)) for line in whole]

    def add(self, block: MadeBlock) -> None:
        """Keep a block."""
        line = json.dumps(dataclasses.asdict(block), default=bytes.hex)
        with self._file.open("a", encoding="ascii") as file:
            file.write(f"{line}\n")


def _block(kept: dict[str, Any]) -> MadeBlock:
    state = State(
        accounts={address: Account(**account) for address, account in kept["state"]["accounts"].items()},
        contracts={address: Contract(**contract) for address, contract in kept["state"]["contracts"].items()},
    )
    operations = tuple(
        tuple((hash_, bytes.fromhex(raw), document) for hash_, raw, document in pass_) for pass_ in kept["operations"]
    )
    return MadeBlock(**kept | {"header": bytes.fromhex(kept["header"]), "operations": operations, "state": state})
