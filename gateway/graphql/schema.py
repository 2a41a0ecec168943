"""The schema: what the tables say, put together with strawberry."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

import strawberry
from graphql import GraphQLSchema, NoSchemaIntrospectionCustomRule
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import create_type
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

from gateway.graphql.asking import Conversation
from gateway.graphql.limits import CALL_COST, SLOW_COST
from gateway.graphql.nested import NESTED, Nested
from gateway.graphql.operations import Operation, make_operations
from gateway.graphql.paging import connect
from gateway.graphql.scalars import SCALARS
from gateway.graphql.types import Types, given
from gateway.rest.routes import ALL_ROUTES
from gateway.rest.routing import Route

_QUERY = "What there is in your organisation. What belongs to another one does not exist for you."
_MUTATION = "What changes something. Every change to evidence is on the ledger."


class GatewaySchema(strawberry.Schema):
    """The schema of the gateway. `operations` by the names of their root fields, `calls` as limits.check_limits."""

    def __init__(self, routes: tuple[Route, ...], *, introspection: bool) -> None:
        made = make_operations(Types(), routes)
        by_handler = {operation.route.handler: operation for operation in made}
        self._nested: dict[str, list[StrawberryField]] = {}
        self.operations: Mapping[str, Operation] = {to_camel_case(operation.name): operation for operation in made}
        self.calls: Mapping[str, int] = {
            **{f"{'Query' if one.reads else 'Mutation'}.{name}": _cost(one) for name, one in self.operations.items()},
            **{f"{one.on.__name__}.{to_camel_case(one.name)}": _cost(by_handler[one.handler]) for one in NESTED},
        }
        for nested in NESTED:
            field = _nested_field(nested, by_handler[nested.handler])
            self._nested.setdefault(nested.on.__name__, []).append(field)
        super().__init__(
            query=create_type("Query", _fields(one for one in made if one.reads), description=_QUERY),
            mutation=create_type("Mutation", _fields(one for one in made if not one.reads), description=_MUTATION),
            config=StrawberryConfig(scalar_map=SCALARS),
            extensions=[_Prepared, *([] if introspection else [_NoIntrospection])],
        )

    @property
    def graphql(self) -> GraphQLSchema:
        """As graphql-core has it."""
        return self._schema

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        """The fields of a type: those of the value, and those that lead on from it."""
        return [*super().get_fields(type_definition), *self._nested.get(type_definition.name, ())]

    def process_errors(self, errors: list[Any], execution_context: Any = None) -> None:
        """Errors are logged where they are told."""


def make_schema(routes: tuple[Route, ...] = ALL_ROUTES, *, introspection: bool = True) -> GatewaySchema:
    """The schema of these routes."""
    return GatewaySchema(routes, introspection=introspection)


def print_schema(schema: GatewaySchema) -> str:
    """The schema as a file."""
    return f"{schema.as_str()}\n"


class _Prepared(SchemaExtension):
    """The document was read before, with limits."""

    def on_operation(self) -> Iterator[None]:
        """Before anything else."""
        self.execution_context.graphql_document = self.execution_context.context.document
        yield


class _NoIntrospection(SchemaExtension):
    """Where the operator switched introspection off."""

    def on_operation(self) -> Iterator[None]:
        """Before the document is validated."""
        self.execution_context.validation_rules += (NoSchemaIntrospectionCustomRule,)
        yield


def _cost(operation: Operation) -> int:
    return SLOW_COST if operation.route.slow else CALL_COST


def _fields(operations: Iterable[Operation]) -> list[StrawberryField]:
    return [
        _field(operation, _answering(operation, {}), operation.arguments_but(()), operation.name)
        for operation in operations
    ]


def _nested_field(nested: Nested, operation: Operation) -> StrawberryField:
    return _field(operation, _answering(operation, nested.given), operation.arguments_but(nested.given), nested.name)


def _answering(operation: Operation, members: Mapping[str, str]) -> Callable[..., Awaitable[Any]]:
    """The resolver of an operation; `members` of the thing it is a field of are arguments."""

    async def resolve(root: Any, info: strawberry.Info[Conversation, None], **arguments: Any) -> Any:
        asked = given(arguments)
        for argument, member in members.items():
            value = getattr(root, member)
            if value is None:
                return None
            asked[argument] = str(value)
        if not operation.reads:
            return await info.context.tell(operation, asked)
        if operation.pages:
            return await connect(info.context, operation, asked)
        return await info.context.ask(operation, asked)

    return resolve


def _field(
    operation: Operation, resolve: Callable[..., Any], parameters: Iterable[inspect.Parameter], name: str
) -> StrawberryField:
    """A field that may be null: what is refused there spoils nothing beside it."""
    kinds = inspect.signature(resolve).parameters
    resolve.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # where inspect looks for it
        [kinds["root"], kinds["info"], *parameters], return_annotation=operation.answer | None
    )
    resolve.__name__ = name
    made: StrawberryField = strawberry.field(resolver=resolve, description=operation.description)
    return made
