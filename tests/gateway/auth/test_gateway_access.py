"""The one question: who is let through, what is recorded of it, and roles that organisations give themselves."""

from typing import Any

import psycopg
import pytest

from gateway.auth.actions import ACTIONS, Action
from gateway.auth.assignments import (
    list_assignments,
    list_roles,
    put_assignment,
    put_role,
    remove_assignment,
    remove_role,
)
from gateway.auth.places import list_cameras, put_camera, put_site, remove_camera, remove_site
from gateway.auth.values import GatewayCaller, Resource, Role
from gateway.problems import Code, Problem
from tests.gateway.auth.bench import Bench, caller_of, roles_of

ADMIN = caller_of(roles=roles_of("org_admin"))
NOT_FOUND = "There is nothing of that name here."


def clip(camera: Any = "gate-1", organisation_id: str = "acme") -> Resource:
    return Resource.clip(organisation_id, "01a203b6-bab2-7325-92e8-44db8ada30f3", camera=camera)


def refusal(bench: Bench, caller: GatewayCaller, action: Action, resource: Resource) -> Problem:
    with pytest.raises(Problem) as caught:
        bench.parts.access.authorise(caller, action, resource)
    return caught.value


def may(bench: Bench, caller: GatewayCaller, action: Action, resource: Resource) -> bool:
    try:
        bench.parts.access.authorise(caller, action, resource)
    except Problem:
        return False
    return True


def test_every_decision_on_evidence_is_recorded_before_it_is_answered(bench: Bench) -> None:
    caller = caller_of(roles=roles_of("investigator"), request_id="r-evidence")
    bench.parts.access.authorise(caller, Action.CLIP_DOWNLOAD, clip())
    refusal(bench, caller, Action.CLIP_DISPOSE, clip())
    assert bench.decisions("r-evidence") == [
        ("acme", "clip.download", clip().id, "allowed"),
        ("acme", "clip.dispose", clip().id, "denied"),
    ]


def test_what_is_allowed_and_is_not_evidence_is_not_recorded(bench: Bench) -> None:
    caller = caller_of(roles=roles_of("operator"), request_id="r-plain")
    bench.parts.access.authorise(caller, Action.EVENT_APPEND, Resource.session("acme", "visit"))
    assert bench.decisions("r-plain") == []
    refusal(bench, caller, Action.CREDENTIAL_MANAGE, Resource.organisation("acme"))
    assert bench.decisions("r-plain") == [("acme", "credential.manage", "acme", "denied")]


def test_actions_on_evidence_are_all_recorded() -> None:
    for action, rule in ACTIONS.items():
        subject = action.partition(".")[0]
        if subject in {"clip", "recording", "bundle", "link", "hold"}:
            assert rule.recorded, action


def test_the_record_says_which_policy_decided_and_by_whom_it_was_asked(bench: Bench) -> None:
    machine = caller_of(
        roles=roles_of("observer"),
        subject="acme.machine",
        credential_id="01a203b6-bab2-7325-92e8-44db8ada30f3",
        request_id="r-policy",
    )
    with psycopg.connect(bench.database.admin_dsn) as connection:
        connection.execute(
            "INSERT INTO gateway.credentials VALUES (%s, 'acme', 'x', '{observer}', '{x}', 600, 'ann', 1)",
            (machine.credential_id,),
        )
    bench.parts.access.authorise(machine, Action.CLIP_VIEW, clip())
    refusal(bench, machine, Action.CLIP_VIEW, clip(organisation_id="other"))
    with psycopg.connect(bench.database.admin_dsn) as connection:
        rows = connection.execute(
            "SELECT subject, credential_id, policies, outcome FROM gateway.decisions WHERE request_id = 'r-policy' "
            "ORDER BY decision_id"
        ).fetchall()
    assert rows == [
        ("acme.machine", machine.credential_id, ["roles.observer"], "allowed"),
        ("acme.machine", machine.credential_id, ["tenancy.other-organisation"], "foreign"),
    ]


