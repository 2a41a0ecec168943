"""The policies as text: what they permit to whom, and what is refused before the gateway serves."""

import re
import time
from importlib.resources import files
from pathlib import Path

import pytest

from gateway.auth.actions import ACTIONS, Action
from gateway.auth.policies import Place, Policies, Reach, Reaches, load_policies
from gateway.auth.values import Kind, Role
from ledger.settings_reader import SettingsError

WATCH = {"session.list", "session.view", "event.list", "anchor.list", "recording.list", "recording.view"}
WATCH |= {"clip.list", "clip.view"}
OPERATE = {"session.open", "session.close", "consent.record", "event.append", "recording.start", "recording.stop"}
OPERATE |= {"recording.annotate", "clip.request", "hold.place"}
INVESTIGATE = {"chain.check", "bundle.export", "bundle.disclose", "link.create", "link.revoke", "recording.download"}
INVESTIGATE |= {"clip.request", "clip.custody", "clip.verify", "clip.download", "clip.export", "clip.restore"}
INVESTIGATE |= {"hold.place", "hold.lift", "recording.custody", "recording.verify"}
AUDIT = {"chain.check", "bundle.export", "clip.custody", "clip.verify", "retention.view", "webhook.view", "source.view"}
AUDIT |= {"credential.view", "access.view", "recording.custody", "recording.verify"}
# What each role may do, written down once more, so that a slip in the policies shows.
MAY = {
    Role.OBSERVER: WATCH,
    Role.OPERATOR: WATCH | OPERATE,
    Role.INVESTIGATOR: WATCH | INVESTIGATE,
    Role.AUDITOR: WATCH | AUDIT,
    Role.ORG_ADMIN: {action.value for action in Action},
}
OPERATIONS_READERS = {Role.AUDITOR, Role.ORG_ADMIN}

POLICIES = load_policies()
CASES = [(action, kind) for action, kinds in POLICIES.kinds.items() for kind in kinds]


def reaching(*names: str, reach: Reach | None = None) -> Reaches:
    return frozenset((name, reach or Reach(everywhere=True)) for name in names)


def decide(reaches: Reaches, action: Action, place: Place, policies: Policies = POLICIES) -> bool:
    return policies.decide(organisation_id="acme", reaches=reaches, action=action, place=place).allowed


def test_every_action_is_in_the_schema_and_has_a_rule() -> None:
    schema = files("gateway.auth.policy").joinpath("schema.cedarschema").read_text(encoding="utf-8")
    assert set(re.findall(r'action "([a-z]+\.[a-z]+)"', schema)) == set(Action) == set(ACTIONS)
    assert all(rule.scopes for rule in ACTIONS.values())


@pytest.mark.parametrize("role", Role)
def test_a_role_permits_what_it_should_and_nothing_else(role: Role) -> None:
    for action, kind in CASES:
        place = Place(kind=kind, organisation_id="acme")
        expected = action.value in MAY[role]
        if kind is Kind.CHAIN:
            expected = expected and role in OPERATIONS_READERS and action.value not in OPERATE
        assert decide(reaching(role), action, place) == expected, (role, action, kind)


def test_no_role_at_all_permits_nothing() -> None:
    for action, kind in CASES:
        assert not decide(frozenset(), action, Place(kind=kind, organisation_id="acme"))


@pytest.mark.parametrize("role", Role)
def test_no_role_reaches_into_another_organisation(role: Role) -> None:
    everything = reaching(role, *Action)
    for action, kind in CASES:
        place = Place(kind=kind, organisation_id="other", camera_id="gate-1", site_id="north")
        decision = POLICIES.decide(organisation_id="acme", reaches=everything, action=action, place=place)
        assert not decision.allowed, (role, action, kind)
        assert "tenancy.other-organisation" in decision.policies


def test_the_names_of_two_organisations_places_are_never_the_same() -> None:
    """`acme` has a role for its own camera gate-1; that of the other organisation has the same name."""
    reaches = reaching("org_admin", reach=Reach(cameras=frozenset({"gate-1"}), sites=frozenset({"north"})))
    for kind in (Kind.CAMERA, Kind.CLIP, Kind.SITE):
        place = Place(kind=kind, organisation_id="other", camera_id="gate-1", site_id="north")
        action = Action.CLIP_VIEW if kind is Kind.CLIP else Action.CLIP_REQUEST
        if kind in POLICIES.kinds[action]:
            assert not decide(reaches, action, place)


def test_a_custom_role_permits_its_permissions_only() -> None:
    for permission in Action:
        for action, kind in CASES:
            place = Place(kind=kind, organisation_id="acme")
            expected = action is permission and not (kind is Kind.CHAIN and action.value in OPERATE)
            assert decide(reaching(permission), action, place) == expected, (permission, action, kind)


