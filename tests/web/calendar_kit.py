"""Maya with accounts and an edited video, and what she plans with them, for tests of the calendar's pages."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx2

from app import db, platforms, publishing
from app.publishing import When
from tests.makers import Owner
from tests.publishing import room_kit
from tests.web.studio import OWN, Person, Studio

ZONE = "Europe/Kyiv"


@dataclass
class Desk:
    """Maya's workspace: two accounts on two platforms, and a video that is ready to go out."""

    studio: Studio
    maya: Person
    tiktok: int
    youtube: int
    video_id: int

    @property
    def owner(self) -> Owner:
        return Owner(self.maya.user_id, self.maya.workspace_id)

    async def plan(
        self, *account_ids: int, when: When | None = None, title: str = "A knot"
    ) -> publishing.Publication:
        """A publication on these accounts (TikTok's when none is named), by default in two days at nine."""
        post = platforms.Post(title=title, privacy_level="SELF_ONLY")
        return await room_kit.planned(
            self.owner, self.video_id, *(account_ids or (self.tiktok,)), when=when or nine(), post=post
        )

    async def see(self, path: str = "/calendar") -> str:
        answer = await self.maya.browser.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def move(self, target_id: int, wall: str, zone: str = ZONE, fold: int = 0) -> httpx2.Response:
        """As the calendar's script sends it."""
        return await self.maya.browser.post(
            f"/publications/targets/{target_id}/move",
            data={"at": wall, "zone": zone, "fold": str(fold)},
            headers=OWN | {"x-csrf-token": self.maya.csrf, "accept": "application/json"},
        )

    async def late(self, publication: publishing.Publication, state: str = "missed", **far: float) -> int:
        """Its one post as an outage leaves it: missed, or held back. Gives the post's number."""
        [target] = publication.targets
        await room_kit.let_time_pass(target.id, **(far or {"hours": 3}))
        async with db.house() as conn:
            if state == "held":
                await conn.execute(
                    "UPDATE targets SET held_at = now(), reason_code = 'held' WHERE id = %s", [target.id]
                )
            else:
                await conn.execute(
                    "UPDATE targets SET state = %s, reason = %s WHERE id = %s",
                    [state, f"It {state}, for a test.", target.id],
                )
        return target.id

    async def out(self, target_id: int) -> None:
        """As if the platform had it and said so."""
        async with db.house() as conn:
            for step in ("queued", "publishing", "published"):
                await conn.execute("UPDATE targets SET state = %s WHERE id = %s", [step, target_id])


async def a_desk(studio: Studio) -> Desk:
    maya = await studio.person(browser=True)
    async with db.house() as conn:
        await conn.execute("UPDATE users SET zone = %s WHERE id = %s", [ZONE, maya.user_id])
    owner = Owner(maya.user_id, maya.workspace_id)
    tiktok = await room_kit.an_account(owner, display_name="Maya’s knots")
    youtube = await room_kit.an_account(owner, platform="youtube", display_name="Knot school", creator=None)
    return Desk(studio, maya, tiktok, youtube, await room_kit.a_video(owner))


def nine(days: int = 2, hour: int = 9, minute: int = 0, zone: str = ZONE) -> When:
    """So many days from now, at nine in the morning by the clocks of the zone."""
    day = datetime.now(UTC).astimezone(ZoneInfo(zone)).date() + timedelta(days=days)
    return When.on(f"{day.isoformat()}T{hour:02}:{minute:02}", zone)


def walls(page: str) -> dict[int, str]:
    """Where the posts on a page of the calendar stand, by their numbers."""
    found = re.findall(r'data-target="(\d+)"[^>]*? data-wall="([^"]+)"', page)
    return {int(number): wall for number, wall in found}


def forms(page: str) -> list[dict[str, Any]]:
    """Every form of a page with its address and hidden fields."""
    found = []
    for action, inside in re.findall(r'<form[^>]*?action="([^"]+)"[^>]*>(.*?)</form>', page, re.S):
        fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', inside)
        found.append(
            {"action": html.unescape(action), **{name: html.unescape(value) for name, value in fields}}
        )
    return found


async def row(target_id: int) -> publishing.Target:
    async with db.house() as conn:
        return await publishing.get(conn, target_id)


async def alarms() -> set[datetime]:
    """The moments for which somebody has asked to look at what is due."""
    async with db.house() as conn:
        found = await db.rows(
            conn,
            "SELECT scheduled_at FROM procrastinate_jobs WHERE task_name LIKE 'release%' AND status = 'todo'",
        )
    return {at for (at,) in found if at is not None}
