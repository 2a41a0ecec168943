"""One request while it is carried out: who asks, and every use case that was called for it.

What is read goes through one DataLoader: the same question is asked once, of the policy and of the services, however
often it stands in the query, and questions that become known together are asked together.
"""

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from graphql import DocumentNode
from strawberry.dataloader import DataLoader

from gateway.graphql.operations import Operation
from gateway.problems import Code, Problem
from gateway.rest.limits import CallerLimits
from gateway.rest.routing import Call
from gateway.slots import Slots

# Of one request.
MAX_AT_ONCE = 8
# After so long nothing more is begun: a request must not wait for a service that is away, call after call.
MAX_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked of a use case. Two with the same `key` have the same answer."""

    operation: Operation
    given: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The question as text, whatever was asked: what is wrong with it is found further on."""
        return json.dumps([self.operation.name, self.given], sort_keys=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What all requests share: the limits of callers, the threads, and how much may take long at once."""

    limits: CallerLimits
    threads: Executor
    slow: Slots


class Conversation:
    """The context of a request's resolvers."""

    def __init__(self, document: DocumentNode, call: Call, shared: Shared) -> None:
        """The request itself is paid for already: so is its first call."""
        self.document = document
        # Set once a mutation was carried out, whatever becomes of the rest of its answer.
        self.done = False
        self._call = call
        self._shared = shared
        self._calls = 0
        self._ends_at = asyncio.get_running_loop().time() + MAX_SECONDS
        self._bound = asyncio.Semaphore(MAX_AT_ONCE)
        self._reading = self._loader()

    async def ask(self, operation: Operation, given: Mapping[str, Any]) -> Any:
        """The answer of an operation that reads. Raises Problem."""
        return await self._reading.load(Question(operation=operation, given=given))

    async def tell(self, operation: Operation, given: Mapping[str, Any]) -> Any:
        """Carry out an operation that changes something; what was read before counts no more. Raises Problem."""
        answer = await self._run(Question(operation=operation, given=given))
        self.done = True
        self._reading = self._loader()
        return answer

    def _loader(self) -> DataLoader[Question, Any]:
        return DataLoader(load_fn=self._load, cache_key_fn=lambda question: question.key)

    async def _load(self, questions: list[Question]) -> list[Any]:
        # Refusals are answers, too: each goes to whoever asked.
        return await asyncio.gather(*map(self._run, questions), return_exceptions=True)

    async def _run(self, question: Question) -> Any:
        async with self._bound:
            self._calls += 1
            if self._calls > 1:
                self._shared.limits.spend(self._call.caller)
            loop = asyncio.get_running_loop()
            if loop.time() > self._ends_at:
                raise Problem(
                    Code.SERVICE_UNAVAILABLE, "This takes too long. Ask for less at once, or try again later."
                )
            return await loop.run_in_executor(self._shared.threads, copy_context().run, self._answer, question)

    def _answer(self, question: Question) -> Any:
        operation = question.operation
        if not operation.route.slow:
            return operation.run(self._call, question.given)
        with self._shared.slow.take(self._call.caller.organisation_id):
            return operation.run(self._call, question.given)
