"""The wall calendar: where a moment stands on it, in every zone, also when the clocks are changed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app import publishing
from app.web import days
from app.web.days import View


@dataclass(frozen=True)
class Thing:
    at: datetime


def changes_of(zone: str, year: int) -> Iterator[datetime]:
    """The moments of the year, in UTC, at which the clocks of the zone are changed."""
    local = ZoneInfo(zone)
    at, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    while at < end:
        after = at + timedelta(days=7)
        if at.astimezone(local).utcoffset() != after.astimezone(local).utcoffset():
            early, late = at, after
            while late - early > timedelta(minutes=1):
                middle = early + (late - early) / 2
                same = middle.astimezone(local).utcoffset() == at.astimezone(local).utcoffset()
                early, late = (middle, late) if same else (early, middle)
            yield late.replace(second=0, microsecond=0)
        at = after


def walls(zone: str, dice: random.Random) -> Iterator[tuple[str, int]]:
    """Wall times worth asking about, with the one of two equal hours: some anywhere, and all around the changes."""
    for _ in range(3):
        at = datetime(2027, 1, 1) + timedelta(minutes=dice.randrange(525_600))
        yield at.isoformat(timespec="minutes"), 0
    for change in changes_of(zone, 2027):
        shown = change.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        for minutes in (-61, -60, -30, -1, 0, 1, 29, 30, 59, 60):
            for fold in (0, 1):
                yield (shown + timedelta(minutes=minutes)).isoformat(timespec="minutes"), fold


def test_whatever_is_planned_stands_at_the_wall_time_that_was_chosen_in_every_zone() -> None:
    dice, asked, leapt, twice = random.Random(5), 0, 0, 0
    for zone in sorted(publishing.zones()):
        for wall, fold in walls(zone, dice):
            when = publishing.When.on(wall, zone, fold)
            assert when.at is not None and when.local is not None
            stands = days.place(when.at, zone)
            span = days.span(View.MONTH, stands.day)
            assert days.lay([Thing(when.at)], span.days, zone)[stands.day] == [Thing(when.at)], (zone, wall)
            asked += 1
            if when.note and "leap" in when.note:
                leapt += 1
                assert stands.wall == f"{when.local:%Y-%m-%dT%H:%M}" != wall, (zone, wall)
                continue
            assert stands.wall == wall, (zone, wall, fold)
            if when.note:
                twice += 1
                assert stands.fold == when.fold, (zone, wall, fold)
    assert asked > 3_000 and leapt > 100 and twice > 100


def test_nothing_stands_twice_or_nowhere_between_two_months_of_any_zone() -> None:
    for zone in (
        "Europe/Kyiv",
        "Africa/Cairo",
        "America/Havana",
        "Asia/Beirut",
        "Pacific/Apia",
        "Antarctica/Troll",
    ):
        things = [
            Thing(datetime(2027, 3, 1, tzinfo=UTC) + timedelta(minutes=30 * count)) for count in range(3000)
        ]
        shown = [days.span(View.LIST, date(2027, month, 1)) for month in (2, 3, 4, 5)]
        stood = [one for span in shown for here in days.lay(things, span.days, zone).values() for one in here]
        assert stood == things, zone


@pytest.mark.parametrize(
    ("zone", "day", "words", "gone"),
    [
        ("Europe/Kyiv", "2027-03-28", "leap from 03:00 to 04:00", {3}),
        ("Europe/Kyiv", "2027-10-31", "go back from 04:00 to 03:00", set()),
        ("Australia/Lord_Howe", "2026-10-04", "leap from 02:00 to 02:30", set()),
        ("Africa/Cairo", "2026-04-24", "leap from 00:00 to 01:00", {0}),
        ("Asia/Beirut", "2026-10-24", "go back from 00:00 to 23:00", set()),
        ("Antarctica/Troll", "2026-03-29", "leap from 01:00 to 03:00", {1, 2}),
        ("Europe/Kyiv", "2027-03-27", "", set()),
        ("UTC", "2027-03-28", "", set()),
    ],
)
def test_a_day_on_which_the_clocks_change_says_so(zone: str, day: str, words: str, gone: set[int]) -> None:
    change = days.clock_change(date.fromisoformat(day), zone)
    assert (change is None) if not words else (change is not None and words in change.words)
    assert days.missing_hours(date.fromisoformat(day), zone) == gone


def test_a_day_lasts_as_long_as_its_clocks_say() -> None:
    for day, hours in (("2027-03-27", 24), ("2027-03-28", 23), ("2027-10-31", 25)):
        from_at, to_at = days.moments([date.fromisoformat(day)], "Europe/Kyiv")
        assert (to_at - from_at).total_seconds() == hours * 3600, day


def test_a_months_page_fills_its_weeks_and_leads_to_its_neighbours() -> None:
    span = days.span(View.MONTH, date(2026, 3, 17))
    assert (span.days[0], span.days[-1]) == (date(2026, 2, 23), date(2026, 4, 5))
    assert all(len(week) == 7 and week[0].weekday() == 0 for week in span.weeks)
    assert (span.before, span.here, span.after, span.title) == ("2026-02", "2026-03", "2026-04", "March 2026")
    week = days.span(View.WEEK, date(2026, 12, 31))
    assert (week.days[0], week.days[-1]) == (date(2026, 12, 28), date(2027, 1, 3))
    assert (week.before, week.after) == ("2026-12-27", "2027-01-04")
    assert week.title == "28 Dec 2026 – 3 Jan 2027"


def test_a_day_that_cannot_be_read_is_today() -> None:
    today = date(2026, 3, 4)
    assert days.read_day("2026-02", today) == date(2026, 2, 1)
    assert days.read_day("2026-02-28", today) == date(2026, 2, 28)
    for text in ("", "2026-02-30", "1999-12", "2201-01", "9999-99-99", "soon", "2026-3-4x"):
        assert days.read_day(text, today) == today, text


def test_posts_are_crowded_from_just_inside_the_gap_and_not_at_it() -> None:
    begin = datetime(2026, 3, 4, 9, tzinfo=UTC)

    def at(*seconds: int) -> set[int]:
        return days.crowded([Thing(begin + timedelta(seconds=one)) for one in seconds], 1, 300)

    assert at(0, 299) == {0, 1} and at(0, 300) == set() and at(600, 0, 599) == {0, 2}
    three = [Thing(begin + timedelta(seconds=one)) for one in (0, 100, 299, 900)]
    assert days.crowded(three, 2, 300) == {0, 1, 2} and days.crowded(three, 3, 300) == set()
