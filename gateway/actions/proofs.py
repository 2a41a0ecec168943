"""What proves a chain to others: anchors, bundles and verify links."""

from gateway.actions.desk import Desk
from gateway.auth.actions import Action
from gateway.auth.values import GatewayCaller, Resource
from gateway.values import Anchor, Bytes, Page, RevokedLink, VerifyLink


def list_anchors(
    desk: Desk, caller: GatewayCaller, *, session_id: str, limit: int = 100, cursor: str | None = None
) -> Page[Anchor]:
    """A page of a chain's anchors, obtained and pending."""
    with desk.authorise(caller, Action.ANCHOR_LIST, Resource.chain_of(caller.organisation_id, session_id)) as identity:
        return desk.ledger.list_anchors(identity, session_id, limit=limit, cursor=cursor)


def export_bundle(desk: Desk, caller: GatewayCaller, *, session_id: str) -> Bytes:
    """Everything needed to verify a chain offline, as a zip file; what sealed members say is left out."""
    with desk.authorise(
        caller, Action.BUNDLE_EXPORT, Resource.chain_of(caller.organisation_id, session_id)
    ) as identity:
        pieces = desk.ledger.export_bundle(identity, session_id, include_disclosures=False)
        return Bytes(pieces=pieces, name=f"{session_id}.zip")


def export_disclosing_bundle(desk: Desk, caller: GatewayCaller, *, session_id: str) -> Bytes:
    """The bundle with what sealed members say, as far as it was not erased."""
    with desk.authorise(
        caller, Action.BUNDLE_DISCLOSE, Resource.chain_of(caller.organisation_id, session_id)
    ) as identity:
        pieces = desk.ledger.export_bundle(identity, session_id, include_disclosures=True)
        return Bytes(pieces=pieces, name=f"{session_id}.zip")


def create_verify_link(desk: Desk, caller: GatewayCaller, *, session_id: str, valid_days: int = 0) -> VerifyLink:
    """A link that shows a chain to whoever holds it, for 90 days unless said otherwise."""
    with desk.authorise(caller, Action.LINK_CREATE, Resource.chain_of(caller.organisation_id, session_id)) as identity:
        return desk.ledger.create_verify_link(identity, session_id, valid_days)


def revoke_verify_link(desk: Desk, caller: GatewayCaller, *, link_id: str) -> RevokedLink:
    """End a link before its time."""
    with desk.authorise(caller, Action.LINK_REVOKE, Resource.organisation(caller.organisation_id)) as identity:
        return desk.ledger.revoke_verify_link(identity, link_id)
