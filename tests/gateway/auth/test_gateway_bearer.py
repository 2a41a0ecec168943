"""Bearer tokens at the gateway: what is believed, and everything that only looks like it."""

import base64
import hmac
import json
import time
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from gateway.auth.callers import BURST_REFUSALS
from tests.gateway.auth.bench import GATEWAY_ISSUER, Bench, caller_of


def private_key(bench: Bench, algorithm: str = "Ed25519") -> Any:
    return next(key for key in bench.issuer._keys.keys if key.alg == algorithm)


def own_key(bench: Bench) -> OKPKey:
    return OKPKey.import_key(json.loads(bench.keys.read_text())["keys"][0])


def claims(bench: Bench, *, ago: int = 0, **changed: Any) -> dict[str, Any]:
    now = int(time.time()) - ago
    given = {
        "iss": bench.issuer.issuer,
        "aud": bench.issuer.audience,
        "sub": "ann",
        "org": "acme",
        "scope": "ledger:read",
        "roles": ["observer"],
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        **changed,
    }
    return {name: value for name, value in given.items() if value is not None}


def sign(body: dict[str, Any], key: Any, **header: Any) -> str:
    given = {"alg": "Ed25519", "kid": key.kid, "typ": "at+jwt", **header}
    given = {name: value for name, value in given.items() if value is not None}
    algorithms = ["Ed25519", "ES256", "HS256", "RS256", "RS512", "ES384"]
    registry = jws.JWSRegistry(algorithms=algorithms, strict_check_header=False)
    return jws.serialize_compact(given, json.dumps(body).encode(), key, registry=registry)


