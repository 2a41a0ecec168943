"""Every role, and another organisation's, at every field."""

import secrets
import uuid
from typing import Any

import pytest
from graphql import GraphQLEnumType, GraphQLObjectType, get_named_type

from gateway.auth.actions import ACTIONS
from gateway.graphql.operations import Operation
from gateway.graphql.schema import make_schema
from tests.gateway.graphql.asking import Asker
from tests.gateway.rest.test_rest_matrix import ACTION_OF, BODIES, FINAL, OWN_NAMES, Things, permitted, things
from tests.gateway.rest.world import ROLES, World

__all__ = ["things"]

SCHEMA = make_schema()
OPERATIONS = SCHEMA.operations
NAMELESS = str(uuid.UUID(int=7))
NAMED = sorted(name for name, one in OPERATIONS.items() if "{" in one.route.path and one.route.name not in OWN_NAMES)


def ask(asker: Asker, name: str, things: Things, request_id: str) -> Any:
    """The answer of one field; its arguments are those of the routes' matrix."""
    operation = OPERATIONS[name]
    root = SCHEMA.graphql.query_type if operation.reads else SCHEMA.graphql.mutation_type
    assert root is not None
    field = root.fields[name]
    given = {
        argument: value.upper() if isinstance(get_named_type(field.args[argument].type), GraphQLEnumType) else value
        for argument, value in arguments(operation, things).items()
    }
    declared = ", ".join(f"${argument}: {field.args[argument].type}" for argument in given)
    passed = ", ".join(f"{argument}: ${argument}" for argument in given)
    selected = " { __typename }" if isinstance(get_named_type(field.type), GraphQLObjectType) else ""
    query = f"{'query' if operation.reads else 'mutation'}{f' ({declared})' if given else ''} {{ {name}"
    query += f"{f'({passed})' if given else ''}{selected} }}"
    return asker.send(query, given, X_Request_Id=request_id)


def arguments(operation: Operation, things: Things) -> dict[str, Any]:
    body = BODIES.get(operation.route.name, {})
    if operation.route.name == "open_session":
        body = {"session_id": f"m-{secrets.token_hex(6)}"}
    known = {member: getattr(things, member) for member in Things.__dataclass_fields__}
    known |= {"sequence": 1, "file": "clip.mp4", "role": "matrix-role"}
    known |= {"site_id": "matrix-site", "camera_id": "matrix-camera"}
    given = {
        argument.name: known.get(argument.member, NAMELESS) if argument.part == "path" else body[argument.member]
        for argument in operation.arguments
        if argument.part == "path" or argument.member in body
    }
    return {_camel(name): value for name, value in given.items()}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def code_of(answer: Any) -> str | None:
    errors = answer.json.get("errors", [])
    return errors[0]["extensions"]["code"] if errors else None


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_role_may_do_what_the_policy_says_and_a_refusal_is_recorded(
    world: World, things: Things, name: str
) -> None:
    route = OPERATIONS[name].route
    action = ACTION_OF[route.uses[0]]
    for role in ROLES:
        if role == "org_admin" and route.name in FINAL:
            continue
        asker = Asker.of(world.caller(roles=[role], subject=f"{role}-{secrets.token_hex(3)}"))
        request_id = secrets.token_hex(8)
        answer = ask(asker, name, things, request_id)
        assert answer.status_code == 200, answer.text
        outcomes = [outcome for *_, outcome in world.decisions(request_id)]
        if action in permitted(world, role):
            assert code_of(answer) not in {"FORBIDDEN", "INTERNAL"}, f"{role}: {answer.text}"
            # The arguments are sound; only the site of a camera may be gone by now.
            assert code_of(answer) != "INVALID_REQUEST" or name == "putCamera", answer.text
            assert not ACTIONS[action].recorded or "allowed" in outcomes
        else:
            assert code_of(answer) == "FORBIDDEN", f"{role}: {answer.text}"
            assert answer.json["data"] == {name: None}
            assert outcomes == ["denied"]


@pytest.mark.parametrize("name", NAMED)
def test_what_belongs_to_another_organisation_does_not_exist_and_asking_is_recorded(
    world: World, things: Things, name: str
) -> None:
    request_id = secrets.token_hex(8)
    answer = ask(Asker.of(world.foreigner()), name, things, request_id)
    assert answer.json["data"] == {name: None}
    (error,) = answer.json["errors"]
    assert error["message"] == "There is nothing of that name here."
    assert error["extensions"] == {"code": "NOT_FOUND", "status": 404, "request_id": request_id}
    decisions = world.decisions(request_id)
    assert {organisation for organisation, *_ in decisions} == {"other"}
    assert "not_found" in {outcome for *_, outcome in decisions}


def test_a_nested_field_asks_the_policy_again(world: World, things: Things) -> None:
    viewer = Asker.of(world.caller(roles=["observer"]))
    answer = viewer.send("query ($id: ID!) { clip(clipId: $id) { clipId custody } }", {"id": things.clip_id})
    assert answer.json["data"] == {"clip": {"clipId": things.clip_id, "custody": None}}
    (error,) = answer.json["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["clip", "custody"], "FORBIDDEN")


def test_lists_of_another_organisation_hold_nothing_of_ours(world: World, things: Things) -> None:
    stranger = Asker.of(world.foreigner())
    query = """{
      clips(first: 100) { edges { node { clipId } } } holds(first: 100) { edges { node { holdId } } }
      sessions(first: 100) { edges { node { sessionId } } } credentials { edges { node { credentialId } } }
    }"""
    answer = stranger.send(query)
    for mine in (things.clip_id, things.hold_id, things.session_id, things.credential_id):
        assert mine not in answer.text


def test_a_narrow_token_does_no_more_than_its_scopes(world: World, things: Things) -> None:
    reader = Asker.of(world.caller(scopes=["ledger:read"]))
    assert reader.data("query ($id: ID!) { session(sessionId: $id) { state } }", id=things.session_id)
    error = reader.error("{ clips { edges { cursor } } }")
    assert error["extensions"]["code"] == "INSUFFICIENT_SCOPE"
    assert error["extensions"]["scope"] == "evidence:read"
