import pytest

from tests.verifier.bundle_forge import Authority, Files, data_files, sealed, short_session
from verifier.policy import TrustPolicy
from verifier.rfc3161 import TimestampTrust


@pytest.fixture(scope="session")
def alpha() -> Authority:
    return Authority("alpha")


@pytest.fixture(scope="session")
def beta() -> Authority:
    return Authority("beta")


@pytest.fixture(scope="session")
def policy(alpha: Authority, beta: Authority) -> TrustPolicy:
    return TrustPolicy(
        authorities={one.name: TimestampTrust(roots=(one.root_der,)) for one in (alpha, beta)},
    )


@pytest.fixture(scope="session")
def good_data(alpha: Authority, beta: Authority) -> Files:
    """The files under data/ of a good bundle: a closed session of four events with two anchors."""
    return data_files(short_session(), [(alpha, 4), (beta, 4)])


@pytest.fixture(scope="session")
def good_files(good_data: Files) -> Files:
    return sealed(good_data)
