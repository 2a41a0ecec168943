"""What docs/guides/integrate.md says of the API, and which refusals of the services become which problems."""

import re
from pathlib import Path

import pytest

from gateway.calls.refusals import problem_of
from gateway.problems import STATUS, Code
from gateway.rest import BURST_SECONDS
from gateway.rest.models import MAX_PAGE
from gateway.rest.repeats import MAX_KEY_CHARACTERS
from gateway.rest.routing import MAX_BODY_BYTES
from gateway.server import MAX_BODY_BYTES as MAX_SERVER_BODY_BYTES
from gateway.settings import DEFAULT_REQUESTS_PER_SECOND
from ledger.client import UNREACHABLE, ClientError
from ledger.errors import Reason as LedgerReason
from ledger.service.errors import CODES as LEDGER_CODES
from media.errors import Reason as MediaReason
from media.service.errors import CODES as MEDIA_CODES

GUIDE = (Path(__file__).parents[3] / "docs/guides/integrate.md").read_text(encoding="utf-8")
# What a caller of the services can be told; the key is what the service says, the status what gRPC calls it.
REASONS = {
    **{reason.value: LEDGER_CODES[reason].name for reason in LedgerReason},
    **{reason.value: MEDIA_CODES[reason].name for reason in MediaReason},
}


def test_every_code_is_in_the_guide_with_its_status() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\d{3}) \|", GUIDE, re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {code.value: int(STATUS[code]) for code in Code}


def test_the_guide_states_the_limits_of_the_code() -> None:
    burst = DEFAULT_REQUESTS_PER_SECOND * BURST_SECONDS
    assert f'"caller";q={burst};w={BURST_SECONDS}' in GUIDE
    assert f"1 to {MAX_KEY_CHARACTERS} printable ASCII" in GUIDE
    assert f"{MAX_PAGE:,} at most" in GUIDE
    limits = f"{MAX_BODY_BYTES // 1024} KiB, one with events {MAX_SERVER_BODY_BYTES // 1024 // 1024} MiB"
    assert limits in GUIDE


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_of_the_services_is_a_problem_of_a_fitting_status(reason: str) -> None:
    status = REASONS[reason]
    problem = problem_of(ClientError(reason, "it could not be done", status=status))
    expected = {
        "INVALID_ARGUMENT": {400, 413},
        "NOT_FOUND": {404, 410},
        "ALREADY_EXISTS": {409, 422},
        "FAILED_PRECONDITION": {403, 409, 410, 413},
        "PERMISSION_DENIED": {403},
        "UNAUTHENTICATED": {503},
        "RESOURCE_EXHAUSTED": {503},
        "UNAVAILABLE": {503},
        "INTERNAL": {500},
        "DATA_LOSS": {502},
    }
    assert int(problem.status) in expected[status]
    assert (int(problem.status) == 503) == ("Retry-After" in problem.headers)


def test_a_service_that_is_away_tells_nothing_of_our_machines() -> None:
    problem = problem_of(ClientError(UNREACHABLE, "The ledger at 10.0.0.7:50051 cannot be reached", retryable=True))
    assert problem.code is Code.SERVICE_UNAVAILABLE
    assert "10.0.0.7" not in problem.detail
    unknown = problem_of(ClientError("NEWER_THAN_US", "not now", status="FAILED_PRECONDITION"))
    assert (unknown.code, unknown.extensions) == (Code.CONFLICT, {"reason": "NEWER_THAN_US"})
    assert problem_of(ClientError("UNKNOWN", "secret text", status="UNKNOWN")).detail != "secret text"


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ("chain_id", "session_id"),
        ("extraction.event_at", "event_at"),
        ("extraction.before", "before_seconds"),
        ("events[3].payload.a", "events[3].payload.a"),
        ("page_token", "cursor"),
        ("artefact", "file"),
    ],
)
def test_fields_have_the_names_that_the_caller_wrote(field: str, named: str) -> None:
    error = ClientError("INVALID_ARGUMENT", "no", metadata={"field": field}, status="INVALID_ARGUMENT")
    assert problem_of(error).field == named
