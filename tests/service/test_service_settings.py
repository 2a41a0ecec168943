from pathlib import Path

import pytest

from ledger.address import Address
from ledger.settings import CallerSettings, LedgerSettings
from ledger.settings_reader import SettingsError


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for name in ("receipt.pem", "links.toml", "jwks.json", "certificate.pem", "key.pem"):
        (tmp_path / name).write_text("x")
    return {
        "INDELIBLE_RUNTIME_DSN": "postgresql://indelible_runtime:one@localhost/ledger",
        "INDELIBLE_APPEND_DSN": "postgresql://indelible_append:two@localhost/ledger",
        "INDELIBLE_WORKER_DSN": "postgresql://indelible_worker:three@localhost/ledger",
        "INDELIBLE_TOKEN_ISSUER": "https://issuer.example.org",
        "INDELIBLE_TOKEN_AUDIENCE": "indelible",
        "INDELIBLE_TOKEN_JWKS": str(tmp_path / "jwks.json"),
        "INDELIBLE_RECEIPT_KEY": str(tmp_path / "receipt.pem"),
        "INDELIBLE_RECEIPT_KEY_NAME": "ledger.example.org",
        "INDELIBLE_LINK_KEYS": str(tmp_path / "links.toml"),
    }


def problems(environment: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        LedgerSettings.from_environment(environment)
    return caught.value.problems


def test_complete_settings_are_read(environment: dict[str, str]) -> None:
    settings = LedgerSettings.from_environment(environment)
    assert settings.listen == Address(host="127.0.0.1", port=50051)
    assert settings.checkpoint_seconds == 3600
    assert settings.tls is None
    assert not settings.tracing


def test_every_missing_variable_is_named_at_once() -> None:
    told = problems({})
    for name in (
        "INDELIBLE_RUNTIME_DSN",
        "INDELIBLE_APPEND_DSN",
        "INDELIBLE_WORKER_DSN",
        "INDELIBLE_TOKEN_ISSUER",
        "INDELIBLE_TOKEN_AUDIENCE",
        "INDELIBLE_TOKEN_JWKS",
        "INDELIBLE_RECEIPT_KEY",
        "INDELIBLE_RECEIPT_KEY_NAME",
        "INDELIBLE_LINK_KEYS",
    ):
        assert sum(problem.startswith(f"{name}: ") for problem in told) == 1, name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INDELIBLE_LISTEN", "nowhere"),
        ("INDELIBLE_LISTEN", "127.0.0.1:65536"),
        ("INDELIBLE_LISTEN", "127.0.0.1:-1"),
        ("INDELIBLE_LISTEN", "127.0.0.1:\u0661"),
        ("INDELIBLE_LISTEN", "http://127.0.0.1:50051"),
        ("INDELIBLE_LISTEN", "127.0.0.1:" + "9" * 5000),
        ("INDELIBLE_RUNTIME_DSN", "postgresql://user@[host/ledger"),
        ("INDELIBLE_RUNTIME_DSN", "postgresql://postgres:secret@localhost/ledger"),
        ("INDELIBLE_APPEND_DSN", "postgresql://indelible_runtime:one@localhost/ledger"),
        ("INDELIBLE_WORKER_DSN", "postgresql://localhost/ledger"),
        ("INDELIBLE_TOKEN_JWKS", "http://issuer.example.org/jwks"),
        ("INDELIBLE_TOKEN_JWKS", "/nowhere/jwks.json"),
        ("INDELIBLE_RECEIPT_KEY", "/nowhere/receipt.pem"),
        ("INDELIBLE_PUBLIC_URL", "javascript:alert(1)"),
        ("INDELIBLE_PUBLIC_URL", "https://verify.example.org/?a=b"),
        ("INDELIBLE_NATS_URL", "http://127.0.0.1"),
        ("INDELIBLE_METRICS_LISTEN", "9464"),
        ("INDELIBLE_CHECKPOINT_SECONDS", "0"),
        ("INDELIBLE_CHECKPOINT_SECONDS", "1e3"),
        ("INDELIBLE_CHECKPOINT_EVENTS", "0"),
        ("INDELIBLE_CHECKPOINT_EVENTS", "9" * 5000),
        ("INDELIBLE_LOG_LEVEL", "loud"),
        ("INDELIBLE_LOG_FORMAT", "xml"),
    ],
)
def test_an_unusable_value_is_refused_by_its_variables_name(environment: dict[str, str], name: str, value: str) -> None:
    told = problems(environment | {name: value})
    assert len(told) == 1
    assert told[0].startswith(f"{name}: ")


def test_a_password_is_never_repeated_in_an_error(environment: dict[str, str]) -> None:
    told = problems(environment | {"INDELIBLE_APPEND_DSN": "postgresql://user:s3cret@[host/ledger"})
    assert "s3cret" not in "".join(told)


def test_plain_text_beyond_this_machine_is_refused(environment: dict[str, str]) -> None:
    assert problems(environment | {"INDELIBLE_LISTEN": "0.0.0.0:50051"})[0].startswith("INDELIBLE_LISTEN: ")


def test_encryption_allows_to_listen_to_the_network(environment: dict[str, str], tmp_path: Path) -> None:
    settings = LedgerSettings.from_environment(
        environment
        | {
            "INDELIBLE_LISTEN": "0.0.0.0:50051",
            "INDELIBLE_TLS_CERTIFICATE": str(tmp_path / "certificate.pem"),
            "INDELIBLE_TLS_KEY": str(tmp_path / "key.pem"),
        }
    )
    assert settings.tls is not None


def test_half_of_the_tls_settings_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    told = problems(environment | {"INDELIBLE_TLS_CERTIFICATE": str(tmp_path / "certificate.pem")})
    assert told[0].startswith("INDELIBLE_TLS_KEY: ")


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_tracing_follows_the_variables_of_opentelemetry(
    environment: dict[str, str], variables: dict[str, str], on: object
) -> None:
    assert LedgerSettings.from_environment(environment | variables).tracing is on


def test_a_callers_token_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    settings = CallerSettings.from_environment({"INDELIBLE_TOKEN_FILE": str(tmp_path / "token")})
    assert settings.token == "abc"


def test_a_caller_without_a_token_is_told_which_variable_to_set() -> None:
    with pytest.raises(SettingsError, match="INDELIBLE_TOKEN: "):
        CallerSettings.from_environment({})


def test_a_callers_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        CallerSettings.from_environment({"INDELIBLE_TOKEN_FILE": str(tmp_path / "nowhere")})
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith("INDELIBLE_TOKEN_FILE: ")


@pytest.mark.parametrize("content", [b"", b"abc\r\ndef", b"a b", b"\xff\xfe", b"a" * 20_000], ids=repr)
def test_a_file_without_a_bearer_token_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(SettingsError, match="INDELIBLE_TOKEN_FILE: does not hold a bearer token"):
        CallerSettings.from_environment({"INDELIBLE_TOKEN_FILE": str(tmp_path / "token")})


def test_a_token_that_would_break_a_header_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="INDELIBLE_TOKEN: does not hold") as caught:
        CallerSettings.from_environment({"INDELIBLE_TOKEN": "s3cret\nx: y"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("address", ["[::1]:50051", "127.0.0.1:50051", "localhost:50051"])
def test_addresses_of_this_machine_are_known_as_such(address: str) -> None:
    assert Address.parse(address).is_loopback
    assert str(Address.parse(address)) == address
