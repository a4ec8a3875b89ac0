"""The calendar in a browser: carried by mouse and by keyboard, moved by hand on a phone, and without any script."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from app.publishing import When
from tests.browser.conftest import House

pytestmark = pytest.mark.browser
ZONE = "Europe/Kyiv"


@dataclass
class Plan:
    """One planned post of Maya's, read and changed beside the browser."""

    conn: psycopg.Connection
    target_id: int
    monday: date

    @property
    def wall(self) -> str:
        found = self.conn.execute("SELECT wall_time FROM targets WHERE id = %s", [self.target_id]).fetchone()
        assert found is not None
        return str(found[0])

    def on(self, weekday: int) -> str:
        return (self.monday + timedelta(days=weekday)).isoformat()


def planned(database: str) -> Plan:
    """An account, a video and a post on the Wednesday of the week after this one, at nine: written as rows."""
    conn = psycopg.connect(database, autocommit=True)
    [user_id, workspace_id] = one(conn, "SELECT user_id, workspace_id FROM members")
    conn.execute("UPDATE users SET zone = %s WHERE id = %s", [ZONE, user_id])
    today = datetime.now(UTC).date()
    monday = today - timedelta(days=today.weekday()) + timedelta(days=7)
    when = When.on(f"{monday + timedelta(days=2)}T09:00", ZONE)
    [account_id] = one(
        conn,
        """INSERT INTO accounts (workspace_id, platform, remote_id, handle, display_name, state, scopes)
           VALUES (%s, 'tiktok', 'r1', 'maya', 'Maya’s knots', 'connected', '{}') RETURNING id""",
        workspace_id,
    )
    [video_id] = one(
        conn,
        """INSERT INTO videos (workspace_id, user_id, title, filename, source_key, source_bytes, source_sha256,
                               source_type, state)
           VALUES (%s, %s, 'A knot', 'knot.mp4', 'source', 10, '', 'video/mp4', 'EDITING_QUEUED') RETURNING id""",
        workspace_id,
        user_id,
    )
    [publication_id] = one(
        conn,
        "INSERT INTO publications (workspace_id, user_id, video_id, text) VALUES (%s, %s, %s, '') RETURNING id",
        workspace_id,
        user_id,
        video_id,
    )
    [target_id] = one(
        conn,
        """INSERT INTO targets (workspace_id, publication_id, video_id, account_id, platform, post, publish_at, zone,
                                wall_time, state)
           VALUES (%s, %s, %s, %s, 'tiktok', %s, %s, %s, %s, 'scheduled') RETURNING id""",
        workspace_id,
        publication_id,
        video_id,
        account_id,
        json.dumps({"title": "Three knots", "privacy_level": "SELF_ONLY"}),
        when.at,
        ZONE,
        when.wall,
    )
    return Plan(conn, target_id, monday)


def one(conn: psycopg.Connection, statement: str, *values: object) -> tuple[int, ...]:
    found = conn.execute(statement, values).fetchone()
    assert found is not None
    return tuple(found)


def stands(page: Page, plan: Plan, day: str, hour: int | None = None) -> None:
    """The post is in the cell of this day, and of this hour in a week."""
    cell = f'[data-cell][data-day="{day}"]' + ("" if hour is None else f'[data-hour="{hour}"]')
    expect(page.locator(f"{cell} #entry-{plan.target_id}")).to_be_visible()


def test_a_post_is_moved_by_mouse_by_keyboard_by_touch_and_without_script(
    page: Page, context: BrowserContext, chromium: Browser, house: House, database: str
) -> None:
    plan = planned(database)
    carried(page, context, house, plan)
    touched(chromium, context, house, plan)
    without_script(chromium, context, house, plan)


