"""Which day and hour of a wall calendar something stands at, in any zone. Knows no row and no page.

A moment is placed by the zone's own rules alone, so what was planned for a wall time is shown at that wall time. Of
an hour that comes twice the second one is marked; an hour that the clocks leap over holds nothing.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

A_DAY = timedelta(days=1)
FIRST_YEAR, LAST_YEAR = 2000, 2200


class View(StrEnum):
    MONTH = "month"
    WEEK = "week"
    LIST = "list"


class Dated(Protocol):
    """Anything with an aware moment."""

    @property
    def at(self) -> datetime: ...


T = TypeVar("T", bound=Dated)


@dataclass(frozen=True)
class Place:
    """A wall time of a day. `second`: the later of two equal hours, when the clocks go back."""

    day: date
    hour: int
    minute: int
    second: bool

    @property
    def wall(self) -> str:
        """As a form field of day and time takes it: `2026-03-29T09:00`."""
        return f"{self.day.isoformat()}T{self.hour:02}:{self.minute:02}"

    @property
    def clock(self) -> str:
        return f"{self.hour:02}:{self.minute:02}"

    @property
    def fold(self) -> int:
        return int(self.second)


def place(at: datetime, zone: str) -> Place:
    """Where this moment stands on the wall calendar of the zone."""
    local = at.astimezone(ZoneInfo(zone))
    again = local.fold == 1 and local.utcoffset() != local.replace(fold=0).utcoffset()
    return Place(local.date(), local.hour, local.minute, again)


@dataclass(frozen=True)
class Span:
    """The days one page of the calendar shows. `first` to `last` are what was asked for; a month's page also holds
    the days beside it that fill its weeks.
    """

    view: View
    on: date
    first: date
    last: date
    days: tuple[date, ...]

    @property
    def weeks(self) -> list[tuple[date, ...]]:
        return [self.days[start : start + 7] for start in range(0, len(self.days), 7)]

    @property
    def before(self) -> str:
        """The address's `on` of the page before this one."""
        return self._on(self.first - A_DAY)

    @property
    def after(self) -> str:
        return self._on(self.last + A_DAY)

    @property
    def here(self) -> str:
        return self._on(self.on)

    @property
    def title(self) -> str:
        if self.view is not View.WEEK:
            return f"{self.on:%B %Y}"
        if self.first.month == self.last.month:
            return f"{self.first.day} – {self.last.day} {self.last:%B %Y}"
        year = "" if self.first.year == self.last.year else f" {self.first.year}"
        return f"{self.first.day} {self.first:%b}{year} – {self.last.day} {self.last:%b} {self.last.year}"

    def _on(self, day: date) -> str:
        return day.isoformat() if self.view is View.WEEK else f"{day:%Y-%m}"


def span(view: View, on: date) -> Span:
    """The page of this view that holds the day; weeks begin on Monday."""
    monday = on - timedelta(days=on.weekday())
    if view is View.WEEK:
        days = _days(monday, monday + timedelta(days=6))
        return Span(view, on, days[0], days[-1], days)
    first = on.replace(day=1)
    last = on.replace(day=calendar.monthrange(on.year, on.month)[1])
    if view is View.LIST:
        return Span(view, on, first, last, _days(first, last))
    from_day, to_day = first - timedelta(days=first.weekday()), last + timedelta(days=6 - last.weekday())
    return Span(view, on, first, last, _days(from_day, to_day))


def _days(first: date, last: date) -> tuple[date, ...]:
    return tuple(first + timedelta(days=count) for count in range((last - first).days + 1))


def read_day(text: str, today: date) -> date:
    """The day an address asks for: `2026-03` or `2026-03-04`; today for anything else."""
    for shape in ("%Y-%m-%d", "%Y-%m"):
        try:
            found = datetime.strptime(text, shape).date()
        except ValueError:
            continue
        if FIRST_YEAR <= found.year <= LAST_YEAR:
            return found
    return today


def moments(days: Sequence[date], zone: str) -> tuple[datetime, datetime]:
    """From when to when these days last, in UTC; all of them, whatever the clocks do at midnight."""
    local = ZoneInfo(zone)
    begins = [datetime.combine(days[0], time(), local).replace(fold=fold) for fold in (0, 1)]
    ends = [datetime.combine(days[-1] + A_DAY, time(), local).replace(fold=fold) for fold in (0, 1)]
    return min(one.astimezone(UTC) for one in begins), max(one.astimezone(UTC) for one in ends)


def lay(things: Iterable[T], days: Sequence[date], zone: str) -> dict[date, list[T]]:
    """Each day with what stands on it, earliest first; what stands on none of these days is left out."""
    laid: dict[date, list[T]] = {day: [] for day in days}
    for thing in sorted(things, key=lambda thing: thing.at):
        day = place(thing.at, zone).day
        if day in laid:
            laid[day].append(thing)
    return laid


@dataclass(frozen=True)
class ClockChange:
    """The clocks of a zone change on a day: at `at` they went on from `shows` to `then`."""

    at: datetime
    shows: str
    then: str
    forward: bool

    @property
    def words(self) -> str:
        if self.forward:
            return f"The clocks leap from {self.shows} to {self.then}: what lies between does not exist."
        return f"The clocks go back from {self.shows} to {self.then}: what lies between comes twice."


def clock_change(day: date, zone: str) -> ClockChange | None:
    """What the clocks of the zone do on this day, if anything."""
    local = ZoneInfo(zone)
    # A change at midnight itself belongs to the day that it begins.
    early, late = (at - timedelta(seconds=1) for at in moments([day], zone))
    before, after = early.astimezone(local).utcoffset(), late.astimezone(local).utcoffset()
    if before is None or after is None or before == after:
        return None
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) / 2
        if middle.astimezone(local).utcoffset() == before:
            early = middle
        else:
            late = middle
    at = late.replace(microsecond=0)
    shows, then = (at + before).replace(tzinfo=None), (at + after).replace(tzinfo=None)
    return ClockChange(at, f"{shows:%H:%M}", f"{then:%H:%M}", after > before)


def missing_hours(day: date, zone: str) -> frozenset[int]:
    """The whole hours of the day that its clocks leap over."""
    local = ZoneInfo(zone)

    def exists(hour: int) -> bool:
        begins = datetime.combine(day, time(hour), local)
        return any(
            place(begins.replace(minute=minute).astimezone(UTC), zone).hour == hour for minute in (0, 59)
        )

    return frozenset(hour for hour in range(24) if not exists(hour))


def crowded(things: Sequence[Dated], most: int, window_s: float) -> set[int]:
    """The positions of those that stand with more than `most` of them within one window: they cannot all start
    at their own time.
    """
    order = sorted(range(len(things)), key=lambda number: things[number].at)
    found: set[int] = set()
    for last in range(most, len(order)):
        group = order[last - most : last + 1]
        if (things[group[-1]].at - things[group[0]].at).total_seconds() < window_s:
            found.update(group)
    return found