def unsigned(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(body).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def confused(bench: Bench) -> str:
    """HMAC with what everybody knows: accepted by whoever lets the token choose how it is checked."""
    header = {"alg": "HS256", "kid": private_key(bench).kid, "typ": "at+jwt"}
    signed = unsigned(header, claims(bench)).rpartition(".")[0]
    digest = hmac.digest(private_key(bench).as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def test_a_token_of_the_identity_provider_is_believed(bench: Bench) -> None:
    answer = bench.probe(sign(claims(bench), private_key(bench)))
    assert answer.status_code == 200, answer.text
    assert answer.json == {
        "subject": "ann",
        "organisation": "acme",
        "roles": ["observer"],
        "scopes": ["ledger:read"],
        "credential": None,
    }


def test_a_request_without_a_token_is_told_how_to_send_one(bench: Bench) -> None:
    answer = bench.probe(None)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="indelible"', "RFC 6750 section 3.1: no error code"
    assert answer.json is not None
    assert answer.json["code"] == "UNAUTHENTICATED"
    assert answer.mimetype == "application/problem+json"


FORGERIES = {
    "expired": lambda bench: sign(claims(bench, ago=700, exp=int(time.time()) - 100), private_key(bench)),
    "not yet valid": lambda bench: sign(claims(bench, nbf=int(time.time()) + 400), private_key(bench)),
    "issued in the future": lambda bench: sign(claims(bench, iat=int(time.time()) + 400), private_key(bench)),
    "without an end": lambda bench: sign(claims(bench, exp=None), private_key(bench)),
    "end that is no number": lambda bench: sign(claims(bench, exp="tomorrow"), private_key(bench)),
    "another issuer": lambda bench: sign(claims(bench, iss="https://evil.example"), private_key(bench)),
    "issuer that is a list": lambda bench: sign(claims(bench, iss=[bench.issuer.issuer]), private_key(bench)),
    "no issuer": lambda bench: sign(claims(bench, iss=None), private_key(bench)),
    "another audience": lambda bench: sign(claims(bench, aud="another-service"), private_key(bench)),
    "no audience": lambda bench: sign(claims(bench, aud=None), private_key(bench)),
    "no organisation": lambda bench: sign(claims(bench, org=None), private_key(bench)),
    "organisation that is none": lambda bench: sign(claims(bench, org="ACME; DROP"), private_key(bench)),
    "no subject": lambda bench: sign(claims(bench, sub=None), private_key(bench)),
    "another type": lambda bench: sign(claims(bench), private_key(bench), typ="id+jwt"),
    "no type": lambda bench: sign(claims(bench), private_key(bench), typ=None),
    "critical extension": lambda bench: unsigned(
        {"alg": "Ed25519", "kid": private_key(bench).kid, "typ": "at+jwt", "crit": ["exp"], "exp": 1}, claims(bench)
    ),
    "alg none": lambda bench: unsigned({"alg": "none", "typ": "at+jwt"}, claims(bench)),
    "alg None with a kid": lambda bench: unsigned(
        {"alg": "None", "typ": "at+jwt", "kid": private_key(bench).kid}, claims(bench), b"x" * 64
    ),
    "no signature": lambda bench: sign(claims(bench), private_key(bench)).rpartition(".")[0] + ".",
    "signature of another token": lambda bench: (
        sign(claims(bench), private_key(bench)).rpartition(".")[0]
        + "."
        + sign(claims(bench, sub="bob"), private_key(bench)).rpartition(".")[2]
    ),
    "unknown kid": lambda bench: sign(claims(bench), OKPKey.generate_key("Ed25519", {"kid": "unknown"})),
    "known kid, other key": lambda bench: sign(
        claims(bench), OKPKey.generate_key("Ed25519", {"kid": private_key(bench).kid})
    ),
    "no kid": lambda bench: sign(claims(bench), private_key(bench), kid=None),
    "kid that is a path": lambda bench: sign(claims(bench), OKPKey.generate_key("Ed25519"), kid="../../../../dev/null"),
    "key in the header": lambda bench: sign(
        claims(bench),
        (key := OKPKey.generate_key("Ed25519")),
        jwk=key.as_dict(private=False),
        kid=private_key(bench).kid,
    ),
    "address of keys in the header": lambda bench: sign(
        claims(bench), OKPKey.generate_key("Ed25519"), jku="https://evil.example/jwks", kid="evil"
    ),
    "public key as a shared secret": confused,
    "EC key's name, RSA signature": lambda bench: sign(
        claims(bench), RSAKey.generate_key(2048), alg="RS256", kid=private_key(bench, "ES256").kid
    ),
    "algorithm of a curve that is not trusted": lambda bench: sign(
        claims(bench), ECKey.generate_key("P-384"), alg="ES384", kid=private_key(bench, "ES256").kid
    ),
    "gateway's issuer, provider's key": lambda bench: sign(
        claims(bench, iss=GATEWAY_ISSUER, aud=GATEWAY_ISSUER), private_key(bench)
    ),
    "provider's issuer, gateway's key": lambda bench: sign(claims(bench), own_key(bench)),
    "token of the gateway for the services": lambda bench: bench.parts.passes.token("acme", "ann", ["ledger:read"]),
    "gateway's token that names no client": lambda bench: sign(
        claims(bench, iss=GATEWAY_ISSUER, aud=GATEWAY_ISSUER), own_key(bench)
    ),
    "gateway's token for a credential that is none": lambda bench: sign(
        claims(
            bench,
            iss=GATEWAY_ISSUER,
            aud=GATEWAY_ISSUER,
            client_id="acme.01a203b6-bab2-7325-92e8-44db8ada30f3",
        ),
        own_key(bench),
    ),
    "gateway's token for a client of a strange name": lambda bench: sign(
        claims(bench, iss=GATEWAY_ISSUER, aud=GATEWAY_ISSUER, client_id="acme.x"), own_key(bench)
    ),
    "not a token": lambda _: "x",
    "three empty parts": lambda _: "..",
    "encrypted": lambda _: "a.b.c.d.e",
    "deep payload": lambda bench: unsigned_text(b'{"iss":' + b"[" * 5000, bench),
    "large": lambda bench: sign(claims(bench, padding="x" * 9000), private_key(bench)),
}


def unsigned_text(payload: bytes, bench: Bench) -> str:
    header = json.dumps({"alg": "Ed25519", "kid": private_key(bench).kid, "typ": "at+jwt"}).encode()
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, payload, b"x" * 64))


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_is_refused_with_one_and_the_same_answer(bench: Bench, name: str) -> None:
    # Each from an address of its own: they are limited by address.
    address = f"10.0.0.{list(FORGERIES).index(name)}"
    token = FORGERIES[name](bench)  # type: ignore[no-untyped-call]  # the table is of lambdas
    answer = bench.app.test_client().get(
        "/probe", headers={"Authorization": f"Bearer {token}"}, environ_base={"REMOTE_ADDR": address}
    )
    assert answer.status_code == 401, answer.text
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="indelible", error="invalid_token"'
    assert answer.json is not None
    assert set(answer.json) == {"type", "title", "status", "detail", "code", "request_id"}
    assert (
        answer.json["detail"] == "The bearer token is not valid here: it may have expired, or be for another service."
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer a b"},
        {"Authorization": "Bearer a, Bearer b"},
    ],
)
def test_a_header_that_is_not_one_token_is_a_malformed_request(bench: Bench, headers: dict[str, str]) -> None:
    answer = bench.app.test_client().get("/probe", headers=headers)
    assert answer.status_code == 400
    assert 'error="invalid_request"' in answer.headers["WWW-Authenticate"]