@pytest.mark.parametrize("role", [None, *Role])
def test_another_organisations_things_do_not_exist_whatever_the_role(bench: Bench, role: Role | None) -> None:
    caller = caller_of("other", roles=roles_of(*([role] if role else [])), request_id=f"r-foreign-{role}")
    for action, kinds in bench.parts.access._policies.kinds.items():
        for kind in kinds:
            resource = Resource(kind=kind, organisation_id="acme", id="same-id", camera="gate-1")
            problem = refusal(bench, caller, action, resource)
            assert (problem.status, problem.code, problem.detail) == (404, Code.NOT_FOUND, NOT_FOUND)
    recorded = bench.decisions(caller.request_id)
    assert set(recorded) == {("other", action, "same-id", "foreign") for action in Action}, "where the caller belongs"
    assert len(recorded) == sum(map(len, bench.parts.access._policies.kinds.values())), "every one of them"


def test_what_turns_out_not_to_be_there_is_told_and_recorded_as_what_is_anothers(bench: Bench) -> None:
    caller = caller_of(roles=roles_of("observer"), request_id="r-missing")
    foreign = refusal(bench, caller, Action.CLIP_VIEW, clip(organisation_id="other"))
    missing = bench.parts.access.not_found(caller, Action.CLIP_VIEW, clip())
    assert foreign.document("r") == missing.document("r")
    assert [row[3] for row in bench.decisions("r-missing")] == ["foreign", "not_found"]


def test_a_token_without_the_scope_is_refused_whatever_the_role(bench: Bench) -> None:
    caller = caller_of(roles=roles_of("org_admin"), scopes=frozenset({"evidence:read"}), request_id="r-scope")
    bench.parts.access.authorise(caller, Action.CLIP_VIEW, clip())
    problem = refusal(bench, caller, Action.BUNDLE_DISCLOSE, Resource.session("acme", "visit"))
    assert (problem.status, problem.code) == (403, Code.INSUFFICIENT_SCOPE)
    assert problem.headers["WWW-Authenticate"] == (
        'Bearer realm="indelible", error="insufficient_scope", scope="ledger:disclose ledger:export"'
    )
    assert bench.decisions("r-scope")[-1] == ("acme", "bundle.disclose", "visit", "denied")


@pytest.mark.parametrize(
    "name", ["\x00", "a\x00b", "\ud800", "'; DROP TABLE gateway.decisions; --", "x" * 5000, "\u202e"]
)
def test_a_hostile_name_is_recorded_as_far_as_it_can_be_and_harms_nothing(bench: Bench, name: str) -> None:
    caller = caller_of(request_id=f"r-hostile-{len(name)}-{ord(name[0])}")
    refusal(bench, caller, Action.SESSION_VIEW, Resource.session("acme", name))
    ((_, _, recorded, outcome),) = bench.decisions(caller.request_id)
    assert outcome == "denied"
    assert 0 < len(recorded) <= 256


def test_without_the_records_there_is_no_answer(bench: Bench) -> None:
    caller = caller_of(roles=roles_of("investigator"), request_id="r-unrecorded")
    bench.parts.access.authorise(caller, Action.EVENT_LIST, Resource.session("acme", "visit"))
    with psycopg.connect(bench.database.admin_dsn) as connection:
        connection.execute("LOCK TABLE gateway.decisions IN ACCESS EXCLUSIVE MODE")
        bench.parts.access.authorise(caller, Action.EVENT_LIST, Resource.session("acme", "visit"))
        problem = refusal(bench, caller, Action.CLIP_DOWNLOAD, clip())
    assert problem.code is Code.DATABASE_UNAVAILABLE


def test_a_role_that_is_assigned_counts_until_it_is_removed(bench: Bench) -> None:
    bob = caller_of(subject="bob")
    assert not may(bench, bob, Action.SESSION_LIST, Resource.organisation("acme"))
    given = put_assignment(bench.parts, ADMIN, subject="bob", role="observer")
    assert put_assignment(bench.parts, ADMIN, subject="bob", role="observer") == given, (
        "giving it again changes nothing"
    )
    assert may(bench, bob, Action.SESSION_LIST, Resource.organisation("acme"))
    assert not may(bench, caller_of("other", subject="bob"), Action.SESSION_LIST, Resource.organisation("other"))
    assert list_assignments(bench.parts, ADMIN, subject="bob") == [given]
    assert remove_assignment(bench.parts, caller_of("other"), str(given.assignment_id)) is None
    removed = remove_assignment(bench.parts, ADMIN, str(given.assignment_id))
    assert removed is not None
    assert removed.removed_by == "ann"
    assert not may(bench, bob, Action.SESSION_LIST, Resource.organisation("acme"))
    assert list_assignments(bench.parts, ADMIN, subject="bob") == []


