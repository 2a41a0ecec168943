"""Endpoints, sources, deliveries and attempts as people see them. Times are UTC."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from gateway.values import JsonObject

DeliveryState = Literal["pending", "delivered", "dead"]
Scheme = Literal["standard", "body"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where an organisation wants to be told, and of what."""

    endpoint_id: UUID
    url: str
    types: tuple[str, ...]
    description: str
    created_by: str
    created_at: datetime
    disabled_at: datetime | None
    disabled_reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertSource:
    """A system that sends alerts, and what it may ask for.

    `scheme` says how it signs: `standard` as Standard Webhooks, `body` the body alone. Its alerts may ask for clips of
    these cameras only.
    """

    alert_source_id: UUID
    name: str
    scheme: Scheme
    cameras: tuple[str, ...]
    mapping: JsonObject
    created_by: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One message for one endpoint, and what became of it."""

    delivery_id: UUID
    endpoint_id: UUID
    message_id: str
    type: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRecord:
    """One line of a delivery's log."""

    number: int
    attempted_at: datetime
    milliseconds: int
    status: int | None
    problem: str
    answer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryLog:
    """A delivery, what was sent, and every attempt."""

    delivery: Delivery
    body: JsonObject
    attempts: tuple[AttemptRecord, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointSecret:
    """An endpoint with a secret that is shown this once."""

    endpoint: Endpoint
    secret: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceSecret:
    """A source with a secret that is shown this once."""

    source: AlertSource
    secret: str
