"""The calendar over HTTP: what stands where, moving it, what waits for a word, empty places of the weekly slots."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from app import db, publishing
from app.publishing import When
from app.web import days
from tests.web.calendar_kit import ZONE, Desk, a_desk, alarms, forms, nine, row, walls
from tests.web.studio import OWN, open_studio
from tests.web.test_days import changes_of

pytestmark = pytest.mark.anyio
HTMX = {"hx-request": "true"}


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Desk]:
    async with open_studio(tmp_path, monkeypatch, database) as studio:
        yield await a_desk(studio)


async def test_a_post_stands_at_the_time_that_was_chosen_and_in_another_zone_at_that_zones(
    desk: Desk,
) -> None:
    when = nine()
    [target] = (await desk.plan(when=when, title="Three knots & more")).targets
    for view, on in (("month", when.wall[:7]), ("week", when.wall[:10])):
        page = await desk.see(f"/calendar?view={view}&on={on}")
        assert walls(page) == {target.id: when.wall}, view
        assert "Three knots &amp; more" in page and "Planned" in page and "#tiktok" in page, view
        assert f"/publications/{target.publication_id}#target-{target.id}" in page, view
    assert when.at is not None
    other = days.place(when.at, "America/Los_Angeles")
    page = await desk.see(f"/calendar?view=week&on={other.day}&zone=America/Los_Angeles")
    assert walls(page) == {target.id: other.wall} and "Times are America/Los_Angeles" in page
    listed = await desk.see(f"/calendar?view=list&on={when.wall[:7]}")
    section = re.search(rf'id="day-{when.wall[:10]}".*?</section>', listed, re.S)
    assert section is not None and "Three knots" in section[0] and "09:00" in section[0]


async def test_the_filters_stand_in_the_address_and_hold_for_what_is_shown(desk: Desk) -> None:
    when = nine()
    first, second = (await desk.plan(desk.tiktok, desk.youtube, when=when)).targets
    month = f"/calendar?on={when.wall[:7]}"
    assert set(walls(await desk.see(month))) == {first.id, second.id}
    assert set(walls(await desk.see(f"{month}&account={desk.youtube}"))) == {second.id}
    page = await desk.see(f"{month}&platform=tiktok")
    assert set(walls(page)) == {first.id}
    # Turning the page and the live piece keep what was asked for.
    kept = f"view=month&amp;on={when.wall[:7]}&amp;platform=tiktok"
    assert f'data-src="/calendar/view?{kept}"' in page and page.count("platform=tiktok") > 5
    assert f'data-live="workspace-{desk.maya.workspace_id}"' in page
    piece = await desk.maya.browser.get(f"/calendar/view?on={when.wall[:7]}&platform=tiktok", headers=HTMX)
    assert piece.text.lstrip().startswith('<div id="calendar"') and walls(piece.text) == {first.id: when.wall}
    for odd in ("view=year", "on=2026-99", "zone=Nowhere/City", "account=x", "platform=myspace"):
        assert (await desk.maya.browser.get(f"/calendar?{odd}")).status_code == 200, odd


async def test_moving_changes_row_and_alarm_together_and_is_undone_by_the_way_back(desk: Desk) -> None:
    [target] = (await desk.plan()).targets
    later = nine(days=5, hour=16)
    answer = await desk.move(target.id, later.wall)
    assert answer.status_code == 200, answer.text
    told = answer.json()["moved"]
    assert told["words"] == later.words() and told["note"] == ""
    moved = await row(target.id)
    assert (moved.publish_at, moved.wall_time, moved.zone, moved.state) == (
        later.at,
        later.wall,
        ZONE,
        "scheduled",
    )
    assert later.at in await alarms()
    assert walls(await desk.see(f"/calendar?on={later.wall[:7]}")) == {target.id: later.wall}
    await desk.move(target.id, nine().wall)
    assert (await row(target.id)).publish_at == target.publish_at and target.publish_at in await alarms()


async def test_a_refused_move_says_why_and_changes_nothing(desk: Desk) -> None:
    [target] = (await desk.plan()).targets
    before, rung = await row(target.id), await alarms()
    yesterday = nine(days=-1)
    for wall, zone, said in (
        (yesterday.wall, ZONE, "passed"),
        (nine(days=400).wall, ZONE, "year"),
        ("soon", ZONE, "day and a time"),
        (nine().wall, "Nowhere/City", "time zone"),
    ):
        answer = await desk.move(target.id, wall, zone)
        assert answer.status_code == 422 and said in str(answer.json()["error"]["fields"]), answer.text
    assert (await row(target.id), await alarms()) == (before, rung)
    await desk.out(target.id)
    answer = await desk.move(target.id, nine(days=3).wall)
    assert answer.status_code == 409 and "cannot be moved any more" in answer.json()["error"]["message"]
    assert (await row(target.id)).publish_at == before.publish_at and await alarms() == rung


async def test_a_plain_form_moves_it_leads_back_and_offers_the_way_back(desk: Desk) -> None:
    [target] = (await desk.plan()).targets
    listed = await desk.see(f"/calendar?view=list&on={nine().wall[:7]}")
    form = next(one for one in forms(listed) if one["action"].endswith(f"/{target.id}/move"))
    later = nine(days=4, hour=11)
    answer = await desk.maya.post(form["action"], {**form, "at": later.wall})
    assert answer.status_code == 303 and answer.headers["location"].startswith("/calendar?view=list")
    assert (await row(target.id)).wall_time == later.wall
    page = await desk.see(answer.headers["location"])
    assert "is moved" in page and ", 11:00 Europe/Kyiv" in page
    undo = next(one for one in forms(page) if one.get("at") == nine().wall)
    assert (await desk.maya.post(undo["action"], undo)).status_code == 303
    assert (await row(target.id)).wall_time == nine().wall
    # An address that somebody made up says nothing.
    made_up = "/calendar?moved=999999&was=2027-01-01T09:00&was-zone=UTC&did=post&many=x&left=0"
    assert "is moved" not in await desk.see(made_up) and "in line. Each" not in await desk.see(made_up)
    elsewhere = await desk.maya.post(
        form["action"], {**form, "at": later.wall, "next": "https://example.org/"}
    )
    assert elsewhere.headers["location"].startswith("/?moved=")


async def test_the_day_of_a_clock_change_says_so_and_equal_hours_are_told_apart(desk: Desk) -> None:
    now = datetime.now(UTC)
    changes = sorted(at for year in (now.year, now.year + 1) for at in changes_of(ZONE, year) if at > now)
    day = days.place(changes[0], ZONE).day
    page = await desk.see(f"/calendar?view=week&on={day}")
    assert re.search("The clocks (leap|go back) from 0[34]:00 to 0[34]:00", page)
    back = next(
        at
        for at in changes
        if (change := days.clock_change(days.place(at, ZONE).day, ZONE)) and not change.forward
    )
    twice = f"{days.place(back, ZONE).day}T03:30"
    first, second = When.on(twice, ZONE, 0), When.on(twice, ZONE, 1)
    [early] = (await desk.plan(when=first)).targets
    [late] = (await desk.plan(desk.youtube, when=second)).targets
    page = await desk.see(f"/calendar?view=week&on={twice[:10]}")
    assert walls(page) == {early.id: twice, late.id: twice}
    assert page.count("the second of two equal hours") == 1
    answer = await desk.move(early.id, twice, fold=1)
    assert "second one is used" in answer.json()["moved"]["note"]
    assert (await row(early.id)).publish_at == second.at


async def test_what_missed_its_time_waits_on_top_until_somebody_decides(desk: Desk) -> None:
    missed = await desk.late(await desk.plan(title="Missed knot"))
    held = await desk.late(await desk.plan(desk.youtube, when=nine(days=3), title="Held knot"), "held")
    page = await desk.see()
    lane = page[page.index('class="lane"') : page.index('<div class="month"')]
    assert "Missed knot" in lane and "Held knot" in lane and "Missed its time" in lane and "Held back" in lane
    acts = {one["action"]: one for one in forms(lane)}
    answer = await desk.maya.post(
        f"/publications/targets/{held}/post-now", acts[f"/publications/targets/{held}/post-now"]
    )
    assert (answer.status_code, (await row(held)).state) == (303, "queued")
    assert answer.headers["location"].startswith("/calendar")
    assert (await desk.maya.post(f"/publications/targets/{missed}/skip")).status_code == 303
    assert (await row(missed)).state == "cancelled"
    assert 'class="lane"' not in await desk.see()
    # Twice: it is not held any more.
    assert (await desk.maya.post(f"/publications/targets/{held}/post-now")).status_code == 409


async def test_all_that_waits_is_posted_spread_or_skipped_at_once(desk: Desk) -> None:
    ids = [await desk.late(await desk.plan(when=nine(days=2 + count)), hours=3 + count) for count in range(3)]
    page = await desk.see()
    assert "All 3 at once" in page
    first = nine(days=7)
    sent = {"act": "move", "target": [str(one) for one in ids], "at": first.wall, "zone": ZONE, "every": "90"}
    for bad, field in (({"every": "0"}, "every"), ({"act": "delete"}, "act"), ({"target": []}, "target")):
        answer = await desk.maya.post(
            "/calendar/lane", {**sent, **bad}, headers={"accept": "application/json"}
        )
        assert answer.status_code == 422 and field in answer.json()["error"]["fields"], bad
    answer = await desk.maya.post("/calendar/lane", sent)
    assert "3 posts planned anew." in await desk.see(answer.headers["location"])
    assert first.at is not None
    wanted = [first.at + timedelta(minutes=90 * count) for count in range(3)]
    assert [(await row(one)).publish_at for one in ids] == wanted and set(wanted) <= await alarms()
    # What is no longer held is left alone, and said.
    again = await desk.maya.post("/calendar/lane", {"act": "skip", "target": [str(one) for one in ids]})
    assert "0 posts skipped. 3 could not be changed any more." in await desk.see(again.headers["location"])
    assert {(await row(one)).state for one in ids} == {"scheduled"}


async def test_the_past_is_read_only_and_so_is_what_is_out(desk: Desk) -> None:
    [ahead] = (await desk.plan()).targets
    [out] = (await desk.plan(desk.youtube, when=nine(days=1, hour=10))).targets
    await desk.out(out.id)
    failed = await desk.late(await desk.plan(desk.tiktok, when=nine(days=6)), "failed", minutes=1)
    day = days.place((await row(failed)).publish_at, ZONE).day
    pages = await desk.see(f"/calendar?view=week&on={day}") + await desk.see(
        f"/calendar?view=week&on={nine().wall[:10]}"
    )
    pages += await desk.see(f"/calendar?view=week&on={nine(days=1).wall[:10]}")
    movable = {int(one) for one in re.findall(r'data-target="(\d+)" data-movable', pages)}
    assert movable == {ahead.id} and {out.id, failed} <= set(walls(pages))
    past = await desk.see(f"/calendar?view=week&on={day - timedelta(days=7)}")
    assert past.count("data-past") == past.count("data-cell") > 160


async def test_posts_of_one_account_closer_than_its_gap_are_marked(desk: Desk) -> None:
    [one] = (await desk.plan(when=nine())).targets
    [two] = (await desk.plan(when=nine(minute=4))).targets
    [third] = (await desk.plan(when=nine(minute=9))).targets
    [other] = (await desk.plan(desk.youtube, when=nine(minute=1))).targets
    page = await desk.see(f"/calendar?view=list&on={nine().wall[:7]}")
    for target, close in ((one, True), (two, True), (third, False), (other, False)):
        shown = re.search(rf'id="entry-{target.id}".*?</li>', page, re.S)
        assert shown is not None and ("Too close to another post" in shown[0]) is close, target.id


async def test_a_weekly_slot_is_an_empty_place_until_something_is_planned_there(desk: Desk) -> None:
    when = nine()
    weekday = date.fromisoformat(when.wall[:10]).weekday()
    async with db.owned_by(desk.maya.workspace_id) as conn:
        await publishing.slots.add(conn, account_id=desk.tiktok, weekday=weekday, wall="09:00", zone=ZONE)
        await publishing.slots.add(conn, account_id=desk.youtube, weekday=weekday, wall="09:00", zone=ZONE)
    week = f"/calendar?view=week&on={when.wall[:10]}"
    places = re.findall(r'class="slot-place" href="([^"]+)"', await desk.see(week))
    assert len(places) == 2 and all("at=" + when.wall.replace(":", "%3A") in place for place in places)
    composer = await desk.see(
        next(one for one in places if f"account={desk.tiktok}" in one).replace("&amp;", "&")
    )
    assert when.wall in composer
    await desk.plan(when=when)
    [left] = re.findall(r'class="slot-place" href="([^"]+)"', await desk.see(week))
    assert f"account={desk.youtube}" in left
    before = date.fromisoformat(when.wall[:10]) - timedelta(days=14)
    assert "slot-place" not in await desk.see(f"/calendar?view=week&on={before}")


async def test_an_empty_calendar_says_what_to_do(desk: Desk) -> None:
    page = await desk.see()
    assert "Nothing stands on these days." in page and 'href="/compose"' in page
    noor = await desk.studio.person("Noor", browser=True)
    page = (await noor.browser.get("/calendar?view=list")).text
    assert "Connect an account" in page
    # Somebody else's posts are neither shown nor moved.
    [target] = (await desk.plan()).targets
    assert walls((await noor.browser.get(f"/calendar?on={nine().wall[:7]}")).text) == {}
    answer = await noor.browser.post(
        f"/publications/targets/{target.id}/move",
        data={"at": nine(days=9).wall, "zone": ZONE, "csrf": noor.csrf},
        headers=OWN,
    )
    assert answer.status_code == 404 and (await row(target.id)).wall_time == nine().wall
