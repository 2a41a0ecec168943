"""The two halves of the product share no code; here one writes and the other judges.

Random histories go through the real service and real authorities into bundles. The verifier must accept each of them,
as a separate process, and must reject it after any single change, even when whoever made the change computed the
manifests anew.
"""

import json
from hashlib import sha256
from random import Random

import rfc8785
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger.client import NewEvent
from tests.system.black_box import Ground, changes, pack, unpack, with_new_manifests

HISTORIES = 10

# Everything that I-JSON allows: any character but U+0000 and surrogates, doubles, deep nesting.
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_NAMES = _TEXT.filter(lambda name: name not in {"_sd", "_sd_alg", "..."})
_DOUBLES = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: not number.is_integer() or abs(number) <= 2**53 - 1 or abs(number) >= 1e21
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _DOUBLES | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=10,
)
_PAYLOADS = st.dictionaries(_NAMES, _VALUES, max_size=4)
_KINDS = st.from_regex(r"[a-z][a-z0-9_]{0,10}(\.[a-z][a-z0-9_]{0,10}){1,2}", fullmatch=True).filter(
    lambda kind: not kind.startswith(("chain.", "ledger."))
)


@st.composite
def _new_events(draw: st.DrawFn) -> NewEvent:
    payload = draw(_PAYLOADS)
    sealed = draw(st.lists(st.sampled_from(sorted(payload)), unique=True, max_size=2)) if payload else []
    spelled = json.dumps(payload, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    return NewEvent(kind=draw(_KINDS), payload=spelled.encode(), sealed_members=tuple(sealed))


# A list is one append; None is a checkpoint.
_HISTORIES = st.lists(st.none() | st.lists(_new_events(), min_size=1, max_size=4), max_size=5)


# No shrinking: every example is a chain lived and anchored, and the report of the verifier says what it refused.
@settings(
    max_examples=HISTORIES,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(
    history=_HISTORIES,
    closes=st.booleans(),
    disclosures=st.booleans(),
    number=st.integers(0, 2**60),
    chosen=st.randoms(use_true_random=False),
)
def test_every_history_is_accepted_and_none_with_a_changed_field(
    ground: Ground,
    history: list[list[NewEvent] | None],
    chosen: Random,
    *,
    closes: bool,
    disclosures: bool,
    number: int,
) -> None:
    # Hypothesis may run the same example again to be sure of it; a chain can only be lived once.
    chain_id = f"history-{number:x}-{sha256(repr((history, closes)).encode()).hexdigest()[:12]}"
    ground.live(chain_id, history, closes=closes)
    bundle = ground.bundle_of(chain_id, disclosures=disclosures)
    exit_code, report = ground.judge_apart(bundle)
    assert (exit_code, report["verdict"]) == (0, "VERIFIED"), report
    chain = ground.ledger.get_chain(chain_id)
    assert (report["event_count"], report["head"]) == (chain.event_count, chain.head.hex())
    assert (report["chain_id"], report["issuing_org_name"]) == (chain_id, "Acme")
    assert report["chain_integrity"]["ok"] is True
    assert report["tokens"]
    assert all(token["ok"] for token in report["tokens"])
    check = ground.ledger.check_chain(chain_id)
    assert (check.ok, check.event_count, check.head) == (True, chain.event_count, chain.head)

    files = unpack(bundle)
    lines = files["data/events.jsonl"].splitlines(keepends=True)
    at = chosen.randrange(len(lines))
    path, changed = chosen.choice(list(changes(json.loads(lines[at]))))
    lines[at] = rfc8785.dumps(changed) + b"\n"
    forged = with_new_manifests(files | {"data/events.jsonl": b"".join(lines)})
    exit_code, report = ground.judge_apart(pack(forged))
    assert (exit_code, report["verdict"]) == (1, "FAILED"), path
    assert report["chain_integrity"]["first_divergent_sequence"] == at + 1, path


def test_the_operations_chain_that_notes_all_this_is_accepted(ground: Ground) -> None:
    ground.live("noted", [], closes=True)
    ground.bundle_of("noted", disclosures=False)
    ground.ledger.checkpoint_chain("operations")
    bundle = ground.bundle_of("operations", disclosures=False)
    exit_code, report = ground.judge_apart(bundle)
    assert (exit_code, report["verdict"]) == (0, "VERIFIED"), report
    kinds = [json.loads(line)["kind"] for line in unpack(bundle)["data/events.jsonl"].splitlines()]
    assert {"ledger.chain_opened", "ledger.chain_closed", "ledger.anchor_obtained"} <= set(kinds)
    # The notes of the newest checkpoint's own anchors come after it, and the auditor is told so.
    assert kinds[-2:] == ["ledger.anchor_obtained"] * 2
    assert "events-after-last-anchor" in {finding["code"] for finding in report["findings"]}
