"""Other people's alerts are read as their mapping says, or refused with the place that cannot be read."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.webhooks.mapping import GENERIC, Alert, AlertError, AlertMapping, read_alert, safe_identifier

RECEIVED = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
FRIGATE = AlertMapping.model_validate(
    {
        "when": [{"pointer": "/type", "equals": ["end"]}, {"pointer": "/after/false_positive", "equals": [False]}],
        "source": {"pointer": "/after/camera", "names": {"Front Door": "gate-1"}},
        "incident": {"pointer": "/after/id"},
        "event_at": {"pointer": "/after/start_time", "format": "unix_seconds"},
        "before": {"constant": 10.0},
        "after": {"pointer": "/after/seconds"},
    }
)
FRIGATE_ALERT = {
    "type": "end",
    "before": {},
    "after": {
        "id": "1772366400.125-abc123",
        "camera": "Front Door",
        "false_positive": False,
        "start_time": 1772366400.125,
        "seconds": 45,
    },
}


def test_a_generic_alert_says_everything_itself() -> None:
    alert = read_alert(
        GENERIC,
        {"source": "gate-1", "incident": "inc-7", "event_at": "2026-03-01T13:00:00+01:00", "more": 1},
        received_at=RECEIVED,
    )
    assert alert == Alert(
        source="gate-1",
        incident="inc-7",
        event_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
        before_seconds=None,
        after_seconds=None,
    )


def test_an_alert_of_another_form_is_read_as_its_mapping_says() -> None:
    alert = read_alert(FRIGATE, FRIGATE_ALERT, received_at=RECEIVED)
    assert alert is not None
    assert alert.source == "gate-1"
    assert alert.incident.startswith("1772366400-125-abc123-")
    assert alert.event_at == datetime(2026, 3, 1, 12, 0, 0, 125_000, tzinfo=UTC)
    assert (alert.before_seconds, alert.after_seconds) == (10.0, 45.0)


def test_an_alert_that_fails_a_condition_is_left_alone() -> None:
    assert read_alert(FRIGATE, FRIGATE_ALERT | {"type": "new"}, received_at=RECEIVED) is None
    after: Any = FRIGATE_ALERT["after"]
    assert read_alert(FRIGATE, FRIGATE_ALERT | {"after": after | {"false_positive": 0}}, received_at=RECEIVED) is None


def test_without_a_time_of_its_own_an_alert_happened_when_it_arrived() -> None:
    mapping = AlertMapping.model_validate({"source": {"constant": "gate-1"}, "incident": {"pointer": "/Message/0/Id"}})
    alert = read_alert(mapping, {"Message": [{"Id": 42}]}, received_at=RECEIVED)
    assert alert is not None
    assert (alert.incident, alert.event_at) == ("42", RECEIVED)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"camera": "Back Door"}, "/after/camera"),
        ({"camera": ""}, "/after/camera"),
        ({"camera": True}, "/after/camera"),
        ({"id": None}, "/after/id"),
        ({"id": ["x"]}, "/after/id"),
        ({"start_time": "noon"}, "/after/start_time"),
        ({"start_time": float("nan")}, "/after/start_time"),
        ({"start_time": float("inf")}, "/after/start_time"),
        ({"start_time": 1e300}, "/after/start_time"),
        ({"start_time": 10**400}, "/after/start_time"),
        ({"seconds": -1}, "/after/seconds"),
        ({"seconds": 1e9}, "/after/seconds"),
        ({"seconds": float("nan")}, "/after/seconds"),
        ({"seconds": "45"}, "/after/seconds"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(changes: dict[str, Any], pointer: str) -> None:
    after: Any = FRIGATE_ALERT["after"]
    with pytest.raises(AlertError) as refused:
        read_alert(FRIGATE, FRIGATE_ALERT | {"after": after | changes}, received_at=RECEIVED)
    assert refused.value.pointer == pointer


@pytest.mark.parametrize("time", ["2026-03-01T12:00:00", "2026-13-01T12:00:00Z", "", 5, "0001-01-01T00:00:00+23:59"])
def test_a_time_without_a_zone_or_outside_the_calendar_is_refused(time: object) -> None:
    with pytest.raises(AlertError):
        read_alert(GENERIC, {"source": "a", "incident": "b", "event_at": time}, received_at=RECEIVED)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("after"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values | st.fixed_dictionaries({"source": json_values, "incident": json_values, "event_at": json_values}))
def test_any_alert_at_all_is_read_or_refused(document: Any) -> None:
    for mapping in (GENERIC, FRIGATE):
        try:
            alert = read_alert(mapping, document, received_at=RECEIVED)
        except AlertError:
            continue
        assert alert is None or (safe_identifier(alert.incident) == alert.incident and alert.event_at.tzinfo is UTC)


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_names_stay_different_and_all_are_safe(one: str, other: str) -> None:
    assert safe_identifier(safe_identifier(one)) == safe_identifier(one)
    assert len(safe_identifier(one)) <= 63
    assert one == other or safe_identifier(one) != safe_identifier(other)


@pytest.mark.parametrize(
    "mapping",
    [
        {},
        {"source": {"constant": "gate-1"}, "incident": {"constant": "same"}},
        {"source": {"constant": "gate-1", "pointer": "/a"}, "incident": {"pointer": "/b"}},
        {"source": {}, "incident": {"pointer": "/b"}},
        {"source": {"constant": "Gate 1"}, "incident": {"pointer": "/b"}},
        {"source": {"pointer": "camera"}, "incident": {"pointer": "/b"}},
        {"source": {"pointer": "/~2"}, "incident": {"pointer": "/b"}},
        {"source": {"pointer": "/a", "names": {"x": "../y"}}, "incident": {"pointer": "/b"}},
        {"source": {"pointer": "/a"}, "incident": {"pointer": "/b"}, "before": {"constant": 4000}},
        {"source": {"pointer": "/a"}, "incident": {"pointer": "/b"}, "event_at": {"pointer": "/t", "format": "guess"}},
        {"source": {"pointer": "/a"}, "incident": {"pointer": "/b"}, "script": "x"},
        {"source": {"pointer": "/a"}, "incident": {"pointer": "/b"}, "when": [{"pointer": "/t", "equals": []}]},
    ],
)
def test_a_mapping_that_could_never_work_is_refused_when_it_is_stored(mapping: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AlertMapping.model_validate(mapping)
