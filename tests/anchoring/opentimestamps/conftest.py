"""Calendars and explorers on this machine, and an authority that uses them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.calendar import CalendarSandbox, start_calendar
from tests.anchoring.opentimestamps.ots_under_test import Anchoring
from tests.folders import shared_in_folder


@pytest.fixture(scope="module")
def running_calendars(request: pytest.FixtureRequest, sandbox_directory: Path) -> CalendarSandbox:
    directory = sandbox_directory / "calendars"
    return shared_in_folder(request, Path(__file__).parent, lambda: start_calendar(directory))


@pytest.fixture
def anchoring(running_calendars: CalendarSandbox) -> Iterator[Anchoring]:
    """An authority with all calendars and explorers, behaving at the beginning of each test."""
    running_calendars.heal()
    yield Anchoring(running_calendars)
    running_calendars.heal()
