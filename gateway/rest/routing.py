"""What a route of the API is: an address, a use case, and how the two meet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any, Literal

from gateway.actions.desk import Desk
from gateway.auth.values import GatewayCaller

# Requests other than appends and annotations say little.
MAX_BODY_BYTES = 64 * 1024


class Repeat(Enum):
    """Who honours an Idempotency-Key."""

    # Reading, or what cannot go wrong twice: the key is not asked for.
    NONE = "none"
    # The gateway keeps the answer for a day.
    GATEWAY = "gateway"
    # The service behind it does, for ever.
    SERVICE = "service"


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request, checked: who asks, with what, and under which key it may be repeated."""

    desk: Desk
    caller: GatewayCaller
    idempotency_key: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a handler gives back: one of `gateway.values`, or a page, a file or JSON text.

    `status` stands for the route's own; `etag` makes repeated reading cheap.
    """

    value: object
    status: HTTPStatus | None = None
    etag: str | None = None
    replayed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One method at one address, below /api/v1.

    `handler(call, path=..., query=..., body=...)` takes what its annotations name, models of `Strict`; its docstring is
    the documentation. `uses` are the use cases it may call. `answer` is the type of what it gives, `bytes` for a zip
    file, `also` further statuses of success. `secret`: the answer holds what is shown only once, and so is not kept.
    `slow`: it may keep a thread busy for minutes, so that only few run at once.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    handler: Callable[..., Answer]
    uses: tuple[Callable[..., Any], ...]
    answer: Any
    tag: str
    status: HTTPStatus = HTTPStatus.OK
    also: tuple[HTTPStatus, ...] = ()
    repeat: Repeat = Repeat.NONE
    secret: bool = False
    etag: bool = False
    slow: bool = False
    max_body_bytes: int = MAX_BODY_BYTES

    @property
    def name(self) -> str:
        """The operation's id, and Flask's endpoint."""
        return self.handler.__name__
