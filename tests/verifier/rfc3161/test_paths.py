"""The path from the signer to a trusted root keeps every rule of RFC 5280, however the certificates are arranged."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.verifier.rfc3161 import token_forge as forge
from tests.verifier.rfc3161.judging import TRUST, codes_of, judge
from tests.verifier.rfc3161.token_forge import CA_EXTENSIONS, ISSUER, ROOT, SIGNER, Certificate, Token
from verifier.findings import Severity
from verifier.rfc3161 import TimestampTrust

CA_KEY_USAGE = forge.key_usage(5, 6)
POLICY_A, POLICY_B, ANY_POLICY = "1.2.3.1", "1.2.3.2", "2.5.29.32.0"


def _path_codes(
    *, issuer: Certificate = ISSUER, signer: Certificate = SIGNER, root: Certificate = ROOT, more: Sequence[bytes] = ()
) -> list[str]:
    token = Token(signer=signer, certificates=(signer.der, issuer.der, *more)).der
    result = judge(token, trust=(TimestampTrust(roots=(root.der,)),))
    assert result.ok == (codes_of(result) == [])
    return codes_of(result)


def _subtrees(*, permitted: Sequence[bytes] = (), excluded: Sequence[bytes] = ()) -> bytes:
    parts = [
        forge.context(tag, *(forge.seq(name) for name in names))
        for tag, names in ((0, permitted), (1, excluded))
        if names
    ]
    return forge.extension("2.5.29.30", forge.seq(*parts), critical=True)


def _directory(organisation: str) -> bytes:
    return forge.context(
        4, forge.seq(forge.set_of(forge.seq(forge.oid("2.5.4.10"), forge.tlv(12, organisation.encode()))))
    )


def _alternative(tag: int, value: bytes) -> bytes:
    return forge.extension("2.5.29.17", forge.seq(forge.context(tag, value, constructed=False)))


def _policies(*dotted: str) -> bytes:
    return forge.extension("2.5.29.32", forge.seq(*(forge.seq(forge.oid(item)) for item in dotted)))


def _require_policy(skip: int) -> bytes:
    value = forge.seq(forge.context(0, forge.integer_content(skip), constructed=False))
    return forge.extension("2.5.29.36", value, critical=True)


def _map_policy(issuer: str, subject: str) -> bytes:
    return forge.extension("2.5.29.33", forge.seq(forge.seq(forge.oid(issuer), forge.oid(subject))))


def _plain(tag: int, value: bytes) -> bytes:
    return forge.context(tag, value, constructed=False)


@pytest.mark.parametrize(
    ("issuer", "code"),
    [
        pytest.param(replace(ISSUER, not_after="20240601115959Z"), "validity", id="expired a second before"),
        pytest.param(replace(ISSUER, not_before="20240601120001Z"), "validity", id="began a second later"),
        pytest.param(replace(ISSUER, extensions=(CA_KEY_USAGE,)), "not-a-ca", id="no basic constraints"),
        pytest.param(
            replace(ISSUER, extensions=(CA_KEY_USAGE, forge.basic_constraints(ca=False))), "not-a-ca", id="not a CA"
        ),
        pytest.param(replace(ISSUER, version=1, extensions=()), "not-a-ca", id="a version 1 certificate in between"),
        pytest.param(
            replace(ISSUER, extensions=(forge.basic_constraints(), forge.key_usage(6))),
            "key-usage",
            id="a key for lists only",
        ),
        pytest.param(
            replace(ISSUER, extensions=(*CA_EXTENSIONS, forge.purposes("1.3.6.1.5.5.7.3.1"))),
            "purpose",
            id="an authority for web servers",
        ),
        pytest.param(
            replace(ISSUER, extensions=(*CA_EXTENSIONS, forge.extension("1.2.3.4", b"", critical=True))),
            "critical-extension",
            id="an unknown critical extension",
        ),
        pytest.param(
            replace(ISSUER, hash_name="sha1", not_before="20170101000000Z"), "algorithm", id="SHA-1 after 2016"
        ),
        pytest.param(
            replace(ISSUER, extensions=(*CA_EXTENSIONS, _subtrees(permitted=[_directory("Others")]))),
            "name-constraints",
            id="a name outside of the permitted ones",
        ),
        pytest.param(
            replace(ISSUER, extensions=(*CA_EXTENSIONS, _subtrees(excluded=[_directory("FORGE")]))),
            "name-constraints",
            id="a name among the excluded ones",
        ),
        pytest.param(
            replace(ISSUER, extensions=(*CA_EXTENSIONS, _require_policy(0))), "policy", id="a policy is required"
        ),
    ],
)
def test_an_authority_that_breaks_a_rule_breaks_the_path(issuer: Certificate, code: str) -> None:
    assert _path_codes(issuer=issuer) == [f"rfc3161-path-{code}"]


@pytest.mark.parametrize(
    ("extension", "alternative", "allowed"),
    [
        (_plain(2, b"test"), _alternative(2, b"tsa.test"), True),
        (_plain(2, b"test"), _alternative(2, b"tsa.pest"), False),
        (_plain(2, b"a.test"), _alternative(2, b"aa.test"), False),
        (_plain(1, b"test"), _alternative(1, b"clerk@test"), True),
        (_plain(1, b"test"), _alternative(1, b"clerk@tsa.test"), False),
        (_plain(1, b".test"), _alternative(1, b"clerk@tsa.test"), True),
        (_plain(1, b"clerk@test"), _alternative(1, b"judge@test"), False),
        (_plain(6, b".test"), _alternative(6, b"https://user@tsa.test:80/path"), True),
        (_plain(6, b"tsa.test"), _alternative(6, b"https://pest/tsa.test"), False),
        (_plain(7, bytes([10, 0, 0, 0, 255, 0, 0, 0])), _alternative(7, bytes([10, 1, 2, 3])), True),
        (_plain(7, bytes([10, 0, 0, 0, 255, 0, 0, 0])), _alternative(7, bytes([11, 1, 2, 3])), False),
        (_plain(7, bytes([10, 0, 0, 0, 255, 0, 0, 0])), _alternative(7, bytes(16)), False),
        (_plain(8, b"\x2a\x03"), _alternative(8, b"\x2a\x03"), False),
        (_plain(2, b"test"), _alternative(6, b"https://pest"), True),
    ],
)
def test_permitted_names_are_obeyed_for_every_kind_of_name(
    extension: bytes, alternative: bytes, *, allowed: bool
) -> None:
    issuer = replace(ISSUER, extensions=(*CA_EXTENSIONS, _subtrees(permitted=[extension])))
    signer = replace(SIGNER, extensions=(*forge.SIGNER_EXTENSIONS, alternative))
    assert _path_codes(issuer=issuer, signer=signer) == ([] if allowed else ["rfc3161-path-name-constraints"])


def test_an_excluded_kind_of_name_that_is_not_understood_excludes_all_of_its_kind() -> None:
    issuer = replace(ISSUER, extensions=(*CA_EXTENSIONS, _subtrees(excluded=[_plain(8, b"\x2a\x03")])))
    signer = replace(SIGNER, extensions=(*forge.SIGNER_EXTENSIONS, _alternative(8, b"\x2a\x04")))
    assert _path_codes(issuer=issuer, signer=signer) == ["rfc3161-path-name-constraints"]
    assert _path_codes(issuer=issuer) == []


@pytest.mark.parametrize(
    "constraint",
    [
        forge.seq(_directory("Forge"), forge.context(0, b"\x01", constructed=False)),
        forge.seq(_directory("Forge"), forge.context(1, b"\x01", constructed=False)),
    ],
)
def test_name_constraints_with_bounds_make_an_authority_unusable(constraint: bytes) -> None:
    extension = forge.extension("2.5.29.30", forge.seq(forge.context(0, constraint)), critical=True)
    issuer = replace(ISSUER, extensions=(*CA_EXTENSIONS, extension))
    assert _path_codes(issuer=issuer) == ["rfc3161-no-trusted-root"]


@pytest.mark.parametrize(
    ("issuer", "signer", "good"),
    [
        ((_policies(POLICY_A), _require_policy(0)), (_policies(POLICY_A),), True),
        ((_policies(ANY_POLICY), _require_policy(0)), (_policies(POLICY_A),), True),
        ((_policies(POLICY_A), _require_policy(0)), (_policies(POLICY_B),), False),
        ((_policies(POLICY_A), _require_policy(0)), (_policies(ANY_POLICY),), True),
        ((_policies(POLICY_A), _require_policy(1)), (), False),
        ((_policies(POLICY_A), _require_policy(2)), (), True),
        ((_policies(POLICY_A),), (_require_policy(0),), False),
        ((_policies(POLICY_A), _require_policy(0), _map_policy(POLICY_A, POLICY_B)), (_policies(POLICY_B),), True),
        ((_policies(POLICY_A), _require_policy(0), _map_policy(POLICY_A, POLICY_B)), (_policies(POLICY_A),), False),
        ((_policies(ANY_POLICY), _map_policy(ANY_POLICY, POLICY_B)), (_policies(POLICY_B),), False),
        (
            (_policies(POLICY_A), _require_policy(0), forge.extension("2.5.29.54", forge.integer(0))),
            (_policies(ANY_POLICY),),
            False,
        ),
    ],
)
def test_policy_constraints_are_obeyed(issuer: Sequence[bytes], signer: Sequence[bytes], *, good: bool) -> None:
    codes = _path_codes(
        issuer=replace(ISSUER, extensions=(*CA_EXTENSIONS, *issuer)),
        signer=replace(SIGNER, extensions=(*forge.SIGNER_EXTENSIONS, *signer)),
    )
    assert codes == ([] if good else ["rfc3161-path-policy"])


def test_more_authorities_than_the_root_allows_break_the_path() -> None:
    root = replace(ROOT, extensions=(forge.basic_constraints(path_length=0), CA_KEY_USAGE))
    assert _path_codes(root=root) == ["rfc3161-path-length"]


def test_an_authority_that_may_have_none_below_it_may_certify_the_signer() -> None:
    issuer = replace(ISSUER, extensions=(forge.basic_constraints(path_length=0), CA_KEY_USAGE))
    root = replace(ROOT, extensions=(forge.basic_constraints(path_length=1), CA_KEY_USAGE))
    assert _path_codes(issuer=issuer, root=root) == []


@pytest.mark.parametrize(
    ("root", "code"),
    [
        (replace(ROOT, not_after="20240101000000Z"), "validity"),
        (replace(ROOT, extensions=(CA_KEY_USAGE,)), "not-a-ca"),
        (replace(ROOT, extensions=(forge.basic_constraints(), forge.key_usage(0))), "key-usage"),
        (replace(ROOT, extensions=(*CA_EXTENSIONS, forge.purposes("1.3.6.1.5.5.7.3.1"))), "purpose"),
        (replace(ROOT, extensions=(*CA_EXTENSIONS, _subtrees(excluded=[_directory("Forge")]))), "name-constraints"),
    ],
)
def test_the_root_itself_must_keep_the_rules(root: Certificate, code: str) -> None:
    assert f"rfc3161-path-{code}" in _path_codes(root=root)


def test_a_configured_root_from_before_version_3_is_an_authority() -> None:
    assert _path_codes(root=replace(ROOT, version=1, extensions=())) == []


def test_an_authority_for_time_stamping_or_for_any_purpose_may_certify_the_signer() -> None:
    for purpose in (forge.TIME_STAMPING, "2.5.29.37.0"):
        issuer = replace(ISSUER, extensions=(*CA_EXTENSIONS, forge.purposes(purpose, critical=False)))
        assert _path_codes(issuer=issuer) == []


def test_a_sha1_certificate_from_before_2017_is_tolerated_with_a_warning() -> None:
    issuer = replace(ISSUER, hash_name="sha1", not_before="20150101000000Z")
    result = judge(Token(certificates=(SIGNER.der, issuer.der)).der)
    assert result.ok
    assert codes_of(result, Severity.WARNING) == ["rfc3161-path-legacy-algorithm"]


def test_names_alone_do_not_make_a_path() -> None:
    impostor = replace(ROOT, key=forge.key("impostor"), signed_by=forge.key("impostor"))
    assert _path_codes(root=impostor) == ["rfc3161-no-trusted-root"]


def test_a_root_inside_the_token_is_not_trusted() -> None:
    other = replace(ROOT, subject="Other", issuer="Other", key=forge.key("other"), signed_by=forge.key("other"))
    assert _path_codes(root=other, more=(ROOT.der,)) == ["rfc3161-no-trusted-root"]


def test_a_weak_key_in_between_breaks_the_path() -> None:
    weak = forge.key("weak", "rsa1024")
    issuer = replace(ISSUER, key=weak)
    signer = replace(SIGNER, signed_by=weak)
    _refuses(issuer, signer)


def test_an_md5_certificate_in_between_breaks_the_path() -> None:
    _refuses(replace(ISSUER, algorithm=forge.seq(forge.oid("1.2.840.113549.1.1.4"), forge.NULL)), SIGNER)


def _refuses(issuer: Certificate, signer: Certificate) -> None:
    result = judge(Token(signer=signer, certificates=(signer.der, issuer.der)).der)
    assert (result.status, codes_of(result)) == ("untrusted", ["rfc3161-no-trusted-root"])
    assert codes_of(result, Severity.WARNING) == ["rfc3161-path-refused"]


def test_of_two_paths_the_good_one_counts() -> None:
    expired = replace(ISSUER, not_after="20210101000000Z", serial=9)
    assert _path_codes(issuer=expired, more=(ISSUER.der,)) == []


def test_cross_certificates_in_a_circle_are_walked_once() -> None:
    back = replace(ROOT, issuer="Issuer", signed_by=forge.key("issuer"), serial=11)
    again = replace(ISSUER, serial=12)
    other = replace(ROOT, subject="Other", issuer="Other", key=forge.key("other"), signed_by=forge.key("other"))
    assert _path_codes(root=other, more=(back.der, again.der)) == ["rfc3161-no-trusted-root"]
    assert _path_codes(more=(back.der, again.der)) == []


def test_a_path_may_end_at_a_root_by_way_of_its_cross_certificate() -> None:
    other = replace(ROOT, subject="Other", issuer="Other", key=forge.key("other"), signed_by=forge.key("other"))
    cross = replace(ROOT, issuer="Other", signed_by=forge.key("other"), serial=13)
    assert _path_codes(root=other, more=(cross.der,)) == []


def test_hostile_certificates_that_all_certify_one_another_do_not_cost_much_time() -> None:
    keys = [forge.key(f"knot {number}") for number in range(6)]
    knot = [
        replace(
            ISSUER, subject=f"Knot {a}", issuer=f"Knot {b}", key=keys[a], signed_by=keys[b], serial=100 + 10 * a + b
        ).der
        for a in range(6)
        for b in range(6)
        if a != b
    ]
    signer = replace(SIGNER, issuer="Knot 0", signed_by=keys[0])
    token = Token(signer=signer, certificates=(signer.der, *knot)).der
    assert len(token) < 2**16
    began = time.thread_time()
    result = judge(token)
    assert time.thread_time() - began < 10
    assert (result.status, codes_of(result)) == ("untrusted", ["rfc3161-no-trusted-root"])


def test_a_search_without_end_is_given_up_and_says_so() -> None:
    # One key under many names: every certificate is really signed by every other.
    shared = forge.key("shared")
    names = [f"N{number}" for number in range(8)]
    knot = [
        replace(
            ISSUER, subject=a, issuer=b, key=forge.key(a), signed_by=forge.key(b), serial=1000 + i, extensions=()
        ).der
        for i, (a, b) in enumerate((a, b) for a in names for b in names if a != b)
    ]
    signer = replace(SIGNER, issuer="N0", signed_by=forge.key("N0"))
    result = judge(Token(signer=signer, certificates=(signer.der,)).der, hints=(*knot, replace(ISSUER, key=shared).der))
    assert (result.status, codes_of(result)) == ("untrusted", ["rfc3161-path-too-complex"])


def test_a_time_outside_of_the_roots_window_fails() -> None:
    too_early = replace(TRUST, valid_from=datetime(2024, 6, 1, 12, 0, 1, tzinfo=UTC))
    too_late = replace(TRUST, valid_to=datetime(2024, 6, 1, 11, 59, 59, tzinfo=UTC))
    for trust in (too_early, too_late):
        result = judge(Token().der, trust=(trust,))
        assert (result.status, codes_of(result)) == ("invalid", ["rfc3161-anchor-window"])


def test_a_time_without_a_zone_is_refused_at_once() -> None:
    naive = datetime(2024, 6, 1)  # noqa: DTZ001 - that is the mistake
    with pytest.raises(ValueError, match="time zone"):
        replace(TRUST, valid_to=naive)
    with pytest.raises(ValueError, match="time zone"):
        judge(Token().der, at=naive)


def test_a_policy_that_the_root_is_not_trusted_for_fails() -> None:
    trusted = replace(TRUST, policies=frozenset({forge.POLICY}))
    assert judge(Token().der, trust=(trusted,)).ok
    other = replace(TRUST, policies=frozenset({"1.2.3"}))
    assert codes_of(judge(Token().der, trust=(other,))) == ["rfc3161-anchor-policy"]


def test_a_configured_root_that_cannot_be_read_is_not_used_and_named() -> None:
    result = judge(Token().der, trust=(TimestampTrust(roots=(b"junk", ROOT.der)),))
    assert result.ok
    assert codes_of(result, Severity.WARNING) == ["rfc3161-root-unreadable"]


def test_hints_that_cannot_be_read_do_no_harm() -> None:
    assert judge(Token().der, hints=(b"", b"junk", SIGNER.der[:-1])).ok
