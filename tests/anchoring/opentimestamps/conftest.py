"""Calendars and explorers on this machine, and an authority that uses them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.calendar import CalendarSandbox, start_calendar
from tests.anchoring.opentimestamps.ots_under_test import Anchoring


@pytest.fixture(scope="session")
def running_calendars(sandbox_directory: Path) -> Iterator[CalendarSandbox]:
    with start_calendar(sandbox_directory / "calendars") as sandbox:
        yield sandbox


@pytest.fixture
def anchoring(running_calendars: CalendarSandbox) -> Iterator[Anchoring]:
    """An authority with all calendars and explorers, behaving at the beginning of each test."""
    running_calendars.heal()
    yield Anchoring(running_calendars)
    running_calendars.heal()