@pytest.mark.parametrize(
    ("reach", "camera", "site", "permitted"),
    [
        (Reach(cameras=frozenset({"gate-1"})), "gate-1", None, True),
        (Reach(cameras=frozenset({"gate-1"})), "gate-2", None, False),
        (Reach(sites=frozenset({"north"})), "gate-1", "north", True),
        (Reach(sites=frozenset({"north"})), "gate-1", "south", False),
        (Reach(sites=frozenset({"north"})), "gate-1", None, False),
        (Reach(sites=frozenset({"gate-1"})), "gate-1", None, False),
        (Reach(), "gate-1", "north", False),
    ],
)
def test_a_narrowed_role_holds_where_it_was_given(
    reach: Reach,
    camera: str,
    site: str | None,
    permitted: bool,  # noqa: FBT001 - a column of the table
) -> None:
    for reaches in (reaching("investigator", reach=reach), reaching("clip.view", reach=reach)):
        place = Place(kind=Kind.CLIP, organisation_id="acme", camera_id=camera, site_id=site)
        assert decide(reaches, Action.CLIP_VIEW, place) == permitted
        assert not decide(reaches, Action.CLIP_LIST, Place(kind=Kind.ORGANISATION, organisation_id="acme"))
        assert not decide(reaches, Action.SESSION_VIEW, Place(kind=Kind.SESSION, organisation_id="acme"))


def test_a_narrowed_auditor_who_may_watch_elsewhere_does_not_read_the_operations_chain() -> None:
    reaches = reaching("observer") | reaching("auditor", reach=Reach(cameras=frozenset({"gate-1"})))
    assert not decide(reaches, Action.EVENT_LIST, Place(kind=Kind.CHAIN, organisation_id="acme"))
    assert decide(reaches, Action.EVENT_LIST, Place(kind=Kind.SESSION, organisation_id="acme"))


def test_an_action_that_does_not_apply_to_a_thing_is_a_defect_and_never_a_permission() -> None:
    with pytest.raises(ValueError, match=re.escape("clip.dispose cannot be asked for a Session")):
        decide(reaching("org_admin"), Action.CLIP_DISPOSE, Place(kind=Kind.SESSION, organisation_id="acme"))


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ('// ours\n\npermit (principal, action == Indelible::Action::"clip.vew", resource);', 3, "unrecognized action"),
        ("permit (principal, action, resource)\nwhen { principal.age > 3 };", 1, "attribute `age`"),
        ("\npermit (principal, action, resource) when { ;", 2, "unexpected token"),
        ("permit (principal, action, resource)", 1, "unexpected end"),
        ('forbid (principal, action, resource == Indelible::Clip::"acme/1");', 1, "not of one single thing"),
        (
            '// a; "comment"\nforbid (principal, action, resource)\nwhen { principal == Indelible::Subject::"ann" };',
            2,
            "not of one single thing",
        ),
        ("permit (principal is Indelible::Robot, action, resource);", 1, "unrecognized entity type"),
    ],
)
def test_a_policy_that_cannot_be_used_stops_the_start_with_its_file_and_line(
    tmp_path: Path, text: str, line: int, what: str
) -> None:
    (tmp_path / "ours.cedar").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_policies(tmp_path)
    assert any(f"ours.cedar, line {line}:" in problem and what in problem for problem in caught.value.problems), (
        caught.value.problems
    )


def test_a_policy_of_the_operator_counts_and_cannot_lift_what_is_forbidden(tmp_path: Path) -> None:
    (tmp_path / "ours.cedar").write_text(
        "permit (principal, action, resource);\n"
        '// Nobody disposes here; "not even" administrators.\n'
        '@id("ours.no-disposal")\nforbid (principal, action == Indelible::Action::"clip.dispose", resource);\n'
    )
    policies = load_policies(tmp_path)
    own, others = (Place(kind=Kind.CLIP, organisation_id=one) for one in ("acme", "other"))
    assert decide(frozenset(), Action.CLIP_VIEW, own, policies)
    assert not decide(frozenset(), Action.CLIP_VIEW, others, policies)
    decision = policies.decide(
        organisation_id="acme", reaches=reaching("org_admin"), action=Action.CLIP_DISPOSE, place=own
    )
    assert (decision.allowed, decision.policies) == (False, ("ours.no-disposal",))


def test_deciding_costs_little_and_repeating_it_next_to_nothing() -> None:
    policies = load_policies()
    clip = Place(kind=Kind.CLIP, organisation_id="acme", camera_id="gate-1", site_id="north")
    # This thread's own work: what else the machine does counts for nothing.
    started = time.thread_time()
    decide(reaching("investigator"), Action.CLIP_VIEW, clip, policies)
    # 0.3 ms on a quiet machine.
    assert time.thread_time() - started < 0.1
    started = time.thread_time()
    for _ in range(10_000):
        decide(reaching("investigator"), Action.CLIP_VIEW, clip, policies)
    # 5 microseconds each; a slow machine is allowed twenty times that, and a decision of its own each time takes 3 s.
    assert time.thread_time() - started < 1
