"""One authority on the local network, driven step by step: each look of the backend, each block."""

import asyncio
import contextlib
import importlib
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ledger.anchoring.port import Obtained, RefusedError
from ledger.anchoring.tezos import LocalKey, TezosBackend, TezosConfiguration, open_tezos
from sandbox.tezos import DEFAULT_TTL, TezosMissingError, TezosSandbox, start_tezos
from verifier.tezos import TezosTrust, check_receipt

TTL_BLOCKS = 12
CONFIRMATIONS = 3
MOST_BLOCKS = 60


@contextlib.contextmanager
def running_network(directory: Path, *, ttl: int = DEFAULT_TTL) -> Iterator[TezosSandbox]:
    """A network with the contract on it. Skips the test where what that needs is missing."""
    with contextlib.ExitStack() as stack:
        try:
            network = stack.enter_context(start_tezos(directory, ttl=ttl))
        except TezosMissingError as error:
            pytest.skip(str(error))
        yield network


def require_pytezos() -> None:
    """Skip a test that calls pytezos, which takes seconds to import, where it cannot be used."""
    try:
        importlib.import_module("pytezos")
    except (ImportError, OSError, ValueError) as error:
        pytest.skip(f"pytezos cannot be used here, it needs the system's libsodium: {error}")


@dataclass
class Anchoring:
    network: TezosSandbox
    contract: str
    worker_dsn: str
    configuration: TezosConfiguration = field(init=False)

    def __post_init__(self) -> None:
        self.configuration = TezosConfiguration(
            name=f"tezos-{secrets.token_hex(4)}",
            chain_id=self.network.chain_id,
            contract=self.contract,
            nodes=self.network.nodes,
            key=LocalKey(secret=self.network.secret),
            confirmations=CONFIRMATIONS,
            maximum_wait_seconds=0.0,
            poll_seconds=0.0,
            operation_ttl_blocks=TTL_BLOCKS,
        )

    @contextlib.asynccontextmanager
    async def backend(self, **changes: Any) -> AsyncIterator[TezosBackend]:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used on this machine, and without roots made at once
        async with open_tezos(replace(self.configuration, **changes), self.worker_dsn, tls) as backend:
            yield backend

    async def drive(
        self,
        backend: TezosBackend,
        digest: bytes,
        *,
        each_block: Callable[[int], None] = lambda _: None,
        most_blocks: int = MOST_BLOCKS,
    ) -> Obtained:
        """Look, then let the network make a block, until there is a receipt. `each_block` is told the round."""
        for number in range(most_blocks):
            await asyncio.to_thread(each_block, number)
            with contextlib.suppress(RefusedError):
                outcome = await backend.anchor(digest, None)
                if isinstance(outcome, Obtained):
                    return outcome
            await asyncio.to_thread(self.network.bake)
        raise AssertionError(f"no receipt after {most_blocks} blocks; {backend._progress}; {backend._refusal}")

    def calls(self, value: bytes) -> list[dict[str, Any]]:
        """The operations on the chain that gave `value` to the contract."""
        return [
            operation
            for operation in self.network.status()["operations"]
            if any(
                content.get("parameters", {}).get("value") == {"bytes": value.hex()}
                for content in operation["contents"]
            )
        ]

    def require_valid(self, obtained: Obtained, digest: bytes, *, signer: str | None = None) -> dict[str, Any]:
        """The receipt, after the verifier found it valid for a reader who knows the block."""
        import json

        receipt: dict[str, Any] = json.loads(obtained.response)
        trust = TezosTrust(
            chain_id=self.network.chain_id,
            contracts=frozenset({self.contract}),
            entrypoint="anchor",
            signers=frozenset({signer or self.network.address}),
            block_hashes=frozenset({receipt["block_hash"]}),
        )
        result = check_receipt(obtained.response, value=digest, trust=trust)
        assert result.ok, result.findings
        assert result.time == obtained.anchored_at
        return receipt
