"""Accounts of every platform: the consent page there and back, what is left of each limit, late posts, many Pages."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from app import accounts, config, db, http, platforms, publishing
from app.platforms import Usage
from tests.makers import Owner, a_video
from tests.web.studio import Person, Studio, open_studio

pytestmark = pytest.mark.anyio


@pytest.fixture
async def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, monkeypatch, database) as opened:
        port = config.get().port
        for name in platforms.NAMES:
            monkeypatch.setenv(
                f"{name}_REDIRECT_URI".upper(), f"http://localhost:{port}/accounts/{name}/callback"
            )
        config.get.cache_clear()
        yield opened


async def connected(person: Person) -> list[accounts.Account]:
    async with db.owned_by(person.workspace_id) as conn:
        return await accounts.list_for(conn)


async def change(account_id: int, **columns: object) -> None:
    async with db.house() as conn:
        for name, value in columns.items():
            assert name.isidentifier()
            await conn.execute(f"UPDATE accounts SET {name} = %s WHERE id = %s".encode(), [value, account_id])


async def card(person: Person, account_id: int) -> str:
    answer = await person.browser.get(f"/accounts/{account_id}/card")
    assert answer.status_code == 200, answer.text
    return words(answer.text)


def words(page: str) -> str:
    """What a person reads of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split())


async def creator(platform: str, name: str, **switches: Any) -> None:
    """Somebody in the simulator."""
    base = config.get().sandbox_base
    body = {"platform": platform, "displayName": name, **switches}
    assert (await http.request("POST", f"{base}/accounts", json=body)).status == 201


async def consent(person: Person, platform: str, name: str = "", **decided: object) -> str:
    """Go through the platform's consent page as a person does, as `name` or as somebody new; gives the address it
    leads back to.
    """
    begun = await person.browser.get(f"/accounts/{platform}/connect")
    assert begun.status_code == 303, begun.text
    there = urlsplit(begun.headers["location"])
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{config.get().port}") as world:
        shown = await world.get(f"{there.path}?{there.query}")
        assert shown.status_code == 200, shown.text
        # A tester picks a creator, a person or a channel, whatever the platform calls them.
        [whom] = re.findall(r'name="(\w+)" value="new"', shown.text)
        people = re.findall(rf'name="{whom}" value="(\d+)".*?<strong>(.*?)</strong>', shown.text, re.DOTALL)
        form = {
            whom: next((number for number, called in people if called == name), "new"),
            "display_name": "" if name else "Maya Makes",
            "grant": re.findall(r'name="grant" value="([^"]+)"', shown.text),
            "public": "yes",
            "decision": "approve",
        } | decided
        answer = await world.post(f"{there.path}?{there.query}", data=form)
        assert answer.status_code in (302, 303), answer.text
    back = urlsplit(answer.headers["location"])
    return f"{back.path}?{back.query}"