def test_a_role_for_a_site_holds_for_the_cameras_that_stand_there(bench: Bench) -> None:
    put_site(bench.parts, ADMIN, site_id="north", name="North gate")
    put_site(bench.parts, ADMIN, site_id="south", name="South gate")
    put_camera(bench.parts, ADMIN, camera_id="gate-1", site_id="north")
    put_camera(bench.parts, ADMIN, camera_id="gate-2", site_id="south")
    put_assignment(bench.parts, ADMIN, subject="carl", role="investigator", site_id="north")
    carl = caller_of(subject="carl")
    assert [may(bench, carl, Action.CLIP_VIEW, clip(one)) for one in ("gate-1", "gate-2", "gate-3")] == [
        True,
        False,
        False,
    ]
    assert may(bench, carl, Action.CLIP_REQUEST, Resource.camera_of("acme", "gate-1"))
    assert not may(bench, carl, Action.CLIP_LIST, Resource.organisation("acme"))
    assert may(bench, carl, Action.CLIP_LIST, Resource.camera_of("acme", "gate-1"))
    assert not may(bench, carl, Action.BUNDLE_EXPORT, Resource.session("acme", "visit"))
    put_camera(bench.parts, ADMIN, camera_id="gate-2", site_id="north")
    assert may(bench, carl, Action.CLIP_VIEW, clip("gate-2")), "the camera was moved there"
    with pytest.raises(Problem) as caught:
        remove_site(bench.parts, ADMIN, "north")
    assert caught.value.code is Code.CONFLICT
    assert remove_camera(bench.parts, ADMIN, "gate-1")
    assert not may(bench, carl, Action.CLIP_VIEW, clip("gate-1"))
    assert [one.camera_id for one in list_cameras(bench.parts, ADMIN)] == ["gate-2"]


def test_where_a_clip_was_filmed_is_looked_up_only_if_it_matters(bench: Bench) -> None:
    asked: list[str] = []

    def find() -> str:
        asked.append("x")
        return "gate-9"

    bench.parts.access.authorise(caller_of(roles=roles_of("observer")), Action.CLIP_VIEW, clip(find))
    assert asked == []
    put_assignment(bench.parts, ADMIN, subject="dora", role="observer", camera_id="gate-9")
    bench.parts.access.authorise(caller_of(subject="dora"), Action.CLIP_VIEW, clip(find))
    assert asked == ["x"]
    refusal(bench, caller_of("other", subject="dora"), Action.CLIP_VIEW, clip(find))
    assert asked == ["x"], "never of another organisation's clip"


def test_a_custom_role_permits_what_it_says_until_it_is_changed(bench: Bench) -> None:
    put_role(bench.parts, ADMIN, name="reviewer", permissions=["clip.view", "clip.custody"])
    put_assignment(bench.parts, ADMIN, subject="emil", role="reviewer")
    emil, by_token = caller_of(subject="emil"), caller_of(subject="fritz", roles=roles_of("reviewer"))
    for caller in (emil, by_token):
        assert may(bench, caller, Action.CLIP_CUSTODY, clip())
        assert not may(bench, caller, Action.CLIP_DOWNLOAD, clip())
        assert bench.parts.access.allowed_actions(caller) == {Action.CLIP_VIEW, Action.CLIP_CUSTODY}
    assert not may(
        bench, caller_of("other", roles=roles_of("reviewer")), Action.CLIP_VIEW, clip(organisation_id="other")
    )
    put_role(bench.parts, ADMIN, name="reviewer", permissions=["clip.view"])
    assert not may(bench, emil, Action.CLIP_CUSTODY, clip())
    with pytest.raises(Problem) as caught:
        remove_role(bench.parts, ADMIN, "reviewer")
    assert caught.value.code is Code.CONFLICT
    (assignment,) = list_assignments(bench.parts, ADMIN, subject="emil")
    remove_assignment(bench.parts, ADMIN, str(assignment.assignment_id))
    assert remove_role(bench.parts, ADMIN, "reviewer")
    assert "reviewer" not in {role.name for role in list_roles(bench.parts, ADMIN)}
    assert not may(bench, by_token, Action.CLIP_VIEW, clip())


