"""The guide to webhooks: its mappings read its alerts, its table is whole, its pauses are those of the code."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.webhooks.catalogue import EventType
from gateway.webhooks.mapping import GENERIC, AlertMapping, read_alert
from gateway.webhooks.queue import KEEP_DEAD_DAYS, PAUSES_SECONDS
from gateway.webhooks.sending import TOTAL_SECONDS
from gateway.webhooks.signing import TOLERANCE_SECONDS

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "webhooks.md").read_text()
EXAMPLES = re.findall(r"```json mapping\n(.*?)```\n```json alert\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize(("mapping", "alert"), EXAMPLES, ids=["frigate", "onvif"])
def test_each_mapping_reads_the_alert_beside_it(mapping: str, alert: str) -> None:
    read = read_alert(AlertMapping.model_validate_json(mapping), json.loads(alert), received_at=datetime.now(UTC))
    assert read is not None
    assert read.source == "gate-1"
    assert read.event_at.replace(microsecond=0) == datetime(2026, 3, 1, 12, 0, 10, tzinfo=UTC)


def test_the_alert_without_a_mapping_is_read_as_it_stands() -> None:
    (alert,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    read = read_alert(GENERIC, json.loads(alert), received_at=datetime.now(UTC))
    assert read is not None
    assert (read.source, read.incident) == ("gate-1", "inc-7")


def test_every_type_is_in_the_table() -> None:
    table = GUIDE.partition("## Being told")[2].partition("Register an address")[0]
    assert set(re.findall(r"`([a-z]+\.[a-z]+)`", table)) == {kind.value for kind in EventType}


def test_times_are_those_of_the_code() -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    sentence = GUIDE.partition("The next tries come after")[2].partition(", about a day")[0]
    pauses = [int(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)", sentence)]
    assert tuple(pauses) == PAUSES_SECONDS
    assert f"within {TOTAL_SECONDS:.0f} seconds" in GUIDE
    assert f"{KEEP_DEAD_DAYS} days" in GUIDE
    assert TOLERANCE_SECONDS == 300
