"""What keeps hostile queries small, before anything is carried out.

A query costs one for each field, and `CALL_COST` for each use case behind it, times the `first` of every connection
around it: about what its answer can grow to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    parse,
)

from gateway.problems import Code, Problem

MAX_QUERY_CHARACTERS = 32_768
MAX_TOKENS = 1_000
MAX_DEPTH = 12
MAX_ALIASES = 30
MAX_COST = 10_000
CALL_COST = 10
# Whole chains are computed anew, whole files read back.
SLOW_COST = 2_000
# Of one name in one pair of braces: comparing them all is what validation takes longest for.
MAX_REPEATED = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A document, and the one operation of it that is asked for."""

    document: DocumentNode
    operation: OperationDefinitionNode

    @property
    def writes(self) -> bool:
        """Whether it is a mutation."""
        return self.operation.operation is OperationType.MUTATION


def read_document(query: str, operation_name: str | None) -> Document:
    """The document. Raises Problem (INVALID_REQUEST, TOO_LARGE)."""
    if len(query) > MAX_QUERY_CHARACTERS:
        raise Problem(Code.TOO_LARGE, f"The query has more than {MAX_QUERY_CHARACTERS:,} characters.", field="query")
    try:
        document = parse(query, max_tokens=MAX_TOKENS)
    except GraphQLError as error:
        raise Problem(Code.INVALID_REQUEST, error.message, field="query") from None
    except RecursionError:
        raise Problem(Code.INVALID_REQUEST, "The query is nested too deeply.", field="query") from None
    operations = [
        node
        for node in document.definitions
        if isinstance(node, OperationDefinitionNode)
        and (operation_name is None or (node.name is not None and node.name.value == operation_name))
    ]
    if len(operations) != 1:
        raise Problem(
            Code.INVALID_REQUEST, "operationName must name one operation of the query.", field="operationName"
        )
    if operations[0].operation is OperationType.SUBSCRIPTION:
        raise Problem(Code.INVALID_REQUEST, "There are no subscriptions here; register a webhook.", field="query")
    return Document(document=document, operation=operations[0])


def check_limits(
    schema: GraphQLSchema, document: Document, variables: Mapping[str, Any], calls: Mapping[str, int]
) -> int:
    """What an operation costs. Raises Problem (TOO_LARGE). `calls` is what use cases cost, by type and field."""
    walk = _Walk(schema, document, variables, calls)
    try:
        walk.operation()
    except RecursionError:
        raise _too_large(f"It is nested deeper than {MAX_DEPTH} fields.") from None
    return walk.cost


class _Walk:
    """One way through an operation, its fragments included: as often as each is spread."""

    def __init__(
        self, schema: GraphQLSchema, document: Document, variables: Mapping[str, Any], calls: Mapping[str, int]
    ) -> None:
        self._schema = schema
        self._operation = document.operation
        self._fragments = {
            node.name.value: node for node in document.document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        defaults = {
            node.variable.name.value: node.default_value.value
            for node in document.operation.variable_definitions or ()
            if isinstance(node.default_value, IntValueNode)
        }
        self._variables = {**defaults, **variables}
        self._calls = calls
        self._steps = 0
        self._aliases = 0
        self.cost = 0

    def operation(self) -> None:
        """Go through it all."""
        root = self._schema.get_root_type(self._operation.operation)
        self._selections(self._operation.selection_set, root, depth=1, times=1, spread=frozenset())

    def _selections(
        self,
        selected: SelectionSetNode,
        parent: GraphQLObjectType | None,
        *,
        depth: int,
        times: int,
        spread: frozenset[str],
    ) -> None:
        repeated: dict[str, int] = {}
        for node in selected.selections:
            self._steps += 1
            if self._steps > MAX_COST:
                raise _too_large("Its fragments are spread too often.")
            if isinstance(node, FieldNode):
                name = (node.alias or node.name).value
                repeated[name] = repeated.get(name, 0) + 1
                if repeated[name] > MAX_REPEATED:
                    raise _too_large(f"{name} stands more than {MAX_REPEATED} times in one place.")
                self._field(node, parent, depth=depth, times=times, spread=spread)
            elif isinstance(node, InlineFragmentNode):
                self._selections(node.selection_set, parent, depth=depth, times=times, spread=spread)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in spread:
                # What is not there, or spreads itself, is refused by the rules of GraphQL.
                fragment = self._fragments.get(node.name.value)
                if fragment is not None:
                    inside = spread | {node.name.value}
                    self._selections(fragment.selection_set, parent, depth=depth, times=times, spread=inside)

    def _field(
        self, node: FieldNode, parent: GraphQLObjectType | None, *, depth: int, times: int, spread: frozenset[str]
    ) -> None:
        name = node.name.value
        if depth > MAX_DEPTH and not name.startswith("__"):
            raise _too_large(f"It is nested deeper than {MAX_DEPTH} fields.")
        self._aliases += node.alias is not None
        if self._aliases > MAX_ALIASES:
            raise _too_large(f"It has more than {MAX_ALIASES} aliases.")
        field = parent.fields.get(name) if parent is not None else None
        self.cost += times * (1 + (self._calls.get(f"{parent.name}.{name}", 0) if parent is not None else 0))
        if self.cost > MAX_COST:
            raise _too_large(f"It costs more than {MAX_COST:,}: ask for fewer fields, or a smaller `first`.")
        if node.selection_set is None:
            return
        if field is not None and "first" in field.args:
            times *= max(1, self._first(node, field.args["first"].default_value))
        below = get_named_type(field.type) if field is not None else None
        inner = below if isinstance(below, GraphQLObjectType) else None
        # Introspection has a limit of depth of its own among the rules of GraphQL.
        deeper = 0 if name.startswith("__") else depth + 1 if depth else 0
        self._selections(node.selection_set, inner, depth=deeper, times=times, spread=spread)

    def _first(self, node: FieldNode, default: Any) -> int:
        """How many items are asked for. What is no number is refused further on."""
        for argument in node.arguments or ():
            if argument.name.value == "first":
                value: Any = argument.value
                if isinstance(value, VariableNode):
                    value = self._variables.get(value.name.value, default)
                elif isinstance(value, IntValueNode):
                    value = value.value
                digits = str(value)
                return int(digits[:6]) if digits.isascii() and digits.isdigit() else 1
        return int(default)


def _too_large(why: str) -> Problem:
    return Problem(Code.TOO_LARGE, f"The query asks for too much. {why}", field="query")
