"""The schema says what the values and the use cases say: nothing more, nothing less, nothing unchecked."""

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from graphql import GraphQLEnumType, GraphQLNonNull, GraphQLObjectType, build_schema, get_named_type
from strawberry.utils.str_converters import to_camel_case

import gateway.graphql
from gateway import values
from gateway.actions.table import USE_CASES
from gateway.graphql.nested import NESTED
from gateway.graphql.schema import GatewaySchema, make_schema, print_schema
from gateway.rest.routes import ALL_ROUTES
from gateway.values import Bytes, Page
from gateway.webhooks import values as webhook_values

SCHEMA = make_schema()
OPERATIONS = SCHEMA.operations
PUBLISHED = Path(gateway.graphql.__file__).parent / "schema.graphql"
NESTED_NAMES = {(one.on.__name__, to_camel_case(one.name)) for one in NESTED}


def dataclasses_in(hint: Any) -> Iterator[type]:
    """The dataclasses that a type holds, and those that they hold."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield hint
        for inner in get_type_hints(hint).values():
            yield from dataclasses_in(inner)
    else:
        for inner in get_args(hint):
            yield from dataclasses_in(inner)


VALUES = sorted(
    {kind for route in ALL_ROUTES for kind in dataclasses_in(route.answer)} - {Page}, key=lambda it: it.__name__
)


def object_type(name: str, schema: GatewaySchema = SCHEMA) -> GraphQLObjectType:
    found = schema.graphql.type_map[name]
    assert isinstance(found, GraphQLObjectType)
    return found


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_a_type_has_the_fields_of_its_value_and_those_that_lead_on(value: type) -> None:
    made = object_type(value.__name__)
    hints = get_type_hints(value)
    expected = {to_camel_case(name) for name in hints}
    assert set(made.fields) - expected == {name for on, name in NESTED_NAMES if on == value.__name__}
    for name, hint in hints.items():
        optional = type(None) in get_args(hint)
        assert isinstance(made.fields[to_camel_case(name)].type, GraphQLNonNull) is not optional, name
    assert made.description


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_an_enum_has_the_words_of_its_value(value: type) -> None:
    for name, hint in get_type_hints(value).items():
        if get_origin(hint) is Literal:
            enum = get_named_type(object_type(value.__name__).fields[to_camel_case(name)].type)
            assert isinstance(enum, GraphQLEnumType)
            assert set(enum.values) == {word.upper() for word in get_args(hint)}
            aliases = {**vars(values), **vars(webhook_values)}
            named = {alias for alias, known in aliases.items() if get_origin(known) is Literal and known == hint}
            assert named in ({enum.name}, set())


def test_json_that_was_hashed_is_text_and_no_number_is_cut_off() -> None:
    event, session = object_type("Event"), object_type("Session")
    assert str(event.fields["payload"].type) == "CanonicalJson!"
    assert str(session.fields["subject"].type) == "CanonicalJson!"
    assert str(event.fields["sequence"].type) == str(session.fields["eventCount"].type) == "Long!"
    assert str(object_type("StoredFile").fields["size"].type) == "Long!"


def test_every_field_of_the_roots_is_an_operation_and_every_operation_a_field() -> None:
    query, mutation = SCHEMA.graphql.query_type, SCHEMA.graphql.mutation_type
    assert query is not None
    assert mutation is not None
    assert not set(query.fields) & set(mutation.fields)
    assert {*query.fields, *mutation.fields} == set(OPERATIONS)
    assert {name for name, one in OPERATIONS.items() if one.reads} == set(query.fields)
    assert {"placeHold", "liftHold"} <= set(mutation.fields)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_field_uses_listed_use_cases(name: str) -> None:
    checked = {case.function for case in USE_CASES}
    assert OPERATIONS[name].route.uses
    assert checked.issuperset(OPERATIONS[name].route.uses)


def test_every_use_case_but_downloads_has_a_field() -> None:
    used = {use for one in OPERATIONS.values() for use in one.route.uses}
    downloads = {case.function for case in USE_CASES if inspect.signature(case.function).return_annotation is Bytes}
    assert downloads
    assert {case.function for case in USE_CASES} - used == downloads


def test_no_field_below_the_roots_does_anything_but_an_operation() -> None:
    resolving = {
        (made.name, name)
        for made in SCHEMA.graphql.type_map.values()
        if isinstance(made, GraphQLObjectType) and made.name not in {"Query", "Mutation"}
        for name, field in made.fields.items()
        if (own := field.extensions.get("strawberry-definition")) is not None and own.base_resolver is not None
    }
    assert resolving == NESTED_NAMES
    handlers = {one.route.handler for one in OPERATIONS.values() if one.reads}
    assert {one.handler for one in NESTED} <= handlers


def test_what_a_nested_field_takes_from_its_thing_is_there() -> None:
    by_handler = {one.route.handler: one for one in OPERATIONS.values()}
    for nested in NESTED:
        members = {field.name for field in dataclasses.fields(nested.on)}
        arguments = {argument.name for argument in by_handler[nested.handler].arguments}
        assert set(nested.given) <= arguments
        assert set(nested.given.values()) <= members


def test_the_published_schema_is_the_one_that_is_served() -> None:
    text = PUBLISHED.read_text(encoding="utf-8")
    assert text == print_schema(SCHEMA), "write it anew: python -m gateway.graphql > gateway/graphql/schema.graphql"
    assert build_schema(text).type_map.keys() == SCHEMA.graphql.type_map.keys()


def test_no_secret_is_in_what_can_be_read_twice() -> None:
    seen = {name for name in SCHEMA.graphql.type_map if name.endswith("Secret")}
    query = SCHEMA.graphql.query_type
    assert query is not None
    reached: set[str] = set()
    waiting = [query]
    while waiting:
        made = waiting.pop()
        for field in made.fields.values():
            inner = get_named_type(field.type)
            if isinstance(inner, GraphQLObjectType) and inner.name not in reached:
                reached.add(inner.name)
                waiting.append(inner)
    assert len(seen) == 3
    assert not seen & reached
