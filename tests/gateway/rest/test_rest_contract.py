"""Whatever the OpenAPI document allows, and much that it does not: no server error, and nothing the document denies."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from gateway.rest.routes import ALL_ROUTES
from gateway.rest.routing import Route
from tests.gateway.rest.world import World, token

# Of each kind for each route; seven hundred requests in all.
EXAMPLES = 5
_EXPECTED = ["2xx", "401", "403", "404", "409", "410", "422"]
# Free-form JSON that can be no payload, names of what is not there, and text with characters that nothing shows: no
# schema says.
_OPEN = frozenset(
    {
        *("open_session", "end_session", "close_session", "append_events", "annotate_recording"),
        *("put_assignment", "put_camera"),
        *("record_consent", "start_recording", "stop_recording"),
    }
)
_OPEN_PARTS = frozenset({"cursor", "roles", "url", "mapping"})


@pytest.fixture(scope="module")
def contract(world: World) -> BaseSchema:
    """The document, as the gateway serves it."""
    config = SchemathesisConfig.from_dict({"checks": {"positive_data_acceptance": {"expected-statuses": _EXPECTED}}})
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", world.app, config=config)


@pytest.fixture(scope="module")
def names(world: World) -> Mapping[str, str]:
    """Things that there are, for every other request: else nearly all would be answered with 404."""
    ann = world.caller()
    session = world.session(about="fuzzing")
    clip = ann.post("/clips", {"source": "gate-1", "incident": "fuzz", "event_at": "2026-03-01T12:00:10Z"}).json
    return {
        "session_id": session,
        "clip_id": clip["clip_id"],
        "sequence": "1",
        "file": "clip.mp4",
        "recording_id": world.recording(),
    }


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_the_gateway_keeps_its_contract(
    world: World, contract: BaseSchema, names: Mapping[str, str], route: Route, mode: GenerationMode
) -> None:
    operation = contract[f"/api/v1{route.path}"][route.method]
    headers = {"Authorization": f"Bearer {token(world.issuer)}"}
    turns = itertools.count()

    @seed(2026)
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE and next(turns) % 2:
            case.path_parameters |= {name: names[name] for name in case.path_parameters if name in names}
        # Every route without a token is tested elsewhere.
        spared = [ignored_auth, *([positive_data_acceptance] if may_be_refused(route, case) else [])]
        case.call_and_validate(headers=headers, excluded_checks=spared)

    run()


def may_be_refused(route: Route, case: Case[Any]) -> bool:
    """Whether a request holds what is right by the document and may be wrong all the same."""
    body = case.body if isinstance(case.body, dict) else {}
    return route.name in _OPEN or not _OPEN_PARTS.isdisjoint({*(case.query or {}), *body})
