"""Every route of the API."""

from gateway.rest import access, alerts, clips, credentials, events, holds, proofs, recordings, sessions, webhooks
from gateway.rest.routing import Route

ALL_ROUTES: tuple[Route, ...] = (
    *sessions.ROUTES,
    *events.ROUTES,
    *proofs.ROUTES,
    *recordings.ROUTES,
    *clips.ROUTES,
    *holds.ROUTES,
    *credentials.ROUTES,
    *access.ROUTES,
    *webhooks.ROUTES,
    *alerts.ROUTES,
)
