"""No route without a check: from the addresses that Flask knows to the first line of each use case."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from gateway.actions import desk as desk_module
from gateway.actions.table import USE_CASES, UseCase
from gateway.auth.actions import Action
from gateway.rest.routes import ALL_ROUTES
from gateway.rest.routing import Repeat, Route
from tests.gateway.rest.world import World

# What tells nothing of anybody.
PUBLIC = {"rest.openapi", "rest.reference", "rest.lead_to_reference"}
BY_FUNCTION = {case.function: case for case in USE_CASES}


def first_statement(function: Callable[..., Any]) -> list[ast.stmt]:
    """The statements of a function, without its docstring."""
    parsed = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(parsed, ast.FunctionDef)
    return parsed.body[1:]


def asked_action(function: Callable[..., Any]) -> str:
    """The action that a use case asks about before it does anything; no name is bound to anything but a resource."""
    for statement in first_statement(function):
        if isinstance(statement, ast.Assign) and all(
            getattr(target, "id", "") == "resource" for target in statement.targets
        ):
            continue
        assert isinstance(statement, ast.With), f"{function.__name__} does something before it is permitted"
        call = statement.items[0].context_expr
        assert isinstance(call, ast.Call)
        assert ast.unparse(call.func) == "desk.authorise"
        assert ast.unparse(call.args[0]) == "caller"
        return ast.unparse(call.args[1])
    raise AssertionError(f"{function.__name__} never asks")


@pytest.mark.parametrize("case", USE_CASES, ids=lambda case: case.name)
def test_a_use_case_begins_by_asking_the_policy(case: UseCase) -> None:
    assert asked_action(case.function) == f"Action.{case.action.name}"


def test_every_address_below_api_v1_is_a_route_of_the_table(world: World) -> None:
    assert endpoints(world.app) - PUBLIC == {f"rest.{route.name}" for route in ALL_ROUTES}


def endpoints(app: Flask) -> set[str]:
    return {rule.endpoint for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/")}


@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_uses_listed_use_cases_and_nothing_behind_them(route: Route) -> None:
    assert route.uses
    assert all(function in BY_FUNCTION for function in route.uses)
    source = inspect.getsource(route.handler)
    used = {name.__name__ for name in route.uses}
    called = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    assert used & called == used
    others = {case.name for case in USE_CASES} - used
    assert not others & called, "a handler calls a use case that its route does not name"
    assert not {"ledger", "evidence", "records", "passes"} & called, "a handler goes past the use cases"


@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_without_a_token_nothing_is_told(world: World, route: Route) -> None:
    path = route.path.replace("{", "").replace("}", "")
    answer = world.app.test_client().open(f"/api/v1{path}", method=route.method, data=b"{not even JSON")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json is not None
    assert answer.json["code"] == "UNAUTHENTICATED"


def test_every_action_has_a_use_case() -> None:
    assert {case.action for case in USE_CASES} == set(Action)


def test_a_write_honours_a_key_unless_it_only_reads_files_back() -> None:
    without = {route.name for route in ALL_ROUTES if route.method != "GET" and route.repeat is Repeat.NONE}
    assert without == {"verify_clip", "verify_recording"}
    assert not any(route.repeat is not Repeat.NONE for route in ALL_ROUTES if route.method == "GET")


def test_the_document_names_what_a_body_and_a_missing_part_are_refused_with(world: World) -> None:
    document = world.app.test_client().get("/api/v1/openapi.json").json
    assert document is not None
    for route in ALL_ROUTES:
        told = set(document["paths"][f"/api/v1{route.path}"][route.method.lower()]["responses"])
        assert {"400", "401", "403", "404", "409", "429", "503"} <= told
        assert ({"413", "415"} <= told) == (route.method in {"POST", "PUT", "PATCH"}), route.name
        assert ("501" in told) == (route.tag in {"Webhooks", "Alert sources"}), route.name


def test_the_desk_gives_no_identity_that_was_not_asked_for() -> None:
    """Only `Permit` makes an identity, and two places that read a clip or a recording to find out about it."""
    package = inspect.getmodule(desk_module)
    assert package is not None
    uses = [case.name for case in USE_CASES if "desk.identity" in inspect.getsource(case.function)]
    assert uses == []
