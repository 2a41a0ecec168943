"""Credentials of machines: made, shown once, rotated, revoked; and the token endpoint that believes them."""

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from joserfc import jwt
from joserfc.jwk import KeySet

from gateway.auth.commands import credential as command
from gateway.auth.credentials import (
    CreatedCredential,
    create_credential,
    get_credential,
    list_credentials,
    revoke_credential,
    rotate_credential,
)
from gateway.auth.standing import REMEMBER_SECONDS
from gateway.auth.web import BURST_ATTEMPTS
from gateway.problems import Code, Problem
from tests.gateway.auth.bench import EVERY_SCOPE, GATEWAY_ISSUER, Bench, caller_of, roles_of, words

ADMIN = caller_of(roles=roles_of("org_admin"))
FOREIGNER = caller_of("other", roles=roles_of("org_admin"))


@pytest.fixture(scope="module")
def addresses() -> Iterator[str]:
    return iter(f"198.51.100.{number}" for number in range(255))


def make(bench: Bench, **changed: Any) -> CreatedCredential:
    given = {"name": "recorder", "roles": ["operator"], "scopes": ["ledger:read", "ledger:append"], **changed}
    return create_credential(bench.parts, ADMIN, **given)


def test_a_credential_gives_a_token_that_the_gateway_believes(bench: Bench) -> None:
    made = make(bench)
    answer = bench.ask_token(made.client_id, made.client_secret)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert answer.json is not None
    assert set(answer.json) == {"access_token", "token_type", "expires_in", "scope"}
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 600)
    assert answer.json["scope"] == "ledger:append ledger:read"
    probed = bench.probe(answer.json["access_token"])
    assert probed.json == {
        "subject": made.client_id,
        "organisation": "acme",
        "roles": ["operator"],
        "scopes": ["ledger:append", "ledger:read"],
        "credential": str(made.credential.credential_id),
    }


def test_the_token_is_signed_with_a_published_key_and_is_for_the_gateway_alone(bench: Bench) -> None:
    made = make(bench, token_seconds=60)
    answer = bench.ask_token(made.client_id, made.client_secret).json
    assert answer is not None
    published = bench.app.test_client().get("/.well-known/jwks.json")
    assert published.mimetype == "application/jwk-set+json"
    assert published.json is not None
    assert all("d" not in key for key in published.json["keys"]), "no private part is ever published"
    token = jwt.decode(answer["access_token"], KeySet.import_key_set(published.json), algorithms=["Ed25519"])
    assert token.header["typ"] == "at+jwt"
    assert (token.claims["iss"], token.claims["aud"]) == (GATEWAY_ISSUER, GATEWAY_ISSUER)
    assert token.claims["exp"] - token.claims["iat"] == 60


def test_a_secret_is_kept_as_a_digest_only(bench: Bench) -> None:
    made = make(bench)
    with psycopg.connect(bench.database.admin_dsn) as connection:
        rows = connection.execute(
            "SELECT secret_sha256, secret::text FROM gateway.credential_secrets AS secret WHERE credential_id = %s",
            (made.credential.credential_id,),
        ).fetchall()
    assert [row[0] for row in rows] == [hashlib.sha256(made.client_secret.encode()).digest()]
    assert made.client_secret not in rows[0][1]
    assert len(base64.urlsafe_b64decode(made.client_secret.removeprefix("indsec_") + "=")) == 32
    assert made.client_secret not in repr(made.credential)


def test_client_and_secret_may_come_in_the_body_instead(bench: Bench) -> None:
    made = make(bench)
    form = {"grant_type": "client_credentials", "client_id": made.client_id, "client_secret": made.client_secret}
    assert bench.app.test_client().post("/oauth/token", data=form).status_code == 200
    twice = bench.app.test_client().post("/oauth/token", data=form, auth=(made.client_id, made.client_secret))
    assert (twice.status_code, twice.json and twice.json["error"]) == (400, "invalid_request")


def test_a_token_may_be_asked_for_with_fewer_scopes_and_never_with_more(bench: Bench) -> None:
    made = make(bench)
    fewer = bench.ask_token(made.client_id, made.client_secret, scope="ledger:read").json
    assert fewer is not None
    assert fewer["scope"] == "ledger:read"
    more = bench.ask_token(made.client_id, made.client_secret, scope="ledger:read evidence:manage")
    assert (more.status_code, more.json and more.json["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "indsec_" + "A" * 43},
        {"secret": ""},
        {"client": "acme.01a203b6-bab2-7325-92e8-44db8ada30f3"},
        {"client": "acme"},
        {"client": ""},
        {"client": "other.{id}"},
        {"client": "acme.{{{id}}}"},
        {"client": "'; DROP TABLE gateway.credentials; --"},
        {"client": "ac\x00me.{id}"},
        {"client": "acme.{id}\x00"},
        {"client": "äöü.{id}"},
    ],
    ids=str,
)
def test_a_wrong_client_or_secret_is_refused_with_one_answer(
    bench: Bench, addresses: Iterator[str], wrong: dict[str, str]
) -> None:
    made = make(bench)
    client = wrong.get("client", made.client_id).format(id=made.credential.credential_id)
    secret = wrong.get("secret", made.client_secret)
    encoded = base64.b64encode(f"{client}:{secret}".encode()).decode()
    answer = bench.app.test_client().post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": f"Basic {encoded}"},
        environ_base={"REMOTE_ADDR": next(addresses)},
    )
    assert answer.status_code == 401, answer.text
    assert answer.json == {
        "error": "invalid_client",
        "error_description": "There is no such client, or this is not its secret.",
    }
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert answer.headers["Cache-Control"] == "no-store"