@pytest.mark.parametrize(
    ("name", "permissions", "code"),
    [
        ("org_admin", ["clip.view"], Code.CONFLICT),
        ("alert_source", ["clip.view"], Code.CONFLICT),
        ("clip.view", ["clip.view"], Code.INVALID_REQUEST),
        ("Reviewer", ["clip.view"], Code.INVALID_REQUEST),
        ("r\n", ["clip.view"], Code.INVALID_REQUEST),
        ("reviewer", [], Code.INVALID_REQUEST),
        ("reviewer", ["clip.burn"], Code.INVALID_REQUEST),
        ("reviewer", ["investigator"], Code.INVALID_REQUEST),
    ],
)
def test_a_custom_role_that_could_pass_for_something_else_is_refused(
    bench: Bench, name: str, permissions: list[str], code: Code
) -> None:
    with pytest.raises(Problem) as caught:
        put_role(bench.parts, ADMIN, name=name, permissions=permissions)
    assert caught.value.code is code


def test_nobody_gives_themselves_or_others_more_than_they_have(bench: Bench) -> None:
    put_role(bench.parts, ADMIN, name="clerk", permissions=["access.manage", "access.view", "clip.view"])
    clerk = caller_of(subject="clerk", roles=roles_of("clerk"))
    assert put_assignment(bench.parts, clerk, subject="gerd", role="clerk").role == "clerk"
    for role in ("org_admin", "observer", "auditor"):
        with pytest.raises(Problem) as caught:
            put_assignment(bench.parts, clerk, subject="clerk", role=role)
        assert caught.value.code is Code.FORBIDDEN
    with pytest.raises(Problem) as caught:
        put_role(bench.parts, clerk, name="clerk", permissions=["access.manage", "clip.dispose"])
    assert caught.value.code is Code.FORBIDDEN
    with pytest.raises(Problem) as caught:
        put_assignment(bench.parts, clerk, subject="clerk", role="alert_source")
    assert caught.value.code is Code.INVALID_REQUEST


def test_whose_role_is_narrowed_gives_nothing_beyond_it(bench: Bench) -> None:
    put_assignment(bench.parts, ADMIN, subject="hans", role="org_admin", camera_id="gate-1")
    hans = caller_of(subject="hans")
    refusal(bench, hans, Action.ACCESS_MANAGE, Resource.organisation("acme"))
    with pytest.raises(Problem) as caught:
        put_assignment(bench.parts, hans, subject="hans", role="org_admin")
    assert caught.value.code is Code.FORBIDDEN


def test_a_source_of_alerts_asks_for_clips_of_its_cameras_and_for_nothing_else(bench: Bench) -> None:
    source = GatewayCaller.of_source(
        organisation_id="acme", source_id="frigate", cameras=frozenset({"gate-1"}), request_id="r-source"
    )
    bench.parts.access.authorise(source, Action.CLIP_REQUEST, Resource.camera_of("acme", "gate-1"))
    refusal(bench, source, Action.CLIP_REQUEST, Resource.camera_of("acme", "gate-2"))
    assert bench.parts.access.allowed_actions(source) == frozenset()
    for action in set(Action) - {Action.CLIP_REQUEST}:
        kind = bench.parts.access._policies.kinds[action][0]
        resource = Resource(kind=kind, organisation_id="acme", id="x", camera="gate-1")
        refusal(bench, source, action, resource)
    assert refusal(bench, source, Action.CLIP_REQUEST, Resource.camera_of("other", "gate-1")).code is Code.NOT_FOUND


def test_a_token_cannot_claim_to_be_a_source_of_alerts(bench: Bench) -> None:
    liar = caller_of(roles=roles_of("alert_source"))
    refusal(bench, liar, Action.CLIP_REQUEST, Resource.camera_of("acme", "gate-1"))
