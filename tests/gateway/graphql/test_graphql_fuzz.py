"""Whatever the schema allows, and much that it does not: a well-formed answer, and never a failure."""

import itertools
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis_graphql import Mode, from_schema, nodes

import gateway.graphql
from gateway.graphql.schema import make_schema
from gateway.problems import STATUS, Code
from tests.gateway.graphql.asking import Asker
from tests.gateway.rest.world import Reply, World

# Of each kind for each field.
EXAMPLES = 4
SCHEMA = (Path(gateway.graphql.__file__).parent / "schema.graphql").read_text(encoding="utf-8")
OPERATIONS = make_schema().operations
# Where there is nothing to fill in, nothing can be filled in wrongly.
CASES = [(name, mode) for name, one in OPERATIONS.items() for mode in Mode if one.arguments or mode is Mode.POSITIVE]
MOMENTS = ["2026-03-01T12:00:10Z", "2026-03-01T12:00:10.123456+02:00", "9999-12-31T23:59:59Z", "", "now"]
SCALARS = {
    "CanonicalJson": st.just(nodes.String("{}")),
    "DateTime": st.sampled_from(MOMENTS).map(nodes.String),
    "JSON": st.one_of(
        st.just(nodes.Object([])),
        st.integers().map(nodes.Int),
        st.floats(allow_nan=False, allow_infinity=False).map(nodes.Float),
        st.text(max_size=8).map(nodes.String),
        st.just(nodes.List([nodes.Boolean(value=True)])),
    ),
    "Long": st.integers().map(nodes.Int),
}
# What is written into a query to make it speak of things that there are.
NAMED = re.compile(r'(sessionId|clipId|kind|source|file|reason): "(?:[^"\\]|\\.)*"')


@pytest.fixture(scope="module")
def known(world: World) -> Mapping[str, str]:
    ann = world.caller()
    wanted = {"source": "gate-1", "incident": f"f-{secrets.token_hex(4)}", "event_at": MOMENTS[0]}
    clip = ann.post("/clips", wanted).json["clip_id"]
    names = {"sessionId": world.session(), "clipId": clip, "kind": "fuzz.tried", "source": "gate-1"}
    return names | {"file": "clip.mp4", "reason": "fuzzing"}


def check(answer: Reply) -> None:
    """A well-formed answer (GraphQL specification, section 7)."""
    body: Any = answer.json
    assert answer.status_code in {200, 400}, answer.text
    assert ("data" in body) == (answer.status_code == 200)
    assert body.keys() <= {"data", "errors"}
    assert answer.status_code == 200 or body["errors"]
    for error in body.get("errors", []):
        assert error.keys() <= {"message", "locations", "path", "extensions"}
        assert error["message"]
        code = Code(error["extensions"]["code"])
        assert code is not Code.INTERNAL, answer.text
        assert error["extensions"]["status"] == STATUS[code]
        assert answer.status_code == 200 or code in {Code.INVALID_REQUEST, Code.TOO_LARGE}


@pytest.mark.parametrize(("field", "mode"), CASES, ids=[f"{name}-{mode.name.lower()}" for name, mode in CASES])
def test_no_query_makes_the_gateway_fail(world: World, known: Mapping[str, str], field: str, mode: Mode) -> None:
    ann = Asker.of(world.caller())
    turns = itertools.count()

    @seed(2026)
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(query=from_schema(SCHEMA, fields=[field], custom_scalars=SCALARS, mode=mode))
    def run(query: str) -> None:
        if next(turns) % 2:
            query = NAMED.sub(lambda found: f'{found[1]}: "{known[found[1]]}"', query)
        check(ann.send(query))

    run()


@seed(2026)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    query=st.text(alphabet='{}()[]:!$@.,"# \n\\aqumtionsfrg0123é\u2028', max_size=120),
    variables=st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text(max_size=3), max_size=3),
)
def test_no_text_makes_the_gateway_fail(world: World, query: str, variables: dict[str, Any]) -> None:
    check(Asker.of(world.caller()).send(f"{query} ", variables))