def test_requests_that_are_not_as_the_standard_says_are_refused_with_its_errors(bench: Bench) -> None:
    made = make(bench)
    client = bench.app.test_client()
    auth = (made.client_id, made.client_secret)
    grant = {"grant_type": "client_credentials"}
    cases = [
        (client.post("/oauth/token", data={}, auth=auth), 400, "invalid_request"),
        (client.post("/oauth/token", data={"grant_type": "password"}, auth=auth), 400, "unsupported_grant_type"),
        (client.post("/oauth/token", json=grant, auth=auth), 400, "invalid_request"),
        (client.post("/oauth/token?scope=x", data=grant, auth=auth), 400, "invalid_request"),
        (client.post("/oauth/token", data={**grant, "scope": ["a", "b"]}, auth=auth), 400, "invalid_request"),
        (client.post("/oauth/token", data={**grant, "scope": "x" * 9000}, auth=auth), 400, "invalid_request"),
        (client.post("/oauth/token", data={**grant, "client_id": "other.x"}, auth=auth), 400, "invalid_request"),
        (client.post("/oauth/token", data=grant), 401, "invalid_client"),
        (client.post("/oauth/token", data=grant, headers={"Authorization": "Basic %%%"}), 401, "invalid_client"),
        (client.post("/oauth/token", data=grant, headers={"Authorization": "Bearer x"}), 401, "invalid_client"),
    ]
    for answer, status, error in cases:
        assert (answer.status_code, answer.json and answer.json["error"]) == (status, error), answer.text
    assert client.get("/oauth/token").status_code == 405
    assert client.get("/oauth/token").mimetype == "application/problem+json"


@pytest.mark.usefixtures("no_time_for_limits")
def test_attempts_are_limited_for_one_client_from_one_address(bench: Bench) -> None:
    made = make(bench)
    at = {"REMOTE_ADDR": "203.0.113.9"}
    grant = {"grant_type": "client_credentials"}
    client = bench.app.test_client()
    statuses = [
        client.post("/oauth/token", data=grant, auth=(made.client_id, f"guess-{number}"), environ_base=at).status_code
        for number in range(BURST_ATTEMPTS + 2)
    ]
    assert set(statuses[:BURST_ATTEMPTS]) == {401}
    assert statuses[-1] == 429
    right = (made.client_id, made.client_secret)
    held_up = client.post("/oauth/token", data=grant, auth=right, environ_base=at)
    assert held_up.status_code == 429
    assert int(held_up.headers["Retry-After"]) >= 1
    elsewhere = client.post("/oauth/token", data=grant, auth=right, environ_base={"REMOTE_ADDR": "203.0.113.10"})
    assert elsewhere.status_code == 200, "a guesser elsewhere keeps nobody out"


def test_after_a_rotation_both_secrets_work_until_the_overlap_ends(bench: Bench) -> None:
    first = make(bench)
    identifier = str(first.credential.credential_id)
    second = rotate_credential(bench.parts, ADMIN, identifier, overlap_seconds=3600)
    assert second is not None
    assert second.client_id == first.client_id
    for secret in (first.client_secret, second.client_secret):
        assert bench.ask_token(first.client_id, secret).status_code == 200
    third = rotate_credential(bench.parts, ADMIN, identifier, overlap_seconds=3600)
    assert third is not None
    worked = [bench.ask_token(first.client_id, one.client_secret).status_code for one in (first, second, third)]
    assert worked == [401, 200, 200], "one older secret at most"
    last = rotate_credential(bench.parts, ADMIN, identifier, overlap_seconds=0)
    assert last is not None
    worked = [bench.ask_token(first.client_id, one.client_secret).status_code for one in (second, third, last)]
    assert worked == [401, 401, 200], "without an overlap the others end at once"


def test_a_revoked_credential_gets_no_token_and_those_it_had_are_refused(bench: Bench) -> None:
    made = make(bench)
    identifier = str(made.credential.credential_id)
    answer = bench.ask_token(made.client_id, made.client_secret).json
    assert answer is not None
    assert bench.probe(answer["access_token"]).status_code == 200
    revoked = revoke_credential(bench.parts, ADMIN, identifier, reason="laptop lost")
    assert revoked is not None
    assert (revoked.revoked_by, revoked.revoked_reason) == ("ann", "laptop lost")
    assert bench.ask_token(made.client_id, made.client_secret).status_code == 401
    refused = bench.probe(answer["access_token"])
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
    again = revoke_credential(bench.parts, caller_of(subject="bob"), identifier, reason="once more")
    assert again == revoked, "who ended it first stays on record"
    with pytest.raises(Problem) as caught:
        rotate_credential(bench.parts, ADMIN, identifier)
    assert caught.value.code is Code.CONFLICT


