"""A time that is chosen is the time that is shown, in every zone, through form, API and calendar."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import db, publishing
from app.errors import Refused
from app.publishing import When, zones
from app.web.api.publication_shapes import Timed
from tests.makers import Owner
from tests.publishing.room_kit import a_video, an_account, in_, planned, target

YEAR = datetime(2027, 1, 1)
BEGIN, END = YEAR.replace(tzinfo=UTC), YEAR.replace(year=2028, tzinfo=UTC)


@lru_cache(maxsize=1024)
def changes(zone: str) -> tuple[tuple[datetime, timedelta], ...]:
    """When the clocks of the zone change within the year, and by how much."""
    here, found = ZoneInfo(zone), []

    def offset(at: datetime) -> timedelta:
        return at.astimezone(here).utcoffset() or timedelta()

    for day in range(366):
        begin, end = BEGIN + timedelta(days=day), BEGIN + timedelta(days=day + 1)
        if offset(begin) == offset(end):
            continue
        while end - begin > timedelta(seconds=1):
            middle = begin + (end - begin) / 2
            begin, end = (begin, middle) if offset(middle) == offset(end) else (middle, end)
        found.append((end.replace(microsecond=0), offset(end) - offset(begin)))
    return tuple(found)


def check_round_trip(wall: datetime, zone: str, fold: int) -> None:
    """Form, API and row, each read back by the next, mean one moment and show one time."""
    text = wall.strftime("%Y-%m-%dT%H:%M")
    typed = When.on(text, zone, fold)
    assert typed.at is not None and typed.local is not None
    body = Timed.model_validate_json(json.dumps({"at": text, "zone": zone, "fold": fold}))
    assert body.when("UTC") == typed
    moment = Timed.model_validate_json(json.dumps({"publishAt": typed.at.isoformat(), "zone": zone})).when(
        "UTC"
    )
    assert moment.at == typed.at and moment.local == typed.local
    kept = When.kept(typed.at, zone, typed.wall, typed.fold)
    assert (kept, kept.note) == (typed, typed.note)
    assert typed.wall == text
    shown = typed.local.replace(tzinfo=None)
    here = ZoneInfo(zone)
    exists = wall.replace(tzinfo=here).astimezone(UTC).astimezone(here).replace(tzinfo=None) == wall
    if exists:
        assert shown == wall
        assert moment.wall == text and moment.fold == typed.fold
        twice = wall.replace(tzinfo=here, fold=0).utcoffset() != wall.replace(tzinfo=here, fold=1).utcoffset()
        assert typed.fold == (fold if twice else 0)
        assert bool(typed.note) == twice
    else:
        leap = min(leap for _, leap in changes(zone) if leap > timedelta(0)) if changes(zone) else None
        assert shown > wall and (leap is None or shown - wall >= leap)
        assert typed.note and f"{shown:%H:%M}" in typed.note
        # What is shown is itself a time that means this moment.
        assert When.on(shown.isoformat(), zone).at == typed.at
    assert f"{shown:%H:%M} {zone}" in typed.words()


def around(zone: str) -> list[datetime]:
    """Wall times of the year, and those around and within each change of the clock."""
    found = [YEAR + timedelta(days=day, hours=9) for day in (0, 45, 180, 364)]
    for at, leap in changes(zone):
        local = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
        edge = min(local, local - leap)
        length = abs(leap)
        found += [
            edge + step
            for step in (
                timedelta(minutes=-1),
                timedelta(0),
                length / 2,
                length - timedelta(minutes=1),
                length,
                length + timedelta(minutes=1),
            )
        ]
    return [wall.replace(second=0, microsecond=0) for wall in found]


def check_zone(zone: str) -> None:
    for wall, fold in itertools.product(around(zone), (0, 1)):
        check_round_trip(wall, zone, fold)


# Half an hour, two hours, south of the equator, no change at all, odd quarters, Ramadan.
KINDS = (
    "Europe/Kyiv", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll", "America/Santiago", "Asia/Kolkata",
    "Pacific/Chatham", "Africa/Casablanca", "Europe/Dublin", "UTC",
)  # fmt: skip


@pytest.mark.parametrize("zone", KINDS)
def test_a_chosen_time_is_the_time_that_is_shown(zone: str) -> None:
    check_zone(zone)


@given(st.sampled_from(sorted(zones())), st.integers(0, 366 * 24 * 60), st.integers(0, 1))
@settings(max_examples=200, deadline=None, database=None, derandomize=True)
def test_any_minute_of_any_zone_comes_back(zone: str, minute: int, fold: int) -> None:
    check_round_trip(YEAR + timedelta(minutes=minute), zone, fold)


@pytest.mark.storm
def test_storm_of_every_zone_and_every_change_of_the_clock() -> None:
    both = {"leaps": 0, "repeats": 0}
    for zone in sorted(zones()):
        check_zone(zone)
        for _, leap in changes(zone):
            both["leaps" if leap > timedelta(0) else "repeats"] += 1
    assert min(both.values()) > 100 and len(zones()) > 400


def test_an_hour_that_is_leapt_over_is_moved_on() -> None:
    when = When.on("2027-03-28T03:30", "Europe/Kyiv")
    assert when.at == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)
    assert when.note == "The clocks leap over 03:30 that day: 04:30 is used."
    assert when.wall == "2027-03-28T03:30"


def test_of_an_hour_that_comes_twice_either_can_be_chosen() -> None:
    first, second = (When.on("2027-10-31T03:30", "Europe/Kyiv", fold) for fold in (0, 1))
    assert (first.at, second.at) == (
        datetime(2027, 10, 31, 0, 30, tzinfo=UTC),
        datetime(2027, 10, 31, 1, 30, tzinfo=UTC),
    )
    assert "the first one is used" in first.note and "the second one is used" in second.note


@pytest.mark.parametrize(
    ("wall", "zone", "field"),
    [
        ("", "UTC", "at"),
        ("tomorrow", "UTC", "at"),
        ("2027-02-30T09:00", "UTC", "at"),
        ("2027-03-01T09:00+02:00", "UTC", "at"),
        ("0001-01-01T00:00", "Asia/Tokyo", "at"),
        ("9999-12-31T23:59", "America/New_York", "at"),
        ("2027-03-01T09:00", "", "zone"),
        ("2027-03-01T09:00", "Mars/Olympus", "zone"),
        ("2027-03-01T09:00", "../etc/passwd", "zone"),
    ],
)
def test_what_is_no_time_is_refused_by_its_field(wall: str, zone: str, field: str) -> None:
    with pytest.raises(Refused) as refused:
        When.on(wall, zone)
    assert list(refused.value.fields) == [field]


def test_only_the_coming_year_can_be_planned() -> None:
    now = datetime(2027, 6, 1, 12, tzinfo=UTC)
    for good in (now, now - timedelta(seconds=59), now + timedelta(days=366)):
        When.instant(good).check(now)
    for bad in (now - timedelta(seconds=61), now + timedelta(days=366, seconds=1)):
        with pytest.raises(Refused):
            When.instant(bad).check(now)


@pytest.mark.parametrize(
    ("far", "words"),
    [
        (timedelta(seconds=20), "now"),
        (timedelta(minutes=1, seconds=10), "in 1 minute"),
        (timedelta(minutes=89), "in 89 minutes"),
        (timedelta(hours=2), "in 2 hours"),
        (timedelta(days=2), "in 2 days"),
        (timedelta(hours=-3), "3 hours ago"),
    ],
)
def test_a_time_is_said_in_words(far: timedelta, words: str) -> None:
    now = datetime(2027, 3, 1, 7, tzinfo=UTC)
    assert When.instant(now + far, "Europe/Kyiv").words(now).endswith(f" Europe/Kyiv, {words}")
    assert (
        When.on("2027-03-02T09:00", "Europe/Kyiv").words(now).startswith("Tue 2 Mar 09:00 Europe/Kyiv, in ")
    )
    assert When.on("2028-03-03T09:00", "UTC").words(now).startswith("Fri 3 Mar 2028 09:00 UTC")
    assert When.now("UTC").words() == "As soon as the video is ready"


@pytest.mark.anyio
async def test_the_row_keeps_what_was_chosen(maya: Owner) -> None:
    when = in_("Australia/Lord_Howe", days=3)
    made = await planned(maya, await a_video(maya), await an_account(maya), when=when)
    kept = (await target(made.targets[0].id)).when
    assert kept == when and kept.wall == when.wall


@pytest.mark.anyio
async def test_planned_moments_follow_the_rules_of_their_zone_when_those_change(maya: Owner) -> None:
    when = in_("Europe/Kyiv", days=3)
    account_id, video_id = await an_account(maya), await a_video(maya)
    stale = (await planned(maya, video_id, account_id, when=when)).targets[0].id
    other = (await planned(maya, video_id, account_id, when=in_(days=4))).targets[0]
    assert when.at is not None
    async with db.house() as conn:
        # As it was derived while the zone still had other rules.
        await conn.execute(
            "UPDATE targets SET publish_at = publish_at + interval '1 hour' WHERE id = %s", [stale]
        )
        await conn.execute("DELETE FROM procrastinate_jobs")
    async with db.house() as conn:
        assert await publishing.rederive(conn) == 1
        assert await publishing.rederive(conn) == 0
        alarms = await db.rows(
            conn, "SELECT scheduled_at FROM procrastinate_jobs WHERE task_name = 'release-at'"
        )
    assert (await target(stale)).publish_at == when.at
    assert await target(other.id) == other
    assert alarms == [(when.at,)]
