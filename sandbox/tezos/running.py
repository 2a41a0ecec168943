"""Starting, moving and describing the network, from the side of whoever needs it."""

import contextlib
import dataclasses
import http.client
import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox.tezos.account import ADDRESS, SECRET
from sandbox.tezos.faults import NodeFaults

START_SECONDS = 60.0  # pytezos takes seconds to import on a busy machine
STOP_SECONDS = 5.0
DEFAULT_TTL = 600
_LOG_TAIL_BYTES = 2000
_CONTROL_SECONDS = 30.0


class TezosError(RuntimeError):
    """The local network could not be started or moved; the text says why."""


class TezosSandbox:
    """A running network: addresses of its `nodes`, its `chain_id`, and an account with funds."""

    secret = SECRET
    address = ADDRESS

    def __init__(self, process: "subprocess.Popen[bytes]", ready: dict[str, Any]) -> None:
        self.nodes: tuple[str, ...] = tuple(ready["nodes"])
        self.chain_id: str = ready["chain_id"]
        self._control: str = ready["control"]
        self._process = process

    @property
    def process_id(self) -> int:
        """The network's process."""
        return self._process.pid

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
        status: dict[str, Any] = self._ask("GET", "/status", None)
        return status

    def configuration(self, name: str, contract: str, key_file: Path) -> str:
        """The table for the ledger's authorities file (TOML); writes the account's secret to `key_file`."""
        key_file.write_text(f"{self.secret}\n", encoding="ascii")
        key_file.chmod(0o600)
        members: dict[str, object] = {
            "backend": "tezos",
            "chain_id": self.chain_id,
            "contract": contract,
            "nodes": list(self.nodes),
            "key_file": str(key_file),
        }
        return (
            "\n".join([f"[authorities.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in members.items())])
            + "\n"
        )

    def _do(self, path: str, body: dict[str, object]) -> None:
        self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: dict[str, object] | None) -> Any:
        parts = urlsplit(self._control)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_CONTROL_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise TezosError(f"the local Tezos network does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise TezosError(f"the local Tezos network refused {path}: {raw[:200]!r}")
        return json.loads(raw)


@contextlib.contextmanager
def start_tezos(directory: Path, *, block_seconds: float = 0.0, ttl: int = DEFAULT_TTL) -> Iterator[TezosSandbox]:
    """Run a network of three nodes until the block ends; its log is in `directory`.

    A block is made every `block_seconds`, with 0 only by `bake`. Raises TezosError when it does not come up.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log_path = directory / "log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  # our own module, with our own arguments
            [sys.executable, "-m", "sandbox.tezos", str(block_seconds), str(ttl)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        yield TezosSandbox(process, json.loads(_first_line(process, log_path)))
    finally:
        _stop(process)


def _first_line(process: "subprocess.Popen[bytes]", log: Path) -> bytes:
    deadline = time.monotonic() + START_SECONDS
    while process.stdout is not None and time.monotonic() < deadline:
        readable, _, _ = select.select([process.stdout], [], [], 0.5)
        if readable:
            line = process.stdout.readline()
            if line:
                return line
            break
    tail = log.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace")
    if "libsodium" in tail:
        raise TezosError("the local Tezos network needs the system's libsodium (Debian: apt-get install libsodium23)")
    raise TezosError(f"the local Tezos network did not start; its log ends with:\n{tail}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
