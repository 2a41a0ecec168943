"""The fields of the root types, made of the routes of REST: the same names, models, handlers and use cases.

A route that reads becomes a field of Query, any other one of Mutation. What is downloaded as a file has no field.
"""

import inspect
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_origin, get_type_hints

import strawberry
from pydantic import BaseModel
from strawberry.utils.str_converters import to_camel_case

from gateway.graphql.types import Types, sentences
from gateway.problems import Problem
from gateway.rest.parsing import validated
from gateway.rest.routes import ALL_ROUTES
from gateway.rest.routing import Call, Route
from gateway.values import Page

DEFAULT_FIRST = 20

# What relay calls otherwise.
_RENAMED = {"limit": "first", "cursor": "after"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """One argument: what it is called here, and which member of which model it fills, if any."""

    name: str
    part: str | None
    member: str
    type: Any
    required: bool
    description: str | None

    @property
    def parameter(self) -> inspect.Parameter:
        """How a resolver takes it."""
        default: Any = inspect.Parameter.empty if self.required else strawberry.UNSET
        kind = self.type if self.required else self.type | None
        if self.name == "first":
            kind, default = int, DEFAULT_FIRST
        described = strawberry.argument(description=self.description)
        annotation = Annotated[kind, described]  # type: ignore[valid-type]  # it is a type, found at run time
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_WALKING = (
    Argument(name="first", part=None, member="first", type=int, required=False, description="Items of a page at most."),
    Argument(name="after", part=None, member="after", type=str, required=False, description=None),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One route as a field. `pages`: its answer is a connection."""

    route: Route
    name: str
    models: Mapping[str, type[BaseModel]]
    arguments: tuple[Argument, ...]
    answer: Any
    pages: bool

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.route.method == "GET"

    @property
    def description(self) -> str:
        """What the route's documentation says; ETags are of HTTP."""
        paragraphs = sentences(self.route.handler).split("\n\n")
        return "\n\n".join(one for one in paragraphs if not one.startswith("The ETag"))

    def arguments_but(self, known: Container[str]) -> list[inspect.Parameter]:
        """The parameters of a resolver that knows some arguments already."""
        return [argument.parameter for argument in self.arguments if argument.name not in known]

    def run(self, call: Call, given: Mapping[str, Any]) -> Any:
        """Carry it out with the arguments that were given. Raises Problem, in terms of the arguments."""
        parts: dict[str, dict[str, Any]] = {part: {} for part in self.models}
        for argument in self.arguments:
            # For what may be left out, null says that it is.
            if argument.part and argument.name in given and (argument.required or given[argument.name] is not None):
                parts[argument.part][argument.member] = given[argument.name]
        try:
            read = {part: validated(model, parts[part]) for part, model in self.models.items()}
            return self.route.handler(call, **read).value
        except Problem as problem:
            if problem.field:
                problem.field = self._named(problem.field)
            raise

    def _named(self, field: str) -> str:
        """A member by its name here: events[0].sealed_members is events[0].sealedMembers."""
        names = {argument.member: argument.name for argument in self.arguments}
        head = field.partition(".")[0].partition("[")[0]
        return to_camel_case(names.get(head, head) + field[len(head) :])


def make_operations(types: Types, routes: tuple[Route, ...] = ALL_ROUTES) -> tuple[Operation, ...]:
    """The operations of all routes but downloads."""
    return tuple(_operation(types, route) for route in routes if route.answer is not bytes)


def _operation(types: Types, route: Route) -> Operation:
    hints = get_type_hints(route.handler)
    models: dict[str, type[BaseModel]] = {part: hints[part] for part in ("path", "query", "body") if part in hints}
    arguments = tuple(
        _argument(types, part, member, model) for part, model in models.items() for member in model.model_fields
    )
    pages = get_origin(route.answer) is Page
    if pages and not any(argument.name == "first" for argument in arguments):
        # A list that REST gives as a whole is gone through like any other.
        arguments += _WALKING
    if len({argument.name for argument in arguments}) != len(arguments):
        raise ValueError(f"{route.name} has two arguments of one name")
    return Operation(
        route=route,
        name=route.name.removeprefix("list_").removeprefix("get_") if route.method == "GET" else route.name,
        models=models,
        arguments=arguments,
        answer=types.output(route.answer, route.name),
        pages=pages,
    )


def _argument(types: Types, part: str, member: str, model: type[BaseModel]) -> Argument:
    field = model.model_fields[member]
    name = _RENAMED.get(member, member)
    if get_origin(field.annotation) is list and not name.endswith("s"):
        name += "s"
    return Argument(
        name=name,
        part=part,
        member=member,
        type=types.input(field.annotation, member),
        required=field.is_required(),
        description=field.description,
    )
