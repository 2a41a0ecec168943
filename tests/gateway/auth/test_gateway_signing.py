"""The gateway's signing keys: added, used, retired while it serves; and its settings."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from joserfc.jwk import KeySet, OKPKey, RSAKey

from gateway.auth.commands import key as command
from gateway.auth.signing import CHECK_SECONDS, KeysError, OwnKeys, SigningKeys, make_key, read_keys, write_keys
from gateway.settings import GatewaySettings, serves_integrators
from ledger.settings_reader import SettingsError
from sandbox.database import Database
from sandbox.issuer import Issuer
from tests.gateway.auth.bench import settings_of


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def kids(keys: SigningKeys) -> list[object]:
    published = keys.published()["keys"]
    assert isinstance(published, list)
    return [one["kid"] for one in published]


def signer(keys: SigningKeys) -> object:
    header = keys.sign({"sub": "x"}).partition(".")[0]
    return json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]


def test_a_key_is_published_before_it_signs_and_known_until_it_is_retired(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys.json", Clock()
    first = json.loads(run("add", file, "--json"))["key_id"]
    keys = SigningKeys(file, monotonic=clock)
    own = OwnKeys(keys)
    second = json.loads(run("add", file, "--json"))["key_id"]
    clock.now += CHECK_SECONDS
    assert (signer(keys), kids(keys)) == (first, [first, second])
    assert {one.key_id for one in own.current()} == {first, second}
    run("use", file, second)
    clock.now += CHECK_SECONDS
    assert (signer(keys), kids(keys)) == (second, [second, first])
    run("retire", file, first)
    clock.now += CHECK_SECONDS
    assert (signer(keys), kids(keys)) == (second, [second])
    assert {one.key_id for one in own.current()} == {second}
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"], "no draft is left behind"


def test_what_is_published_has_no_private_part(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    run("add", file)
    said = json.loads(run("publish", file))
    assert set(said["keys"][0]) == {"kty", "crv", "x", "kid", "use", "alg"}


def test_the_key_that_signs_cannot_be_retired(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    first = json.loads(run("add", file, "--json"))["key_id"]
    for arguments in (["retire", str(file), first], ["retire", str(file), "x"], ["use", str(file), "x"]):
        refused = CliRunner().invoke(command, arguments)
        assert refused.exit_code == 1
        assert "Traceback" not in refused.output


def test_a_broken_replacement_leaves_the_last_keys_in_use(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys.json", Clock()
    write_keys(file, [make_key()])
    keys = SigningKeys(file, monotonic=clock)
    before = signer(keys)
    for broken in ("{", "", "[]"):
        file.write_text(broken)
        clock.now += CHECK_SECONDS
        assert signer(keys) == before
    file.unlink()
    clock.now += CHECK_SECONDS
    assert signer(keys) == before


BROKEN: dict[str, Callable[[], object]] = {
    "empty": lambda: "",
    "no set": lambda: "[]",
    "no keys": lambda: json.dumps({"keys": []}),
    "public keys": lambda: json.dumps(KeySet([make_key()]).as_dict(private=False)),
    "another kind": lambda: json.dumps(KeySet([RSAKey.generate_key(2048, {"kid": "r"})]).as_dict(private=True)),
    "another curve": lambda: json.dumps(KeySet([OKPKey.generate_key("X25519", {"kid": "x"})]).as_dict(private=True)),
    "one name twice": lambda: json.dumps(
        {"keys": [OKPKey.generate_key("Ed25519", {"kid": "a"}).as_dict(private=True) for _ in range(2)]}
    ),
    "deep": lambda: "[" * 50_000,
    "large": lambda: " " * 100_000,
    "too many": lambda: json.dumps(KeySet([make_key() for _ in range(9)]).as_dict(private=True)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_holds_no_signing_keys_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(str(BROKEN[name]()))
    with pytest.raises(KeysError):
        read_keys(file)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"INDELIBLE_GATEWAY_DSN": "postgresql://postgres:x@localhost/x"}, "logs in here as indelible_gateway"),
        ({"INDELIBLE_GATEWAY_ISSUER": ""}, "INDELIBLE_GATEWAY_ISSUER: is not set"),
        ({"INDELIBLE_GATEWAY_ISSUER": "indelible"}, "give it its own name"),
        ({"INDELIBLE_GATEWAY_KEYS": "/nowhere"}, "INDELIBLE_GATEWAY_KEYS: the file /nowhere cannot be read"),
        ({"INDELIBLE_GATEWAY_LISTEN": "0.0.0.0:8080"}, "without encryption"),
        ({"INDELIBLE_LEDGER": "ledger.example:50051"}, "INDELIBLE_LEDGER: ledger.example:50051 is not on this machine"),
        ({"INDELIBLE_EVIDENCE": "evidence.example:50052"}, "set INDELIBLE_EVIDENCE_CA"),
        ({"INDELIBLE_GATEWAY_POLICIES": "/nowhere"}, "is not a directory"),
        ({"INDELIBLE_GATEWAY_TRUSTED_PROXY": "proxy"}, "give its IP address"),
    ],
)
def test_settings_that_cannot_be_used_are_told_by_name(
    tmp_path: Path, migrated_template: Database, issuer: Issuer, changed: dict[str, str], said: str
) -> None:
    keys = tmp_path / "keys.json"
    write_keys(keys, [make_key()])
    with pytest.raises(SettingsError) as caught:
        GatewaySettings.from_environment({**settings_of(migrated_template, issuer, keys), **changed})
    assert any(said in problem for problem in caught.value.problems), caught.value.problems


def test_the_gateway_may_be_reached_from_the_network_behind_a_proxy_that_is_named(
    tmp_path: Path, migrated_template: Database, issuer: Issuer
) -> None:
    keys = tmp_path / "keys.json"
    write_keys(keys, [make_key()])
    proxy = {"INDELIBLE_GATEWAY_LISTEN": "0.0.0.0:8080", "INDELIBLE_GATEWAY_TRUSTED_PROXY": "192.0.2.1"}
    settings = GatewaySettings.from_environment({**settings_of(migrated_template, issuer, keys), **proxy})
    assert settings.trusted_proxy == "192.0.2.1"
    assert serves_integrators({"INDELIBLE_GATEWAY_DSN": "x"})
    assert not serves_integrators({"INDELIBLE_GATEWAY_DSN": " "})
