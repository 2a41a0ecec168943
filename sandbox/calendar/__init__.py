"""OpenTimestamps calendars on this machine, with a small chain of blocks of their own and explorers that show it."""

from sandbox.calendar.faults import CalendarFaults
from sandbox.calendar.running import CalendarError, CalendarSandbox, start_calendar

__all__ = ["CalendarError", "CalendarFaults", "CalendarSandbox", "start_calendar"]
