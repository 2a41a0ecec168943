from collections.abc import Iterator

import pytest

from sandbox.authorities import Authorities
from sandbox.database import Database
from sandbox.issuer import Issuer
from tests.service.serving import running_service
from tests.system.black_box import Ground
from verifier.policy import load_policy


@pytest.fixture(scope="module")
def ground(
    module_database: Database, authorities: Authorities, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("black-box")
    trust = folder / "trust.toml"
    authorities.write_trust_policy(trust)
    # Both authorities must vouch, so that damage to either one's token shows in the verdict.
    tables = trust.read_text().replace('format = "indelible-trust/1"\n', "")
    trust.write_text(f'format = "indelible-trust/1"\nrequire = 2\n{tables}')
    authorities.write_configuration(folder / "authorities.toml")
    anchored = {"INDELIBLE_AUTHORITIES": str(folder / "authorities.toml")}
    with (
        running_service(folder, module_database, issuer, anchored) as service,
        service.blocking_client() as ledger,
    ):
        yield Ground(ledger=ledger, trust=trust, policy=load_policy(trust), folder=folder)