def test_a_revocation_elsewhere_counts_within_seconds(bench: Bench) -> None:
    made = make(bench)
    answer = bench.ask_token(made.client_id, made.client_secret).json
    assert answer is not None
    assert bench.probe(answer["access_token"]).status_code == 200
    with psycopg.connect(bench.database.admin_dsn) as connection:
        connection.execute(
            "UPDATE gateway.credentials SET revoked_by = 'x', revoked_reason = 'x', revoked_at = 1 "
            "WHERE credential_id = %s",
            (made.credential.credential_id,),
        )
    deadline = time.monotonic() + REMEMBER_SECONDS + 30
    while bench.probe(answer["access_token"]).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_another_organisation_cannot_see_rotate_or_revoke_a_credential(bench: Bench) -> None:
    identifier = str(make(bench).credential.credential_id)
    assert get_credential(bench.parts, FOREIGNER, identifier) is None
    assert rotate_credential(bench.parts, FOREIGNER, identifier) is None
    assert revoke_credential(bench.parts, FOREIGNER, identifier, reason="mine now") is None
    assert all(str(one.credential_id) != identifier for one in list_credentials(bench.parts, FOREIGNER))
    found = get_credential(bench.parts, ADMIN, identifier)
    assert found is not None
    assert found.revoked_at is None


def test_credentials_are_listed_page_by_page(bench: Bench) -> None:
    somebody = caller_of("listed", roles=roles_of("org_admin"))
    made = [
        create_credential(bench.parts, somebody, name=f"one {number}", roles=[], scopes=["ledger:read"])
        for number in range(3)
    ]
    first = list_credentials(bench.parts, somebody, limit=2)
    rest = list_credentials(bench.parts, somebody, after=str(first[-1].credential_id), limit=2)
    assert [one.credential_id for one in (*first, *rest)] == [one.credential.credential_id for one in made]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"roles": ["org_admin"]}, Code.FORBIDDEN),
        ({"roles": ["investigator"]}, Code.FORBIDDEN),
        ({"roles": ["no-such-role"]}, Code.INVALID_REQUEST),
        ({"roles": ["alert_source"]}, Code.INVALID_REQUEST),
        ({"scopes": ["evidence:manage"]}, Code.FORBIDDEN),
        ({"scopes": ["ledger:evidence"]}, Code.FORBIDDEN),
        ({"scopes": []}, Code.INVALID_REQUEST),
        ({"name": " "}, Code.INVALID_REQUEST),
        ({"name": "a\x00b"}, Code.INVALID_REQUEST),
        ({"token_seconds": 59}, Code.INVALID_REQUEST),
        ({"token_seconds": 3601}, Code.INVALID_REQUEST),
    ],
    ids=str,
)
def test_nobody_makes_a_credential_with_more_rights_than_their_own(
    bench: Bench, changed: dict[str, Any], code: Code
) -> None:
    operator = caller_of(roles=roles_of("operator"), scopes=frozenset({"ledger:read", "ledger:append"}))
    given = {"name": "x", "roles": ["observer"], "scopes": ["ledger:read"], **changed}
    with pytest.raises(Problem) as caught:
        create_credential(bench.parts, operator, **given)
    assert caught.value.code is code


def test_a_scope_no_service_of_the_gateway_has_is_given_to_nobody(bench: Bench) -> None:
    with pytest.raises(Problem) as caught:
        create_credential(
            bench.parts,
            caller_of(roles=roles_of("org_admin"), scopes=EVERY_SCOPE | {"ledger:evidence"}),
            name="x",
            roles=[],
            scopes=["ledger:evidence"],
        )
    assert caught.value.code is Code.INVALID_REQUEST


def test_the_operator_makes_the_first_credential_of_an_organisation(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INDELIBLE_GATEWAY_DSN", bench.database.gateway_dsn)
    made = CliRunner().invoke(command, ["create", "--org", "acme", "--name", "first", "--json"])
    assert made.exit_code == 0, made.output
    said = json.loads(made.stdout)
    assert said["roles"] == ["org_admin"]
    assert set(said["scopes"]) == EVERY_SCOPE
    answer = bench.ask_token(said["client_id"], said["client_secret"]).json
    assert answer is not None
    probed = bench.probe(answer["access_token"]).json
    assert probed is not None
    assert probed["roles"] == ["org_admin"]
    assert words(probed["scopes"]) == words(EVERY_SCOPE)


def test_the_operators_command_refuses_what_is_no_organisation(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDELIBLE_GATEWAY_DSN", bench.database.gateway_dsn)
    refused = CliRunner().invoke(command, ["create", "--org", "Not An Organisation"])
    assert refused.exit_code == 1
    assert "organisation" in refused.output
    assert "Traceback" not in refused.output
