from pathlib import Path

import pytest

from ledger.identity.keys import (
    KeyFile,
)
from ledger.identity.tokens import Authenticator
from ledger.settings_reader import TokenSettings
from tests.identity.forging import AUDIENCE, ISSUER, KEYS, Clock, write_keys


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jwks(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "jwks.json", *KEYS)


@pytest.fixture
def authenticator(jwks: Path, clock: Clock) -> Authenticator:
    settings = TokenSettings(issuer=ISSUER, audience=AUDIENCE, keys=jwks)
    return Authenticator(settings, KeyFile(jwks, monotonic=clock), clock=clock)
