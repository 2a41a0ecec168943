"""What happens around every call of a service: who is it, may they, how long, how did it end.

This is a wrapper around each handler and not a gRPC interceptor: interceptors cost an extra scheduling round for every
call, and the append path has none to spare.
"""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import structlog
from opentelemetry import propagate, trace

from ledger.errors import LedgerError, Reason
from ledger.identity import Authenticator, Caller, UnauthenticatedError, require_scope
from ledger.refusals import RefusedError
from ledger.serving.status import rich_status
from ledger.telemetry import CallMetrics, MethodMetrics

Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Any, Any]
UnaryBehaviour = Callable[[Request, Caller], Awaitable[Response]]

# A call nobody set a deadline for must still end.
MAX_UNARY_SECONDS = 30.0

# What a request that is no message of the contract is read as.
MALFORMED = object()

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.stdlib.get_logger("serving")


@dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """What is particular about one gRPC service.

    `service`: its full name. `scopes`: which scope each method needs; a method that is not there cannot be called.
    `public`: methods whose request is its own permission. `quiet`: methods too frequent to be logged. `codes`: the
    gRPC status of each reason. `as_refusal`: what a caller is told of any error.
    """

    service: str
    scopes: Mapping[str, str]
    public: frozenset[str]
    quiet: frozenset[str]
    codes: Mapping[str, grpc.StatusCode]
    as_refusal: Callable[[BaseException], RefusedError]


class StoppingError(Exception):
    """The service is shutting down; a stream ends here and can be continued elsewhere."""


class Session:
    """The caller of a long-lived stream, whose token may expire or be withdrawn while it runs."""

    def __init__(self, authenticator: Authenticator, token: str, caller: Caller) -> None:
        self._authenticator = authenticator
        self._token = token
        self.caller = caller

    def check(self) -> None:
        """Raises LedgerError (UNAUTHENTICATED) once the token is no longer valid; cheap."""
        self._authenticator.authenticate(self._token)


