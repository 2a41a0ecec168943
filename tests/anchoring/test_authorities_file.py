import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.anchoring.authorities import Authorities, AuthoritiesError, load_authorities
from ledger.store.values import AnchorTarget
from sandbox.authorities.second import pki


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = pki.load_or_create_root(tmp_path)
    (tmp_path / "root.pem").write_bytes(root.certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "secret").write_text("alice:opensesame\n")
    (tmp_path / "client.pem").write_bytes(root.certificate.public_bytes(serialization.Encoding.PEM))
    write_key(tmp_path / "client.key", root.key)
    return tmp_path


def write_key(path: Path, key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> None:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))


def load(folder: Path, text: str) -> Authorities:
    (folder / "authorities.toml").write_text(text)
    return load_authorities(folder / "authorities.toml")


def refused(folder: Path, text: str) -> str:
    with pytest.raises(AuthoritiesError) as caught:
        load(folder, text)
    return str(caught.value)


def table(name: str = "notary", url: str = "https://tsa.example.com/tsr", **members: str) -> str:
    lines = [f"[authorities.{name}]", f'url = "{url}"', 'roots = ["root.pem"]']
    return "\n".join([*lines, *(f"{key} = {value}" for key, value in members.items())]) + "\n"


def test_a_complete_table_is_read(folder: Path) -> None:
    text = table(
        policies='["1.2.3", "1.2.4"]',
        basic_auth_file='"secret"',
        client_certificate='"client.pem"',
        client_key='"client.key"',
        timeout_seconds="3",
        min_interval_seconds="1.5",
        concurrency="2",
        intermediates='["root.pem"]',
    )
    (one,) = load(folder, text).configurations
    assert (one.name, one.url) == ("notary", "https://tsa.example.com/tsr")
    assert len(one.roots) == len(one.intermediates) == 1
    assert one.policies == {"1.2.3", "1.2.4"}
    assert one.basic_auth is not None
    assert (one.basic_auth.name, one.basic_auth.password) == ("alice", "opensesame")
    assert one.client_certificate == folder / "client.pem"
    assert (one.timeout_seconds, one.min_interval_seconds, one.concurrency) == (3.0, 1.5, 2)


def test_targets_come_in_the_order_of_names(folder: Path) -> None:
    authorities = load(folder, table("b") + table("a"))
    assert [(target.backend, target.authority) for target in authorities.targets] == [
        ("rfc3161", "a"),
        ("rfc3161", "b"),
    ]


def names(targets: Sequence[AnchorTarget]) -> list[str]:
    return [target.authority for target in targets]


def test_without_a_choice_every_organisation_is_anchored_everywhere(folder: Path) -> None:
    sets = load(folder, table("b") + table("a")).sets
    assert names(sets.of("acme")) == ["a", "b"]


def test_an_organisation_has_its_own_set_and_all_others_the_default(folder: Path) -> None:
    own = '[organisations.acme]\nauthorities = ["c", "a"]\n[organisations.empty]\nauthorities = []\n'
    authorities = load(folder, 'default = ["b"]\n' + table("b") + table("a") + table("c") + own)
    assert names(authorities.sets.of("acme")) == ["a", "c"]
    assert names(authorities.sets.of("empty")) == ["b"], "an empty set is the default"
    assert names(authorities.sets.of("other")) == ["b"]
    assert names(authorities.targets) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("preset", "url", "pause"),
    [
        ("freetsa", "https://freetsa.org/tsr", 0.0),
        ("digicert", "http://timestamp.digicert.com", 0.0),
        ("sectigo", "http://timestamp.sectigo.com", 15.0),
    ],
)
def test_a_preset_brings_address_and_manners(folder: Path, preset: str, url: str, pause: float) -> None:
    (one,) = load(folder, f'[authorities.x]\npreset = "{preset}"\nroots = ["root.pem"]\n').configurations
    assert (one.url, one.min_interval_seconds) == (url, pause)


def test_datasure_needs_the_address_it_gave_its_customer(folder: Path) -> None:
    text = '[authorities.d]\npreset = "datasure"\nroots = ["root.pem"]\n'
    assert "[authorities.d], url: missing" in refused(folder, text)
    (one,) = load(folder, text + 'url = "https://tsa.example.com/"\n').configurations
    assert one.url == "https://tsa.example.com/"


