"""Trust policies: what can be read means exactly what it says, and everything else is refused."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.bundle_forge import Authority
from verifier.policy import TrustPolicy, UnusablePolicyError, load_policy

FORMAT = 'format = "indelible-trust/1"\n'


def load(folder: Path, text: str | bytes) -> TrustPolicy:
    path = folder / "policy.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_policy(path)


def test_a_policy_with_everything_is_read(tmp_path: Path, alpha: Authority, beta: Authority) -> None:
    (tmp_path / "roots").mkdir()
    (tmp_path / "roots" / "alpha.pem").write_text(alpha.root_pem)
    (tmp_path / "signer.der").write_bytes(alpha.signer_der)
    policy = load(
        tmp_path,
        FORMAT
        + f'''require = 2
require_backends = ["rfc3161"]
[organisation]
id = "acme"
name = "Acme Security"
[authorities.alpha]
backend = "rfc3161"
roots = ["roots/alpha.pem", """
{beta.root_pem}"""]
intermediates = ["signer.der"]
policies = ["1.2.3"]
valid_from = 2026-01-01T00:00:00Z
valid_to = 2026-12-31T23:59:59+01:00
''',
    )
    trust = policy.authorities["alpha"]
    assert (policy.require, policy.require_backends) == (2, ("rfc3161",))
    assert (policy.organisation_id, policy.organisation_name) == ("acme", "Acme Security")
    assert trust.roots == (alpha.root_der, beta.root_der)
    assert trust.intermediates == (alpha.signer_der,)
    assert trust.policies == frozenset({"1.2.3"})
    assert trust.valid_from == datetime(2026, 1, 1, tzinfo=UTC)
    assert trust.valid_to == datetime(2026, 12, 31, 22, 59, 59, tzinfo=UTC)


def test_a_policy_that_names_nobody_is_read_and_trusts_nobody(tmp_path: Path) -> None:
    assert load(tmp_path, FORMAT) == TrustPolicy()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "must say format"),
        ('format = "indelible-trust/2"', "must say format"),
        ("format = ", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (FORMAT + "requires = 2", "'requires', which is unknown"),
        (FORMAT + "require = 0", "require must be"),
        (FORMAT + "require = true", "require must be"),
        (FORMAT + 'require = "2"', "require must be"),
        (FORMAT + 'require_backends = "rfc3161"', "list of strings"),
        (FORMAT + 'require_backends = ["ethereum"]', "backend 'ethereum'"),
        (FORMAT + '[authorities.main]\nbackend = "ethereum"', "backend 'ethereum'"),
        (FORMAT + "[tezos]\n", "'tezos', which is unknown"),
        (FORMAT + "authorities = 1", "must be a table"),
        (FORMAT + "authorities.a = 1", "must be a table"),
        (FORMAT + "[authorities.a]\nroots = []", "names no roots"),
        (FORMAT + '[authorities.a]\nroot = ["x"]', "'root', which is unknown"),
        (FORMAT + '[authorities.a]\nroots = ["missing.pem"]', "missing.pem"),
        (FORMAT + '[authorities.a]\nroots = ["."]', "cannot be read"),
        (FORMAT + '[authorities.a]\nroots = ["x\\u0000y"]', "cannot be read"),
        (FORMAT + '[authorities.a]\nroots = ["policy.toml"]', "policy.toml"),
        (FORMAT + '[authorities."../a"]\nroots = ["x"]', "not a name"),
        (FORMAT + '[authorities.a]\nroots = ["-----BEGIN CERTIFICATE-----\\nAA\\n-----END CERTIFICATE-----"]', "roots"),
        (FORMAT + "[organisation]\nid = 1", "must be a string"),
        (FORMAT + '[organisation]\nID = "x"', "'ID', which is unknown"),
        (FORMAT + 'trusted_lists = ["missing.xml"]', "missing.xml"),
        (FORMAT + "x = " + "[" * 100_000, "not TOML"),
        (FORMAT + "#" * 2_000_000, "longer than"),
    ],
    ids=lambda value: str(value)[-30:],
)
def test_a_policy_with_one_fault_is_refused_with_the_reason(tmp_path: Path, text: str | bytes, match: str) -> None:
    with pytest.raises(UnusablePolicyError, match=match):
        load(tmp_path, text)


@pytest.mark.parametrize("moment", ["2026-01-01", "2026-01-01T00:00:00", '"2026-01-01T00:00:00Z"', "1"])
def test_a_bound_without_a_time_zone_is_refused(tmp_path: Path, alpha: Authority, moment: str) -> None:
    (tmp_path / "alpha.pem").write_text(alpha.root_pem)
    with pytest.raises(UnusablePolicyError, match="must be a time with its zone"):
        load(tmp_path, FORMAT + f'[authorities.a]\nroots = ["alpha.pem"]\nvalid_to = {moment}')


@given(st.binary(max_size=200))
def test_any_bytes_are_a_policy_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    with pytest.raises(UnusablePolicyError):
        load(folder, FORMAT.encode() + b"x" + raw)
