"""Shortcuts for asking the verifier about forged tokens."""

from typing import Any

from tests.verifier.rfc3161 import token_forge as forge
from verifier.findings import Severity
from verifier.rfc3161 import TimestampTrust, TokenResult, verify_token

TRUST = TimestampTrust(roots=(forge.ROOT.der,))


def judge(token: bytes, **options: Any) -> TokenResult:
    """Verify `token` over the forge's data, trusting the forge's root unless told otherwise."""
    arguments: dict[str, Any] = {"digest": forge.DATA_DIGEST, "trust": (TRUST,)} | options
    return verify_token(token, **arguments)


def codes_of(result: TokenResult, severity: Severity = Severity.ERROR) -> list[str]:
    """The codes of the result's findings of one severity, in order."""
    return [finding.code for finding in result.findings if finding.severity is severity]


def wrong(token: bytes, **options: Any) -> list[str]:
    """The codes of the errors in `token`, which must not be accepted."""
    result = judge(token, **options)
    assert not result.ok
    assert result.status == "invalid", result.findings
    return codes_of(result)