def test_a_preset_never_brings_trust(folder: Path) -> None:
    assert "roots: missing" in refused(folder, '[authorities.x]\npreset = "freetsa"\n')


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "names no authority"),
        ("authorities = 3\n", "names no authority"),
        ("[authorities]\nx = 3\n", "[authorities.x]: must be a table"),
        ("[authority.x]\n", "unknown key 'authority'"),
        (table() + 'backend = "rfc3161"\n', '[authorities.notary], backend: must be "tezos" or "opentimestamps"'),
        ('default = "notary"\n' + table(), "default: must be a list of names"),
        ("default = [1]\n" + table(), "default: must be a list of names"),
        ('default = ["nobody"]\n' + table(), "default: names 'nobody', but there is no table [authorities.nobody]"),
        ('default = ["notary", "notary"]\n' + table(), "default: names an authority twice"),
        ("organisations = 3\n" + table(), "organisations: must be at most 10000 tables"),
        (table() + "[organisations]\nacme = 3\n", "[organisations.acme]: must be a table"),
        (table() + "[organisations.acme]\n", "[organisations.acme], authorities: missing"),
        (table() + "[organisations.acme]\nauthority = []\n", "[organisations.acme], authority: unknown key"),
        (
            table() + '[organisations.acme]\nauthorities = "notary"\n',
            "[organisations.acme], authorities: must be a list",
        ),
        (table() + '[organisations.acme]\nauthorities = ["Notary"]\n', "authorities: names 'Notary', but there is no"),
        (table() + '[organisations."ACME Ltd"]\nauthorities = []\n', "no organisation can have this id"),
        ("not toml", "not valid TOML"),
        ('[authorities."a/b"]\n', "[authorities.a/b]: the name may have"),
        ('[authorities."' + "a" * 65 + '"]\n', "the name may have"),
        (table("Notary") + table("notary"), "only in case"),
        (table(extra="1"), "[authorities.notary], extra: unknown key"),
        (table(preset='"nobody"'), "preset: unknown; the presets are datasure, digicert, freetsa, sectigo"),
        (table(url="ftp://tsa.example.com/"), "url: must be an address"),
        (table(url="https://"), "url: must be an address"),
        (table(url="https://name:word@tsa.example.com/"), "url: must not contain a name or password"),
        (table(timeout_seconds="0"), "timeout_seconds: must be a number from 1 to 300"),
        (table(timeout_seconds="true"), "timeout_seconds: must be a number"),
        (table(timeout_seconds="nan"), "timeout_seconds: must be a number"),
        (table(min_interval_seconds='"15"'), "min_interval_seconds: must be a number"),
        (table(concurrency="1000"), "concurrency: must be a whole number from 1 to 64"),
        (table(concurrency="2.5"), "concurrency: must be a whole number from 1 to 64"),
        (table(policies='"1.2.3"'), "policies: must be a list"),
        (table(policies='["1.2.x"]'), "policies: '1.2.x' is not a dotted object identifier"),
        (table(intermediates='["gone.pem"]'), "intermediates: cannot read"),
        (table(intermediates='["secret"]'), "intermediates: 'secret' holds no usable certificate"),
        (table(intermediates='["bad\\u0000name"]'), "intermediates: cannot read"),
        (table(basic_auth_file='"root.pem"'), "basic_auth_file: must hold one line, NAME:PASSWORD"),
        (table(basic_auth_file="3"), "basic_auth_file: must be the path of a file"),
        (table(url="http://tsa.example.com/", basic_auth_file='"secret"'), "would send the password unencrypted"),
        (table(client_key='"client.key"'), "client_certificate: missing"),
        (table(client_certificate='"client.pem"'), "client_certificate: cannot be used with its key"),
        (
            table(url="http://tsa.example.com", client_certificate='"client.pem"', client_key='"client.key"'),
            "has no use without an https address",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(folder: Path, text: str, complaint: str) -> None:
    message = refused(folder, text)
    assert complaint in message
    assert str(folder / "authorities.toml") in message


def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    message = refused(
        folder, table("a", timeout_seconds="0", extra="1") + table("b", url="nowhere") + "[organisations.x]\n"
    )
    assert len(message.splitlines()) == 4


def test_a_file_that_is_not_there_or_no_text_is_refused(folder: Path) -> None:
    with pytest.raises(AuthoritiesError, match="cannot be read"):
        load_authorities(folder / "none.toml")
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AuthoritiesError, match="not valid TOML"):
        load_authorities(folder / "binary.toml")
    with (folder / "endless.toml").open("wb") as endless:
        endless.truncate(2**30)
    with pytest.raises(AuthoritiesError, match="larger than"):
        load_authorities(folder / "endless.toml")


def test_an_encrypted_client_key_is_refused_without_asking_on_the_terminal(folder: Path) -> None:
    write_key(folder / "client.key", ec.generate_private_key(ec.SECP256R1()), password=b"word")
    text = table(client_certificate='"client.pem"', client_key='"client.key"')
    (folder / "authorities.toml").write_text(text)
    script = (
        "import sys, pathlib; from ledger.anchoring.authorities import load_authorities\n"
        "load_authorities(pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, folder / "authorities.toml"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        start_new_session=True,
    )
    assert "cannot be used with its key" in done.stderr


def test_secrets_do_not_show_when_the_configuration_is_printed(folder: Path) -> None:
    authorities = load(folder, table(basic_auth_file='"secret"'))
    assert "opensesame" not in repr(authorities)
    assert "alice" not in repr(authorities)


def test_secrets_do_not_show_in_complaints(folder: Path) -> None:
    (folder / "secret").write_text("opensesame")
    assert "opensesame" not in refused(folder, table(basic_auth_file='"secret"'))