def carried(page: Page, context: BrowserContext, house: House, plan: Plan) -> None:
    """By mouse and put back, by keyboard and left, by keyboard and dropped; never into the past."""
    page.goto(f"{house.address}/calendar?view=week&on={plan.on(0)}")
    entry = page.locator(f"#entry-{plan.target_id}")
    stands(page, plan, plan.on(2), 9)
    # A second page, open all the while, is told by the live stream.
    beside = context.new_page()
    beside.goto(f"{house.address}/calendar?on={plan.on(0)[:7]}")
    stands(beside, plan, plan.on(2))
    page.bring_to_front()
    entry.locator("a").hover()
    page.mouse.down()
    page.locator(f'[data-cell][data-day="{plan.on(4)}"][data-hour="14"]').hover()
    expect(page.locator(".carry")).to_contain_text("14:00, Europe/Kyiv")
    page.mouse.up()
    stands(page, plan, plan.on(4), 14)
    assert plan.wall == f"{plan.on(4)}T14:00" and page.url.endswith(f"on={plan.on(0)}")
    stands(beside, plan, plan.on(4))
    page.click("#alerts >> text=Undo")
    stands(page, plan, plan.on(2), 9)
    expect(page.locator("#alerts")).to_contain_text("is moved to")
    assert plan.wall == f"{plan.on(2)}T09:00"
    grab = entry.locator(".grab")
    grab.focus()
    for key in ("Enter", "ArrowRight", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    expect(page.locator(".carry")).to_contain_text("11:00")
    page.keyboard.press("Escape")
    expect(page.locator(".carry")).to_have_count(0)
    assert plan.wall == f"{plan.on(2)}T09:00"
    for key in ("Space", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    stands(page, plan, plan.on(3), 10)
    expect(grab).to_be_focused()
    assert plan.wall == f"{plan.on(3)}T10:00"
    # What has passed is no place to go to.
    page.goto(f"{house.address}/calendar?view=week&on={plan.on(0)}")
    grab.focus()
    page.keyboard.press("Enter")
    for _ in range(14):
        page.keyboard.press("ArrowLeft")
    expect(page.locator(".carry")).to_contain_text("is past")
    page.keyboard.press("Enter")
    expect(page.locator("#alerts")).to_contain_text("is past")
    assert plan.wall == f"{plan.on(3)}T10:00"


def touched(chromium: Browser, context: BrowserContext, house: House, plan: Plan) -> None:
    """A finger has the dialog of day and time."""
    kept = context.storage_state()
    phone = chromium.new_context(
        viewport={"width": 390, "height": 844}, storage_state=kept, has_touch=True, is_mobile=True
    )
    phone.set_default_timeout(20_000)
    small = phone.new_page()
    small.goto(f"{house.address}/calendar?view=week&on={plan.on(0)}")
    assert small.evaluate("document.documentElement.scrollWidth") <= 390
    box = small.locator(f"#entry-{plan.target_id} .grab").bounding_box()
    assert box is not None and box["width"] >= 40 and box["height"] >= 40
    small.tap(f"#entry-{plan.target_id} .grab")
    small.fill("#move-day", plan.on(5))
    small.fill("#move-clock", "20:15")
    small.tap("#move-dialog button.primary")
    stands(small, plan, plan.on(5), 20)
    assert plan.wall == f"{plan.on(5)}T20:15"
    phone.close()


def without_script(chromium: Browser, context: BrowserContext, house: House, plan: Plan) -> None:
    """Links and forms do it, and offer the way back."""
    kept = context.storage_state()
    plain = chromium.new_context(storage_state=kept, java_script_enabled=False)
    plain.set_default_timeout(20_000)
    bare = plain.new_page()
    bare.goto(f"{house.address}/calendar?on={plan.on(5)[:7]}")
    expect(bare.locator(f"#entry-{plan.target_id} .grab")).to_be_hidden()
    bare.click("text=List")
    row = bare.locator(f"#entry-{plan.target_id}")
    row.locator("summary").click()
    row.locator("input[name=at]").fill(f"{plan.on(6)}T08:30")
    row.locator("button:has-text('Move')").click()
    expect(bare.locator("main")).to_contain_text("is moved")
    assert plan.wall == f"{plan.on(6)}T08:30"
    bare.click("text=Undo")
    expect(bare.locator("main")).to_contain_text(re.compile("20:15"))
    assert plan.wall == f"{plan.on(5)}T20:15"
    plain.close()