def test_a_token_in_the_address_is_refused_even_if_it_is_good(bench: Bench) -> None:
    token = sign(claims(bench), private_key(bench))
    answer = bench.probe(token, f"/probe?access_token={token}")
    assert answer.status_code == 400
    assert 'error="invalid_request"' in answer.headers["WWW-Authenticate"]


def test_another_way_of_authenticating_gets_the_bearer_challenge(bench: Bench) -> None:
    answer = bench.app.test_client().get("/probe", auth=("ann", "secret"))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="indelible"'


@pytest.mark.usefixtures("no_time_for_limits")
def test_an_address_that_keeps_sending_bad_tokens_has_to_wait_and_others_need_not(bench: Bench) -> None:
    bad, elsewhere = {"REMOTE_ADDR": "192.0.2.1"}, {"REMOTE_ADDR": "192.0.2.2"}
    header = {"Authorization": "Bearer x"}
    client = bench.app.test_client()
    statuses = [client.get("/probe", headers=header, environ_base=bad).status_code for _ in range(BURST_REFUSALS + 1)]
    assert statuses == [401] * BURST_REFUSALS + [429]
    assert int(client.get("/probe", headers=header, environ_base=bad).headers["Retry-After"]) >= 1
    assert client.get("/probe", headers=header, environ_base=elsewhere).status_code == 401
    good = {"Authorization": f"Bearer {sign(claims(bench), private_key(bench))}"}
    assert client.get("/probe", headers=good, environ_base=bad).status_code == 200


def test_roles_that_are_no_list_of_names_give_no_role(bench: Bench) -> None:
    for roles, kept in ((None, []), ({"org_admin": True}, []), ([1, "observer"], ["observer"]), ("a b", ["a", "b"])):
        answer = bench.probe(sign(claims(bench, roles=roles), private_key(bench)))
        assert answer.json is not None
        assert answer.json["roles"] == kept


def test_the_token_for_the_services_has_the_scopes_of_one_action_and_names_whom_it_is_for(bench: Bench) -> None:
    from gateway.auth.actions import Action

    token = bench.parts.passes.token_for(caller_of(subject="ann"), Action.BUNDLE_DISCLOSE)
    read = jwt.decode(token, own_key(bench), algorithms=["Ed25519"]).claims
    assert (read["iss"], read["aud"], read["sub"], read["org"]) == (
        GATEWAY_ISSUER,
        bench.issuer.audience,
        "ann",
        "acme",
    )
    assert read["scope"] == "ledger:disclose ledger:export"
    assert read["exp"] - read["iat"] <= 300
    assert bench.parts.passes.token_for(caller_of(subject="ann"), Action.BUNDLE_DISCLOSE) == token, "remembered"
    others = {
        bench.parts.passes.token_for(caller_of(subject="bob"), Action.BUNDLE_DISCLOSE),
        bench.parts.passes.token_for(caller_of("other", subject="ann"), Action.BUNDLE_DISCLOSE),
        bench.parts.passes.token_for(caller_of(subject="ann"), Action.BUNDLE_EXPORT),
    }
    assert len(others - {token}) == 3