async def test_each_platform_is_connected_through_its_own_consent_page_and_once(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    for platform in platforms.NAMES:
        back = await consent(maya, platform)
        answer = await maya.browser.get(back)
        newest = (await connected(maya))[0]
        assert answer.headers["location"] == f"/accounts#account-{newest.id}", platform
        assert (newest.platform, newest.usable, newest.display_name) == (platform, True, "Maya Makes")
        again = await maya.browser.get(back)
        assert (again.status_code, "was already used" in again.text) == (422, True), platform
        # An answer for one platform opens nothing at another.
    foreign = (await consent(maya, "tiktok")).replace("/tiktok/", "/youtube/")
    assert (await maya.browser.get(foreign)).status_code == 422
    assert len(await connected(maya)) == len(platforms.NAMES)


async def test_a_denial_connects_nothing_and_says_so_in_the_platforms_name(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    for platform in platforms.NAMES:
        answer = await maya.browser.get(await consent(maya, platform, decision="deny"))
        assert answer.status_code == 422, platform
        assert f"You did not allow the connection on {platforms.LABELS[platform]}" in answer.text
        assert f'href="/accounts/{platform}/connect"' in answer.text
    assert await connected(maya) == []


async def test_what_was_unticked_is_named_in_the_persons_words(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    for platform in platforms.NAMES:
        adapter = platforms.get(platform)
        unticked = adapter.NEEDED_SCOPES[-1]
        kept = [scope for scope in adapter.SCOPES if scope != unticked]
        answer = await maya.browser.get(await consent(maya, platform, grant=kept))
        assert (answer.status_code, "scopes_missing" in answer.text) == (422, True), (platform, answer.text)
        assert f"May not {adapter.SCOPE_WORDS[unticked]}" in answer.text
        assert unticked in answer.text
    assert await connected(maya) == []


async def test_a_simulated_account_of_each_platform_is_made_in_one_go_and_answers(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    for platform in platforms.NAMES:
        answer = await maya.post("/accounts/simulated", {"platform": platform, "name": "Maya Makes"})
        assert answer.status_code == 303, (platform, answer.text)
    found = await connected(maya)
    assert {account.platform for account in found} == set(platforms.NAMES)
    for account in found:
        told = await maya.post(f"/accounts/{account.id}/test", headers={"hx-request": "true"})
        assert f"It works: {platforms.LABELS[account.platform]} answered for @" in told.text
    assert (
        await maya.post("/accounts/simulated", {"platform": "myspace", "name": "Maya"})
    ).status_code == 404


async def test_of_many_pages_those_that_are_picked_are_connected(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    await creator("facebook", "Many Pages", pages=3)
    answer = await maya.browser.get(await consent(maya, "facebook", "Many Pages"))
    where = answer.headers["location"]
    assert where.startswith("/accounts/choose/")
    page = (await maya.browser.get(where)).text
    offered = re.findall(r'name="account" value="(\d+)"', page)
    assert len(offered) == 3
    assert await connected(maya) == []
    answer = await maya.post(where, {"account": offered[:2]})
    assert answer.status_code == 303
    first = await connected(maya)
    assert sorted(account.remote_id for account in first) == sorted(offered[:2])
    assert all(account.usable for account in first)
    # Once more, with the third: the first two keep their rows.
    where = (await maya.browser.get(await consent(maya, "facebook", "Many Pages"))).headers["location"]
    page = (await maya.browser.get(where)).text
    assert page.count("Connected already") == 2
    assert (await maya.post(where, {"account": offered})).status_code == 303
    after = await connected(maya)
    assert {account.id for account in first} < {account.id for account in after}
    assert len(after) == 3


async def test_instagram_accounts_behind_pages_are_picked_by_their_names(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTAGRAM_LOGIN", "facebook")
    config.get.cache_clear()
    maya = await studio.person(browser=True)
    await creator("instagram", "Garden Tales")
    await creator("instagram", "Kitchen Tales", owner="garden.tales")
    where = (await maya.browser.get(await consent(maya, "instagram", "Garden Tales"))).headers["location"]
    page = words((await maya.browser.get(where)).text)
    assert "Instagram lets Backlot post to 2 accounts of yours" in page
    assert "behind the Page" in page
    offered = re.findall(r'name="account" value="(\d+)"', (await maya.browser.get(where)).text)
    assert (await maya.post(where, {"account": offered})).status_code == 303
    found = await connected(maya)
    assert {account.handle for account in found} == {"kitchen.tales", "garden.tales"}
    assert all(account.usable and account.facts["login"] == "facebook" for account in found)


async def test_connecting_again_keeps_row_plans_and_pause_and_ends_what_held_it(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    await creator("youtube", "Kitchen Tales")
    await maya.browser.get(await consent(maya, "youtube", "Kitchen Tales"))
    [before] = await connected(maya)
    video = await a_video(Owner(maya.user_id, maya.workspace_id), before)
    paused_at = datetime.now(UTC)
    await change(
        before.id,
        state="needs_reconnect",
        reason="Gone.",
        held_until=datetime.now(UTC) + timedelta(hours=9),
        held_reason="Its quota is used up.",
        paused_at=paused_at,
        outage_policy="hold",
    )
    await maya.browser.get(await consent(maya, "youtube", "Kitchen Tales"))
    [after] = await connected(maya)
    assert (after.id, after.state, after.reason) == (before.id, "connected", None)
    assert (after.held_until, after.held_reason) == (None, None)
    assert (after.paused_at, after.outage_policy) == (paused_at, "hold")
    async with db.house() as conn:
        [target] = await publishing.on_account(conn, after.id)
        jobs = await db.rows(conn, "SELECT 1 FROM procrastinate_jobs WHERE task_name = 'release-due'")
    assert target.video_id == video.id
    assert len(jobs) == 1


async def test_who_can_do_something_about_a_platform_that_is_not_set_up_is_told_how(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    olga = await studio.person("Olga", browser=True)
    eve = await studio.person("Eve", browser=True)
    for name, value in {
        "SIMULATORS": "off",
        "YOUTUBE_CLIENT_ID": "ours",
        "YOUTUBE_CLIENT_SECRET": "x",
    }.items():
        monkeypatch.setenv(name, value)
    config.get.cache_clear()
    for person, operates in ((olga, True), (eve, False)):
        page = (await person.browser.get("/accounts")).text
        assert 'href="/accounts/youtube/connect"' in page
        assert 'href="/accounts/tiktok/connect"' not in page
        assert ("/admin/platforms#platform-tiktok" in page) is operates
        assert ("an operator can do that" in page) is not operates
        assert "A simulated account" not in page
    start = (await eve.browser.get("/start")).text
    assert 'href="/accounts/youtube/connect"' in start and "Use the simulator" not in start


async def test_what_is_left_of_each_limit_stands_on_the_card_and_in_the_api(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    await maya.post("/accounts/simulated", {"platform": "youtube", "name": "Kitchen Tales"})
    [account] = await connected(maya)
    assert "100 of 100 left" in await card(maya, account.id)
    quota = platforms.get("youtube").quotas(None)[0]
    key = publishing.caps.key_of("youtube", quota, account.id)
    async with db.house() as conn:
        await conn.execute("INSERT INTO limits (key) VALUES (%s)", [key])
        await conn.execute(
            """
            INSERT INTO limit_grants (key, holder, at, started)
            SELECT %s, 'job-' || n, now() - n * interval '25 hours', true FROM generate_series(0, 1) AS n""",
            [key],
        )
    told = await card(maya, account.id)
    # Yesterday's does not count any more, and all accounts use up the same.
    assert "99 of 100 left" in told
    assert "Shared by all accounts of this installation. Begins anew in " in told
    [shown] = (await maya.api.get("/api/accounts")).json()["accounts"]
    [limit] = shown["limits"]
    assert (limit["name"], limit["used"], limit["most"], limit["left"]) == (quota.name, 1, 100, 99)
    assert limit["resetsAt"] is not None and limit["slides"] is False


async def test_a_limit_that_slides_says_when_the_first_comes_back(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    quota = platforms.get("tiktok").quotas(None)[0]
    key = publishing.caps.key_of("tiktok", quota, account_id)
    async with db.house() as conn:
        await conn.execute("INSERT INTO limits (key) VALUES (%s)", [key])
        await conn.execute(
            """
            INSERT INTO limit_grants (key, holder, at, started)
            VALUES (%s, 'job-1', now() - interval '20 hours', true)""",
            [key],
        )
    assert "The first comes back in 4 hours" in await card(maya, account_id)


async def test_what_a_platform_says_of_its_limits_is_shown_and_holds(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    await a_video(Owner(maya.user_id, maya.workspace_id), (await connected(maya))[0])
    async with db.house() as conn:
        [target] = await publishing.on_account(conn, account_id)
        await publishing.caps.keep_usage(
            conn,
            target,
            [Usage("account", "calls", percent=61.0), Usage("account", "posts", used=14, most=15)],
        )
    told = await card(maya, account_id)
    assert "61 % used" in told and "1 of 15 left" in told
    async with db.house() as conn:
        await publishing.caps.keep_usage(
            conn, target, [Usage("app", "calls", percent=97.0, until_s=7200, sentence="Too many calls.")]
        )
    told = await card(maya, account_id)
    assert "On hold" in told and "Too many calls." in told and "Goes on in 2 hours" in told


async def test_what_happens_to_late_posts_is_chosen_for_each_account(studio: Studio) -> None:
    maya, noa = await studio.person(browser=True), await studio.person("Noa", browser=True)
    account_id = await studio.account(maya)
    assert "One after another" in await card(maya, account_id)
    for policy, word in (("hold", "Wait for my word"), ("miss", "Mark as missed")):
        told = await maya.post(
            f"/accounts/{account_id}/late", {"policy": policy}, headers={"hx-request": "true"}
        )
        assert f"{word} · change" in words(told.text)
        assert (await connected(maya))[0].outage_policy == policy
    refused = await maya.post(f"/accounts/{account_id}/late", {"policy": "all_at_once"})
    assert refused.status_code == 422
    assert (await noa.post(f"/accounts/{account_id}/late", {"policy": "spread"})).status_code == 404
    assert (await connected(maya))[0].outage_policy == "miss"


async def test_trouble_while_renewing_and_a_foreign_world_are_told_on_the_card(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    await change(account_id, reason="TikTok did not answer in time.")
    told = await card(maya, account_id)
    assert "Renewal delayed" in told and "TikTok did not answer in time." in told
    await change(account_id, reason=None, simulated=False)
    told = await card(maya, account_id)
    assert "Cannot be used" in told and "the simulator stands in for TikTok" in told
    assert "Test call" not in told
    [shown] = (await maya.api.get("/api/accounts")).json()["accounts"]
    assert (shown["usable"], "simulator" in shown["reason"]) == (False, True)


async def test_a_permission_that_ends_before_a_planned_post_is_told_however_far_off(studio: Studio) -> None:
    maya = await studio.person(browser=True)
    account_id = await studio.account(maya)
    await a_video(Owner(maya.user_id, maya.workspace_id), (await connected(maya))[0])
    ends_at = datetime.now(UTC) + timedelta(days=40)
    await change(account_id, refresh_expires_at=ends_at)
    assert "The permission ends" not in await card(maya, account_id)
    async with db.house() as conn:
        await conn.execute("UPDATE targets SET publish_at = %s", [ends_at + timedelta(days=1)])
    told = await card(maya, account_id)
    assert "The permission ends" in told and "1 planned post would come after that" in told
    [shown] = (await maya.api.get("/api/accounts")).json()["accounts"]
    assert (shown["planned"], shown["latePosts"]) == (1, "spread")
    assert shown["permissionEndsAt"] < shown["nextDueAt"]
