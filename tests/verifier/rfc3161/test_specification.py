"""The specification page and the code name the same rules."""

import re
from pathlib import Path

from verifier.rfc3161.codes import all_rules
from verifier.rfc3161.explain import explain
from verifier.rfc3161.results import TokenResult

_PAGE = Path(__file__).parents[3] / "docs" / "spec" / "rfc3161.md"


def test_the_specification_lists_every_finding_code_with_its_check_and_severity() -> None:
    listed = []
    check = ""
    for row in re.findall(r"^\| (\w*) ?\| `([a-z0-9-]+)` \| (\w+(?: \(trust\))?) \|", _PAGE.read_text(), re.MULTILINE):
        check = row[0] or check
        listed.append((f"rfc3161-{row[1]}", check, row[2]))
    rules = [
        (rule.code, rule.check.value, rule.severity.value + (" (trust)" if rule.trust_only else ""))
        for rule in all_rules()
    ]
    assert listed == rules


def test_no_two_rules_share_a_code() -> None:
    codes = [rule.code for rule in all_rules()]
    assert len(codes) == len(set(codes))


def test_every_finding_has_its_place_in_the_explanation() -> None:
    result = TokenResult(
        ok=False,
        status="invalid",
        time=None,
        accuracy_microseconds=None,
        policy=None,
        serial_number=None,
        signer="",
        revocation="NO-EVIDENCE",
        qualified="UNKNOWN",
        findings=tuple(rule.says(f"about {rule.code}") for rule in all_rules()),
        certificate_path=(),
    )
    text = " ".join(" ".join(explain(result, "FAILED", [])).split())
    assert all(f"about {rule.code} [{rule.code}]" in text for rule in all_rules())
