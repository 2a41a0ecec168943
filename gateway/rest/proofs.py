"""Routes: what proves a session to others."""

from http import HTTPStatus

from pydantic import Field

from gateway.actions import proofs
from gateway.rest.models import OptionalBody, PageQuery, SessionPath, Strict, Truth, Uuid
from gateway.rest.routing import Answer, Call, Repeat, Route
from gateway.values import Anchor, Page, RevokedLink, VerifyLink

MAX_LINK_DAYS = 366


class BundleQuery(Strict):
    """What the bundle shall hold."""

    disclosures: Truth = Field(default=False, description="With what sealed members say, as far as it was not erased.")


class NewVerifyLink(OptionalBody):
    """How long a link shall be good for."""

    valid_days: int | None = Field(default=None, ge=1, le=MAX_LINK_DAYS, description="90 when not given.")


class VerifyLinkPath(Strict):
    """A verify link."""

    link_id: Uuid


def list_anchors(call: Call, path: SessionPath, query: PageQuery) -> Answer:
    """List the anchors of a session: what authorities outside confirmed, and what they are still asked for."""
    page = proofs.list_anchors(
        call.desk, call.caller, session_id=path.session_id, limit=query.limit, cursor=query.cursor
    )
    return Answer(value=page)


def download_bundle(call: Call, path: SessionPath, query: BundleQuery) -> Answer:
    """Download everything that is needed to verify a session offline, as a zip file."""
    export = proofs.export_disclosing_bundle if query.disclosures else proofs.export_bundle
    return Answer(value=export(call.desk, call.caller, session_id=path.session_id))


def create_verify_link(call: Call, path: SessionPath, body: NewVerifyLink) -> Answer:
    """Make a link that shows a session to whoever holds it.

    Give it to a court, a lawyer, an insurer: they need no account.
    """
    link = proofs.create_verify_link(
        call.desk, call.caller, session_id=path.session_id, valid_days=body.valid_days or 0
    )
    return Answer(value=link)


def revoke_verify_link(call: Call, path: VerifyLinkPath) -> Answer:
    """End a verify link before its time; again: the moment it was first ended."""
    return Answer(value=proofs.revoke_verify_link(call.desk, call.caller, link_id=path.link_id))


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/sessions/{session_id}/anchors",
        handler=list_anchors,
        uses=(proofs.list_anchors,),
        answer=Page[Anchor],
        tag="Proofs",
    ),
    Route(
        method="GET",
        path="/sessions/{session_id}/bundle",
        handler=download_bundle,
        uses=(proofs.export_bundle, proofs.export_disclosing_bundle),
        answer=bytes,
        tag="Proofs",
        slow=True,
    ),
    Route(
        method="POST",
        path="/sessions/{session_id}/verify-links",
        handler=create_verify_link,
        uses=(proofs.create_verify_link,),
        answer=VerifyLink,
        tag="Proofs",
        status=HTTPStatus.CREATED,
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="DELETE",
        path="/verify-links/{link_id}",
        handler=revoke_verify_link,
        uses=(proofs.revoke_verify_link,),
        answer=RevokedLink,
        tag="Proofs",
        repeat=Repeat.GATEWAY,
    ),
)
