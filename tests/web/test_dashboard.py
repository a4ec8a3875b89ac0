"""The first page: what needs the person, what moves, what comes, what is out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app import accounts, db, videos
from app.web import dashboard
from tests.web.studio import Studio, open_studio
from tests.web.test_videos import a_video

pytestmark = pytest.mark.anyio


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        yield opened


async def test_a_new_workspace_is_shown_its_two_first_steps(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    page = (await maya.browser.get("/")).text
    assert "Connect an account" in page and "Bring in a video" in page and "Needs you" not in page


async def test_a_stranger_is_sent_to_sign_in(studio: Studio) -> None:
    answer = await (await studio.client()).get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


async def test_a_video_is_moving_first_and_just_out_later(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya, await studio.account(maya))
    before = (await maya.browser.get("/")).text
    assert (
        f'id="row-{video_id}"' in before
        and "No worker is running" in before
        and "Nothing is out yet" in before
    )
    await studio.worker.run_until_idle(ahead=True)
    after = (await maya.browser.get("/dashboard/board")).text
    assert "Nothing is being branded or posted" in after and "Open the post" in after


async def test_failures_of_one_cause_are_told_once(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    for title in ("Red knot", "Blue knot"):
        await a_video(maya, await studio.account(maya, title), title, privacy="NOT_OFFERED")
    await studio.worker.run_until_idle(ahead=True)
    page = (await maya.browser.get("/")).text
    assert "2 videos failed for the same reason" in page
    assert page.count("Choose who may see the post") == 1 and "Red knot" in page and "Blue knot" in page


async def test_the_next_48_hours_hold_what_is_planned_and_nothing_later(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    await a_video(maya, account_id, "Tomorrow", at=datetime.now(UTC) + timedelta(hours=26))
    await a_video(maya, account_id, "Next week", at=datetime.now(UTC) + timedelta(days=7))
    await studio.worker.run_until_idle()
    page = (await maya.browser.get("/")).text
    assert "Tomorrow" in page and "in 26 hours" in page and "Next week" not in page


async def test_an_account_that_lost_its_permission_needs_the_person(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    await a_video(maya, account_id)
    async with db.house() as conn:
        await accounts.lose(conn, await accounts.get(conn, account_id), "TikTok withdrew the permission.")
    page = (await maya.browser.get("/")).text
    assert "has to be connected again" in page and "TikTok withdrew the permission." in page


async def test_the_cause_with_most_failures_comes_first(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    video_id = await a_video(maya)
    async with db.owned_by(maya.workspace_id) as conn:
        one = await videos.show(conn, video_id)

    def failed(reason: str) -> videos.Shown:
        return replace(one, video=replace(one.video, state="FAILED", reason=reason))

    causes = dashboard.by_cause([failed("rare"), failed("common"), failed("common")])
    assert [(cause.reason, len(cause.failed)) for cause in causes] == [("common", 2), ("rare", 1)]
