import base64
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.verifier.web.small_ledger import Authority, Chain
from tests.verifier.web.world import GatewayScript, World, running_gateway


@pytest.fixture(scope="session")
def authorities() -> tuple[Authority, Authority]:
    return Authority("north"), Authority("south")


@pytest.fixture
def world(tmp_path: Path, authorities: tuple[Authority, Authority]) -> World:
    folder = tmp_path / "bundles"
    folder.mkdir()
    policy = tmp_path / "policy.toml"
    sections = ['format = "indelible-trust/1"\n']
    for authority in authorities:
        (tmp_path / f"{authority.name}.pem").write_text(authority.root_pem)
        sections.append(f'[authorities.{authority.name}]\nroots = ["{authority.name}.pem"]\n')
    policy.write_text("\n".join(sections))
    secret = secrets.token_bytes(32)
    key_file = tmp_path / "keys.toml"
    key_file.write_text(f'[keys]\nk1 = "{base64.b64encode(secret).decode()}"\n')
    return World(folder=folder, policy=policy, key_file=key_file, authorities=authorities, secret=secret)


@pytest.fixture
def make_chain() -> Callable[..., Chain]:
    return Chain


@pytest.fixture
def story() -> Chain:
    """A closed chain of seven events."""
    chain = Chain()
    chain.append("session.joined", {"who": "operator", "role": "host"})
    chain.append("consent.granted", {"by": "operator", "scope": "recording"})
    chain.append("consent.granted", {"by": "field user", "scope": "recording"})
    chain.append("snapshot.taken", {"camera": "north gate", "sha256": "ab" * 32})
    chain.append("session.left", {"who": "operator"})
    chain.close()
    return chain


@pytest.fixture
def gateway_script() -> type[GatewayScript]:
    return GatewayScript


@pytest.fixture
def serve_gateway() -> Iterator[Callable[[GatewayScript], str]]:
    """Start a gateway on a loopback port that answers as its script says; returns its address."""
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(running_gateway(script))
