"""Several issuers at one service, each vouching for its own tokens, the gateway within bounds; checks from threads."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from joserfc.jwk import OKPKey

from ledger.errors import LedgerError
from ledger.identity import BlockingIdentity, UnauthenticatedError
from ledger.identity.keys import KeyFile
from ledger.identity.tokens import Authenticator
from ledger.settings_reader import GATEWAY_TOKEN_SECONDS, Reader, SettingsError, TokenSettings, read_gateway_tokens
from tests.identity.forging import AUDIENCE, ED25519, ISSUER, NOW, Clock, assert_refused, claims, sign, write_keys

GATEWAY = "https://gateway.example.org"
GATEWAY_KEY = OKPKey.generate_key("Ed25519", {"kid": "gateway"})
SAME_KID = OKPKey.generate_key("Ed25519", {"kid": "ed"})


@pytest.fixture
def gateway_jwks(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "gateway.json", GATEWAY_KEY, SAME_KID)


@pytest.fixture
def both(jwks: Path, gateway_jwks: Path, clock: Clock) -> Authenticator:
    provider = TokenSettings(issuer=ISSUER, audience=AUDIENCE, keys=jwks)
    gateway = TokenSettings(
        issuer=GATEWAY,
        audience=AUDIENCE,
        keys=gateway_jwks,
        longest_seconds=GATEWAY_TOKEN_SECONDS,
        withheld=frozenset({"ledger:evidence"}),
    )
    others = [(gateway, KeyFile(gateway_jwks, monotonic=clock))]
    return Authenticator(provider, KeyFile(jwks, monotonic=clock), clock=clock, others=others)


def of_gateway(**changed: object) -> str:
    return sign(claims(**{"iss": GATEWAY, "exp": NOW + 240, **changed}), GATEWAY_KEY)


def test_tokens_of_both_issuers_are_believed(both: Authenticator) -> None:
    assert both.authenticate(sign(claims())).issuer == ISSUER
    assert both.authenticate(of_gateway()).issuer == GATEWAY
    assert both.authenticate(of_gateway()).organisation_id == "acme", "and remembered"


def test_no_issuer_vouches_for_the_tokens_of_another(both: Authenticator) -> None:
    assert_refused(both, sign(claims(), GATEWAY_KEY))
    assert_refused(both, sign(claims(iss=GATEWAY, exp=NOW + 240), ED25519))
    assert_refused(both, sign(claims(), SAME_KID))
    assert_refused(both, sign(claims(iss=GATEWAY, exp=NOW + 240), ED25519, kid="gateway"))


def test_a_token_of_a_third_party_is_refused(both: Authenticator) -> None:
    for issuer in ("https://evil.example", "", ISSUER + "/", ISSUER.upper(), 7, None, [GATEWAY], {"a": 1}):
        assert_refused(both, sign(claims(iss=issuer)))


def test_a_token_the_gateway_made_to_last_is_refused(both: Authenticator) -> None:
    both.authenticate(of_gateway(exp=NOW + GATEWAY_TOKEN_SECONDS))
    assert_refused(both, of_gateway(exp=NOW + GATEWAY_TOKEN_SECONDS + 1))
    assert_refused(both, of_gateway(iat=None))
    assert_refused(both, of_gateway(iat=NOW + 3600, nbf=NOW, exp=NOW + 3600 + 60))
    assert_refused(both, of_gateway(iat="now"))
    both.authenticate(sign(claims(exp=NOW + 86400)))


def test_what_is_withheld_from_the_gateway_its_tokens_do_not_have(both: Authenticator) -> None:
    scope = "ledger:append ledger:evidence"
    assert both.authenticate(of_gateway(scope=scope)).scopes == {"ledger:append"}
    assert both.authenticate(of_gateway(scope=scope.split())).scopes == {"ledger:append"}
    assert both.authenticate(sign(claims(scope=scope))).scopes == {"ledger:append", "ledger:evidence"}


def test_withdrawing_one_issuers_keys_leaves_the_others_tokens(
    both: Authenticator, gateway_jwks: Path, clock: Clock
) -> None:
    provided, made = sign(claims()), of_gateway()
    both.authenticate(provided)
    both.authenticate(made)
    write_keys(gateway_jwks, SAME_KID)
    clock.now += 2
    both.authenticate(provided)
    assert_refused(both, made)


def test_the_gateway_as_an_issuer_is_read_from_two_settings(gateway_jwks: Path) -> None:
    environ = {"INDELIBLE_GATEWAY_ISSUER": GATEWAY, "INDELIBLE_GATEWAY_JWKS": str(gateway_jwks)}
    read = Reader(environ)
    settings = read_gateway_tokens(read, AUDIENCE)
    read.finish()
    assert settings is not None
    assert (settings.issuer, settings.audience, settings.longest_seconds) == (GATEWAY, AUDIENCE, 300)
    assert settings.withheld == {"ledger:evidence"}
    assert read_gateway_tokens(Reader({}), AUDIENCE) is None


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"INDELIBLE_GATEWAY_ISSUER": GATEWAY}, "INDELIBLE_GATEWAY_JWKS: is not set"),
        ({"INDELIBLE_GATEWAY_ISSUER": AUDIENCE}, "INDELIBLE_GATEWAY_ISSUER: is the same as INDELIBLE_TOKEN_AUDIENCE"),
        (
            {"INDELIBLE_GATEWAY_ISSUER": ISSUER, "INDELIBLE_TOKEN_ISSUER": ISSUER},
            "INDELIBLE_GATEWAY_ISSUER: is the same as INDELIBLE_TOKEN_ISSUER",
        ),
        (
            {"INDELIBLE_GATEWAY_ISSUER": GATEWAY, "INDELIBLE_GATEWAY_JWKS": "http://gateway/jwks"},
            "only https addresses and files are trusted",
        ),
    ],
)
def test_a_gateway_that_could_pass_for_another_issuer_is_refused(environ: dict[str, str], said: str) -> None:
    read = Reader(environ)
    read_gateway_tokens(read, AUDIENCE)
    with pytest.raises(SettingsError) as caught:
        read.finish()
    assert any(said in problem for problem in caught.value.problems), caught.value.problems


def now_claims(**changed: object) -> dict[str, object]:
    return claims(**{"iat": None, "nbf": None, "exp": 4_000_000_000, **changed})


@pytest.fixture
def blocking(jwks: Path) -> Iterator[BlockingIdentity]:
    with BlockingIdentity(TokenSettings(issuer=ISSUER, audience=AUDIENCE, keys=jwks)) as identity:
        yield identity


def test_many_threads_may_ask_at_once_while_keys_change(blocking: BlockingIdentity, jwks: Path) -> None:
    good = [sign(now_claims(sub=f"s{number}")) for number in range(20)]
    bad = sign(now_claims(), OKPKey.generate_key("Ed25519", {"kid": "never-published"}))
    faults: list[str] = []

    def ask() -> None:
        for _ in range(5):
            for number, token in enumerate(good):
                if blocking.authenticate(token).subject != f"s{number}":
                    faults.append("somebody else")
            try:
                blocking.authenticate(bad)
                faults.append("believed")
            except UnauthenticatedError:
                pass

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    write_keys(jwks, ED25519)
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_key_that_was_published_a_moment_ago_is_found_by_a_thread(blocking: BlockingIdentity, jwks: Path) -> None:
    key = OKPKey.generate_key("Ed25519", {"kid": "new"})
    with pytest.raises(LedgerError):
        blocking.authenticate(sign(now_claims(), key))
    write_keys(jwks, ED25519, key)
    assert blocking.authenticate(sign(now_claims(), key)).organisation_id == "acme"


def test_keys_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    settings = TokenSettings(issuer=ISSUER, audience=AUDIENCE, keys=tmp_path / "nowhere", variable="INDELIBLE_X")
    before = set(threading.enumerate())
    with pytest.raises(SettingsError, match="INDELIBLE_X"):
        BlockingIdentity(settings)
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert "token-keys" not in left, "and nothing is left running"
