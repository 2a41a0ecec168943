"""Who asks, and what about."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.auth.actions import ACTIONS, Action

# The chain of that name is the operations chain of its organisation, never a session.
OPERATIONS_CHAIN = "operations"


class Role(StrEnum):
    """The roles every organisation has; what each may do stands in policy/roles.cedar."""

    ORG_ADMIN = "org_admin"
    OPERATOR = "operator"
    INVESTIGATOR = "investigator"
    OBSERVER = "observer"
    AUDITOR = "auditor"


# Of signed alert sources only: no token and no assignment can give it.
ALERT_SOURCE = "alert_source"


class Kind(StrEnum):
    """The kinds of things actions act on, by their names in policy/schema.cedarschema."""

    ORGANISATION = "Organisation"
    SITE = "Site"
    CAMERA = "Camera"
    CLIP = "Clip"
    SESSION = "Session"
    RECORDING = "Recording"
    CHAIN = "Chain"
    CREDENTIAL = "Credential"
    WEBHOOK = "Webhook"
    SOURCE = "Source"


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayCaller:
    """Whom a request speaks for; `expires_at` in seconds since 1970.

    `roles` are the issuer's word and hold in the whole organisation, or, when `cameras` is given, for those only.
    Further roles may be assigned in the gateway's records. `credential_id` is None for people.
    """

    organisation_id: str
    subject: str
    roles: frozenset[str]
    scopes: frozenset[str]
    expires_at: float
    request_id: str
    credential_id: str | None = None
    cameras: frozenset[str] | None = None

    @classmethod
    def of_source(
        cls, *, organisation_id: str, source_id: str, cameras: frozenset[str], request_id: str
    ) -> "GatewayCaller":
        """A source of alerts whose signature was checked: it may ask for clips of its cameras, and nothing else."""
        return cls(
            organisation_id=organisation_id,
            subject=f"source:{source_id}",
            roles=frozenset({ALERT_SOURCE}),
            scopes=frozenset(ACTIONS[Action.CLIP_REQUEST].scopes),
            expires_at=float("inf"),
            request_id=request_id,
            cameras=cameras,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """What an action acts on. `camera` is the camera a clip is of, or a function that finds it when it matters."""

    kind: Kind
    organisation_id: str
    id: str
    camera: str | Callable[[], str] | None = field(default=None, compare=False)

    @classmethod
    def organisation(cls, organisation_id: str) -> "Resource":
        """The organisation itself: what lists and openings act on."""
        return cls(kind=Kind.ORGANISATION, organisation_id=organisation_id, id=organisation_id)

    @classmethod
    def site(cls, organisation_id: str, site_id: str) -> "Resource":
        """A site."""
        return cls(kind=Kind.SITE, organisation_id=organisation_id, id=site_id)

    @classmethod
    def camera_of(cls, organisation_id: str, camera_id: str) -> "Resource":
        """A camera."""
        return cls(kind=Kind.CAMERA, organisation_id=organisation_id, id=camera_id, camera=camera_id)

    @classmethod
    def clip(cls, organisation_id: str, clip_id: str, *, camera: str | Callable[[], str]) -> "Resource":
        """A clip. A function for its camera is called only for callers whose roles are narrowed to places."""
        return cls(kind=Kind.CLIP, organisation_id=organisation_id, id=clip_id, camera=camera)

    @classmethod
    def session(cls, organisation_id: str, chain_id: str) -> "Resource":
        """A session, with its chain and events."""
        return cls(kind=Kind.SESSION, organisation_id=organisation_id, id=chain_id)

    @classmethod
    def chain_of(cls, organisation_id: str, chain_id: str) -> "Resource":
        """A chain by its name: the operations chain, or the session of that name."""
        kind = Kind.CHAIN if chain_id == OPERATIONS_CHAIN else Kind.SESSION
        return cls(kind=kind, organisation_id=organisation_id, id=chain_id)

    @classmethod
    def recording(cls, organisation_id: str, recording_id: str) -> "Resource":
        """A recording."""
        return cls(kind=Kind.RECORDING, organisation_id=organisation_id, id=recording_id)

    @classmethod
    def credential(cls, organisation_id: str, credential_id: str) -> "Resource":
        """A machine's credential."""
        return cls(kind=Kind.CREDENTIAL, organisation_id=organisation_id, id=credential_id)

    @classmethod
    def webhook(cls, organisation_id: str, endpoint_id: str) -> "Resource":
        """An endpoint that webhooks are sent to."""
        return cls(kind=Kind.WEBHOOK, organisation_id=organisation_id, id=endpoint_id)

    @classmethod
    def source(cls, organisation_id: str, source_id: str) -> "Resource":
        """A source of alerts."""
        return cls(kind=Kind.SOURCE, organisation_id=organisation_id, id=source_id)
