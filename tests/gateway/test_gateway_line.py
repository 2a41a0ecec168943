"""Which failed calls to the services behind the gateway are tried again."""

import pytest

from gateway.calls import line
from ledger.client import UNREACHABLE, ClientError


@pytest.mark.parametrize(("passes", "within", "attempts"), [(True, 60.0, 2), (True, 0.0, 1), (False, 60.0, 1)])
def test_what_may_pass_is_tried_once_more_unless_it_took_long_to_fail(
    monkeypatch: pytest.MonkeyPatch, *, passes: bool, within: float, attempts: int
) -> None:
    monkeypatch.setattr(line, "REPEATED_WITHIN_SECONDS", within)
    made: list[ClientError] = []

    def attempt() -> None:
        made.append(ClientError(UNREACHABLE, f"number {len(made)}", retryable=passes))
        raise made[-1]

    with pytest.raises(ClientError) as caught:
        line.twice(attempt)
    assert caught.value is made[-1]
    assert len(made) == attempts