class CallGuard:
    """Wraps handlers so that each call is authenticated, permitted, measured, logged and traced."""

    def __init__(
        self, interface: Interface, authenticator: Authenticator, metrics: CallMetrics, tracer: trace.Tracer | None
    ) -> None:
        self.interface = interface
        self._authenticator = authenticator
        self._metrics = metrics
        self._tracer = tracer

    def unary(
        self, method: str, behaviour: UnaryBehaviour[Request, Response], seconds: float | None = MAX_UNARY_SECONDS
    ) -> Callable[[Request, Context], Awaitable[Response]]:
        """The handler of a unary method that may take `seconds`, or, for None, that sees to its own limit.

        Raises KeyError for a method without a scope: denied by default.
        """
        scope = self.interface.scopes[method]
        metrics = self._metrics.for_method(method)
        quiet = method in self.interface.quiet

        async def handle(request: Request, context: Context) -> Response:
            started = time.perf_counter()
            caller = None
            try:
                _, caller = await self._admit(context, scope)
                require_well_formed(request)
                if seconds is None:
                    response = await behaviour(request, caller)
                else:
                    async with asyncio.timeout(seconds):
                        response = await behaviour(request, caller)
            except BaseException as error:
                await self._refuse(_Call(method, metrics, started, caller, context, trace.get_current_span()), error)
                raise
            metrics.finished("OK", time.perf_counter() - started)
            if not quiet:
                _log.info("call", **_Call(method, metrics, started, caller, context).line("OK"))
            return response

        return self._traced(self._tracer, method, handle) if self._tracer else handle

    def public_unary(
        self, method: str, behaviour: Callable[[Request], Awaitable[Response]], seconds: float = MAX_UNARY_SECONDS
    ) -> Callable[[Request, Context], Awaitable[Response]]:
        """The handler of a unary method whose request is its own permission. Raises KeyError for any other."""
        if method not in self.interface.public:
            raise KeyError(method)
        metrics = self._metrics.for_method(method)
        quiet = method in self.interface.quiet

        async def handle(request: Request, context: Context) -> Response:
            started = time.perf_counter()
            try:
                require_well_formed(request)
                async with asyncio.timeout(seconds):
                    response = await behaviour(request)
            except BaseException as error:
                await self._refuse(_Call(method, metrics, started, None, context, trace.get_current_span()), error)
                raise
            metrics.finished("OK", time.perf_counter() - started)
            if not quiet:
                _log.info("call", **_Call(method, metrics, started, None, context).line("OK"))
            return response

        return self._traced(self._tracer, method, handle) if self._tracer else handle

    def stream(
        self, method: str, behaviour: Callable[[Any, Session], AsyncGenerator[Response, None]]
    ) -> Callable[[Any, Context], AsyncIterator[Response]]:
        """The handler of a method that answers with a stream, whether it takes one request or a stream of them."""
        scope = self.interface.scopes[method]

        async def admit(context: Context) -> Session:
            token, caller = await self._admit(context, scope)
            return Session(self._authenticator, token, caller)

        return self._streaming(method, admit, behaviour)

    def public_stream(
        self, method: str, behaviour: Callable[[Any], AsyncGenerator[Response, None]]
    ) -> Callable[[Any, Context], AsyncIterator[Response]]:
        """The handler of a streaming method whose request is its own permission."""
        if method not in self.interface.public:
            raise KeyError(method)

        async def admit(_context: Context) -> None:
            return None

        return self._streaming(method, admit, lambda request, _session: behaviour(request))

    def _streaming(
        self,
        method: str,
        admit: Callable[[Context], Awaitable[Any]],
        behaviour: Callable[[Any, Any], AsyncGenerator[Response, None]],
    ) -> Callable[[Any, Context], AsyncIterator[Response]]:
        metrics = self._metrics.for_method(method)
        service = self.interface.service

        async def handle(request: Any, context: Context) -> AsyncIterator[Response]:
            started = time.perf_counter()
            caller = None
            # Not the current span: a generator may be closed from another context than it was started in.
            span = self._tracer.start_span(**_span_of(service, method, context)) if self._tracer else trace.INVALID_SPAN
            try:
                session = await admit(context)
                require_well_formed(request)
                caller = session.caller if session else None
                async with aclosing(behaviour(request, session)) as responses:
                    async for response in responses:
                        yield response
            except BaseException as error:
                await self._refuse(_Call(method, metrics, started, caller, context, span), error)
                raise
            finally:
                span.end()
            metrics.finished("OK", time.perf_counter() - started)
            _log.info("call", **_Call(method, metrics, started, caller, context).line("OK"))

        return handle

    async def _admit(self, context: Context, scope: str) -> tuple[str, Caller]:
        token = _bearer_token(context)
        caller = await self._authenticator.authenticate_anew(token)
        require_scope(caller, scope)
        return token, caller

    def _traced(
        self, tracer: trace.Tracer, method: str, handle: Callable[[Request, Context], Awaitable[Response]]
    ) -> Callable[[Request, Context], Awaitable[Response]]:
        async def traced(request: Request, context: Context) -> Response:
            with tracer.start_as_current_span(**_span_of(self.interface.service, method, context)):
                return await handle(request, context)

        return traced

    async def _refuse(self, call: "_Call", error: BaseException) -> None:
        """End the call with the status `error` deserves; returns only when the call is already over."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit | grpc.aio.AbortError):
            call.measure("CANCELLED")
            _log.debug("call", **call.line("CANCELLED"))
            return
        if isinstance(error, StoppingError):
            call.measure("UNAVAILABLE")
            await call.context.abort(grpc.StatusCode.UNAVAILABLE, "The service is stopping; connect again to continue.")
        refusal = self.interface.as_refusal(error)
        code = self.interface.codes[refusal.reason]
        call.measure(code.name)
        call.span.set_status(trace.StatusCode.ERROR, refusal.reason)
        line = call.line(code.name) | {"reason": str(refusal.reason)}
        if refusal is error:
            _log.info("call_refused", **line)
        else:
            _log.error("call_failed", **line, exc_info=error)
        status = rich_status(refusal, code, str(line["request_id"]))
        await call.context.abort(status.code, status.details, status.trailing_metadata)


class _Call:
    """A call that is over, for the metrics and the log."""

    __slots__ = ("_caller", "_metrics", "_started", "context", "method", "span")

    def __init__(  # noqa: PLR0913, PLR0917 - made once per finished call, in two places
        self,
        method: str,
        metrics: MethodMetrics,
        started: float,
        caller: Caller | None,
        context: Context,
        span: trace.Span = trace.INVALID_SPAN,
    ) -> None:
        self.method = method
        self._metrics = metrics
        self._started = started
        self._caller = caller
        self.context = context
        self.span = span

    def measure(self, code: str) -> None:
        self._metrics.finished(code, time.perf_counter() - self._started)

    def line(self, code: str) -> dict[str, object]:
        """What is logged about it."""
        return {
            "request_id": _request_id(self.context),
            "method": self.method,
            "code": code,
            "organisation_id": self._caller.organisation_id if self._caller else None,
            "subject": self._caller.subject if self._caller else None,
            "milliseconds": round((time.perf_counter() - self._started) * 1000, 3),
        }


def _span_of(service: str, method: str, context: Context) -> dict[str, Any]:
    carrier = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    return {
        "name": f"{service}/{method}",
        "context": propagate.extract(carrier),
        "kind": trace.SpanKind.SERVER,
        "attributes": {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
        # An error's text may quote a payload; the status carries the reason.
        "record_exception": False,
        "set_status_on_exception": False,
    }


def require_well_formed(request: object) -> None:
    """Raises LedgerError (INVALID_ARGUMENT) for a request that could not be read."""
    if request is MALFORMED:
        raise LedgerError(Reason.INVALID_ARGUMENT, "The request is not a message this method understands.")


def _bearer_token(context: Context) -> str:
    """RFC 6750 section 2.1. Two different Authorization headers mean that somebody is playing games."""
    found = ""
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            if found or not isinstance(value, str) or value[:7].lower() != "bearer ":
                raise UnauthenticatedError
            found = value[7:]
    return found


def _request_id(context: Context) -> str:
    """The caller's own x-request-id when it is harmless, else a new one."""
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id" and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return secrets.token_hex(8)
